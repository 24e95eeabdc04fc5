"""The tables of images: bits per dimension beside the published ones, and our own comparison."""

from collections.abc import Sequence
from typing import Any

from common.report.ledger import LedgerRow
from common.report.tables import Column, Table
from monotone_flow.report.ablation import equal
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
    """Return what was trained on images, at equal steps and at equal seconds, if anything was."""
    rows: list[dict[str, Any]] = []
    for dataset in image_sets(results):
        runs = of_set(results, dataset)
        found = equal(runs)
        for place, result in enumerate(runs):
            rows.append(
                {
                    "set": set_name(dataset),
                    "method": result.name,
                    **scored(result, "test", result.metrics["test"]),
                    "steps": found.steps,
                    "at_steps": entry(result, found.at_steps[place]),
                    "seconds": found.seconds,
                    "at_seconds": entry(result, found.at_seconds[place]),
                    "per_step": found.per_step[place],
                    "parameters": result.metrics["parameters"],
                    "protocol": result.protocol,
                }
            )
    if not rows:
        return []
    return [
        Table(
            "ablation",
            "Images: blocks and activations at equal steps and at equal seconds",
            "Bits per dimension of averaged weights, lower is better. Test: of the weights that "
            "were best on validation images; ± is one standard error over test images and draws "
            "of the noise. Validation: after the minibatches that all runs of a set had, and after "
            "the training seconds that all of them had, between two looks along a straight line.",
            [
                Column("set", "set"),
                Column("method", "method"),
                Column("test", "test", "number", "bits/dim", error="test_se"),
                Column("steps", "steps", "integer"),
                Column("at_steps", "validation then", "number", "bits/dim", decimals=3),
                Column("seconds", "time", "number", "s", digits=3),
                Column("at_seconds", "validation at that time", "number", "bits/dim", decimals=3),
                Column("per_step", "time of a step", "number", "s", digits=2),
                Column("parameters", "parameters", "integer"),
                Column("protocol", "protocol"),
            ],
            rows,
            "One seed. Seconds are those of the minibatches alone, on the machine that trained; "
            "looks and saves are left out.",
        )
    ]
