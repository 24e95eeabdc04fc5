"""The table of the staircase: how closely each kind of block fits it."""

from collections.abc import Sequence
from typing import Any

from common.report.cells import Cell
from common.report.tables import Column, Table
from monotone_flow.report.results import Results, entry, of_set, scored


def fit(results: Results, cells: Sequence[Cell]) -> list[Table]:
    """Return the mean squared errors of the panels beside the published ones, if any was run."""
    published = {cell.id.split("/")[1]: cell.value for cell in cells if cell.table == "fit"}
    rows = []
    for result in of_set(results, "staircase"):
        found = result.metrics
        row: dict[str, Any] = {
            "panel": result.name,
            "published": published.get(result.method),
            **scored(result, "final", found["final"], "sd"),
            **scored(result, "best", found["best"], "sd"),
            "seeds": result.seeds,
            "slope": entry(result, found["largest_slope"]["mean"]),
            "possible": entry(result, found["largest_slope"]["possible"]),
            "bound": entry(result, found["lipschitz"]["bound"]),
            "parameters": found["parameters"],
            "protocol": result.protocol,
        }
        rows.append(row)
    if not rows:
        return []
    return [
        Table(
            "fit",
            "Fit of the staircase",
            "Mean squared error on the midpoints of a fixed grid of [-2, 2], of the last weights "
            "and of those with the lowest loss on fresh points; ± is the standard deviation over "
            "seeds. Largest slope on the grid, mean over seeds, and the largest that the blocks' "
            "Lipschitz bounds and the scales of the first seed allow.",
            [
                Column("panel", "panel"),
                Column("published", "published", "number"),
                Column("final", "last weights", "number", error="final_se"),
                Column("best", "best weights", "number", error="best_se"),
                Column("seeds", "seeds", "integer"),
                Column("slope", "largest slope", "number", digits=3),
                Column("possible", "possible", "number", digits=3),
                Column("bound", "largest Lipschitz bound of a net", "number", digits=4),
                Column("parameters", "parameters", "integer"),
                Column("protocol", "protocol"),
            ],
            rows,
            "The print does not say which of the two its numbers are; verdicts take the last.",
        )
    ]
