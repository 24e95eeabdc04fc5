"""Tables of images: bits per dimension against depth, and on the larger sets."""

from collections.abc import Sequence
from typing import Any

from common.report.cells import Cell
from common.report.ledger import LedgerRow
from common.report.tables import Column, Table
from lrs_flow.report.results import DEPTHS, Results, entry, scored, set_name
from lrs_flow.report.tables_likelihood import models
from lrs_flow.report.tables_parameters import Counts

STUDIED = ("mnist", "digits")


def depth(results: Results, cells: Sequence[Cell], counts: Counts) -> Table:
    """Return the published depth study with ours beside it, on MNIST and on what stands in."""
    published = {cell.id: cell.value for cell in cells}
    found = [d for d in STUDIED if any(place[0] == d for place in results)]
    rows = []
    for layers in DEPTHS:
        for kind, name in (("lrs", "LRS"), ("rq", "RQ-NSF")):
            place = f"depth/{kind}/d{layers}"
            row: dict[str, Any] = {
                "depth": layers,
                "model": name,
                "bits_p": published[f"{place}_bits"],
                "spread_p": published[f"{place}_spread"],
                "parameters_p": published[f"{place}_parameters"],
                "inferred": counts["depth", f"depth {layers}", kind] / 1e6,
            }
            for dataset in found:
                if result := results.get((dataset, f"{kind}_d{layers}")):
                    row |= scored(result, dataset)
                    spread = result.metrics["test"]["sd_models"]
                    row[f"{dataset}_spread"] = (
                        None if isinstance(spread, str) else entry(result, spread)
                    )
                    row[f"{dataset}_protocol"] = f"{result.protocol}, {models(result)}"
            rows.append(row)
    ours = []
    for d in found:
        name = set_name(d)
        ours += [
            Column(d, f"ours, {name}", "number", "bits/dim", error=f"{d}_se"),
            Column(f"{d}_spread", f"our spread, {name}", "number", "bits/dim", digits=2),
            Column(f"{d}_protocol", f"protocol, {name}"),
        ]
    return Table(
        "depth",
        "MNIST against the number of couplings",
        "Bits per dimension of test images, lower is better, and their standard deviation over "
        "repeated runs. Published numbers are read off plots: to 0.0012 and 0.0001 bits/dim, and "
        "0.7 % of the parameters. Ours: plus or minus one standard error over test images. Digits "
        "of 8x8 pixels stand in where MNIST was not run; their bits are on another scale.",
        [
            Column("depth", "couplings", "integer"),
            Column("model", "model"),
            Column("bits_p", "published", "number", "bits/dim", decimals=3),
            Column("spread_p", "published spread", "number", "bits/dim", decimals=4),
            *ours,
            Column("parameters_p", "published parameters", "number", "million", decimals=2),
            Column("inferred", "inferred architecture", "number", "million", decimals=3),
        ],
        rows,
        "The markers of both models coincide on the published plot of parameters.",
    )


def images(results: Results, rows: Sequence[LedgerRow]) -> Table:
    """Return the published table of images cell by cell, and the runs it was compared with."""
    entries = []
    for row in rows:
        if row.table != "images":
            continue
        entries.append(
            {
                "model": row.row,
                "quantity": row.column,
                "unit": row.unit,
                "published": float(row.published),
                "ours": _read(row.measured),
                "ours_se": _read(row.measured_se),
                "verdict": row.verdict,
                "reason": row.reason,
            }
        )
    run = [
        set_name(d) for d in ("cifar10", "imagenet64") if any(place[0] == d for place in results)
    ]
    words = f" Run here: {', '.join(run)}." if run else " Neither set was run in this profile."
    return Table(
        "images",
        "Images",
        "Bits per dimension of test images, lower is better, and parameters of the published "
        f"configurations.{words}",
        [
            Column("model", "model"),
            Column("quantity", "quantity"),
            Column("published", "published", "number"),
            Column("ours", "ours", "number", error="ours_se"),
            Column("unit", "unit"),
            Column("verdict", "verdict", "verdict"),
            Column("reason", "reason"),
        ],
        entries,
    )


def _read(text: str) -> float | str | None:
    """Return a number of the ledger; a word stays, and an empty entry is missing."""
    if not text or not (text[0].isdigit() or text[0] == "-"):
        return text or None
    return float(text)
