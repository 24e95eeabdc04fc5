"""The tables of images: bits per dimension beside the published ones, and our own comparison."""

from collections.abc import Sequence
from typing import Any

from common.report.ledger import LedgerRow
from common.report.tables import Column, Table
from monotone_flow.report.results import Results, entry, image_sets, of_set, scored, set_name


def images(rows: Sequence[LedgerRow]) -> Table:
    """Return the published table cell by cell with its verdicts."""
    return Table(
        "images",
        "Images: the published table",
        "Bits per dimension under uniform noise unless the row says otherwise, lower is better, "
        "and millions of parameters; ours at the published configuration.",
        [
            Column("row", "model"),
            Column("column", "column"),
            Column("unit", "unit"),
            Column("published", "published"),
            Column("measured", "ours"),
            Column("verdict", "verdict", "verdict"),
            Column("reason", "reason"),
        ],
        [
            {
                "row": row.row,
                "column": row.column,
                "unit": row.unit,
                "published": row.published,
                "measured": row.measured or None,
                "verdict": row.verdict,
                "reason": row.reason,
            }
            for row in rows
            if row.table == "images"
        ],
    )


def comparison(results: Results) -> list[Table]:
    """Return what was trained on images at equal steps, if anything was."""
    rows: list[dict[str, Any]] = [
        {
            "set": set_name(dataset),
            "method": result.name,
            **scored(result, "test", result.metrics["test"]),
            "valid": entry(result, result.metrics["valid"]["mean"]),
            "parameters": result.metrics["parameters"],
            "protocol": result.protocol,
        }
        for dataset in image_sets(results)
        for result in of_set(results, dataset)
    ]
    if not rows:
        return []
    return [
        Table(
            "ablation",
            "Images: blocks and activations at equal steps",
            "Bits per dimension of averaged weights, lower is better; ± is one standard error over "
            "test images and draws of the noise.",
            [
                Column("set", "set"),
                Column("method", "method"),
                Column("test", "test", "number", "bits/dim", error="test_se"),
                Column("valid", "validation", "number", "bits/dim"),
                Column("parameters", "parameters", "integer"),
                Column("protocol", "protocol"),
            ],
            rows,
        )
    ]
