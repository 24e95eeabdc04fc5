"""What our results say about each of the published cells."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import UserError
from common.report.cells import Cell
from common.report.ledger import Measurement
from monotone_flow.report.counts import Counts
from monotone_flow.report.results import Result, Results

# The stages that the measurements come from.
EVALUATE, IMAGES_EVALUATE, TABLES = "evaluate", "images_evaluate", "tables"
QUOTED = "quoted from the literature; no model of this repository repeats it"
UNKNOWN = "quoted from the literature; its architecture is not given here, so it is not counted"
# Rows whose architecture is known, so that a GPU could train them.
BUILT = ("monotone", "monotone_vdq", "i_densenet", "residual_flow")
COMPUTE = "needs a GPU; the profile paper-gpu lists its training where the data set can be had"


def measurements(
    cells: Sequence[Cell], results: Results, counts: Counts, profile: str
) -> list[Measurement]:
    """Return one measurement per published cell.

    Args:
        cells: the published cells; an id is <table>/<method>/<set or quantity>.
        results: the runs of the profile.
        counts: parameters of the published image models.
        profile: its name.

    Raises:
        UserError: a cell belongs to a table that nothing here measures.
    """
    return [_measure(cell, results, counts, profile) for cell in cells]


def _measure(cell: Cell, results: Results, counts: Counts, profile: str) -> Measurement:
    table, method, column = cell.id.split("/")
    absent = f"not run in the profile {profile}"
    if table == "fit":
        result = results.get(("staircase", method))
        if result is None:
            return Measurement(cell.id, EVALUATE, not_run=absent)
        best = result.metrics["best"]["mean"]
        note = f"the best weights: {best:.3g}" if isinstance(best, float) else ""
        return _score(cell.id, EVALUATE, result, result.metrics["final"], note)
    if table == "toys":
        result = results.get(("toys", method))
        if result is None or column not in result.sets:
            return Measurement(cell.id, EVALUATE, not_run=absent)
        return _score(cell.id, EVALUATE, result, result.sets[column]["published"])
    if table == "images":
        dataset, _, quantity = column.partition("_")
        if quantity == "parameters":
            return parameters(cell.id, counts.get((method, dataset)))
        result = results.get((dataset, method))
        if result is not None:
            return _score(cell.id, IMAGES_EVALUATE, result, result.metrics["test"])
        return Measurement(cell.id, IMAGES_EVALUATE, not_run=COMPUTE if method in BUILT else QUOTED)
    raise UserError(f"paper.yaml: cell {cell.id!r} is of a table that nothing here measures")


def parameters(place: str, found: int | None) -> Measurement:
    """Return the parameters of a model of the published configuration, in millions."""
    if found is None:
        return Measurement(place, TABLES, not_run=UNKNOWN)
    note = f"{found:,} at the published configuration"
    return Measurement(place, TABLES, measured=found / 1e6, note=note)


def _score(
    place: str, stage: str, result: Result, score: Mapping[str, Any], note: str = ""
) -> Measurement:
    ending = result.ending
    if not ending and isinstance(score["mean"], str):
        ending = "the score is not finite"
    error = score["se"]
    known = isinstance(error, float) and math.isfinite(error) and not ending
    return Measurement(
        place,
        stage,
        measured=None if ending else score["mean"],
        measured_se=error if known else None,
        n_seeds=result.seeds,
        scaled_down=result.lacks,
        diverged=ending,
        note=note,
    )
