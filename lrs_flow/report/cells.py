"""What our results say about each of the published cells."""

import math
from collections.abc import Sequence

from common.errors import UserError
from common.report.cells import Cell
from common.report.ledger import Measurement
from lrs_flow.report.results import UCI, Result, Results, set_name
from lrs_flow.report.tables_parameters import Counts, excess

# The stages that the measurements come from.
EVALUATE, TABLES = "evaluate", "tables"
GPU = "the stage exists in the profile paper-gpu"
NOT_HERE = {
    "cifar10": f"too much compute for a CPU: about 38 s a step, 200,000 steps; {GPU}",
    "imagenet64": "the 64x64 images are not available here, and too much compute for a CPU: 10 "
    f"GFLOP for one image; {GPU}",
    "mnist": f"too much compute for a CPU: up to 40 s a step; {GPU}",
}
QUOTED = "quoted from the literature; no model of this repository repeats it"
IMAGE_NAMES = {"cifar10": "CIFAR-10", "imagenet64": "ImageNet-64"}


def measurements(
    cells: Sequence[Cell], results: Results, counts: Counts, profile: str
) -> list[Measurement]:
    """Return one measurement per published cell.

    Args:
        cells: the published cells; an id is <table>/<method>/<set or quantity>.
        results: the runs of the profile.
        counts: parameters of the published configurations.
        profile: its name.

    Raises:
        UserError: a cell belongs to a table that nothing here measures.
    """
    return [_measure(cell, results, counts, profile) for cell in cells]


def _measure(cell: Cell, results: Results, counts: Counts, profile: str) -> Measurement:
    table, method, column = cell.id.split("/")
    if table == "uci":
        return likelihood(cell.id, method, column, results, profile)
    if table == "images":
        dataset, _, quantity = column.partition("_")
        return image(cell.id, method, dataset, quantity, results, counts)
    if table == "depth":
        depth, _, quantity = column.partition("_")
        return depth_study(cell.id, method, depth, quantity, results, counts)
    if table == "parameters":
        return more_parameters(cell.id, counts)
    raise UserError(f"paper.yaml: cell {cell.id!r} is of a table that nothing here measures")


def likelihood(
    place: str, method: str, dataset: str, results: Results, profile: str
) -> Measurement:
    """Return the test log-likelihood of a method on one of the five sets of the table.

    The quadratic row is that with the published boundary, as the printed numbers are.
    """
    corrected = results.get((dataset, method))
    published = results.get((dataset, "q_published_c")) if method == "q_c" else None
    result = published or corrected
    if result is None:
        return Measurement(place, EVALUATE, not_run=_why_not(method, dataset, profile))
    note = ""
    if method == "q_c" and not published:
        note = "with the boundary corrected; the printed number is not"
    elif published and corrected:
        note = f"with the corrected boundary {_words(corrected)}"
    return _score(place, result, note)


def image(
    place: str, method: str, dataset: str, quantity: str, results: Results, counts: Counts
) -> Measurement:
    """Return bits per dimension of a trained model, or the parameters of the published one."""
    found = counts.get(("images", IMAGE_NAMES[dataset], method))
    if found is None:
        return Measurement(place, EVALUATE, not_run=QUOTED)
    if quantity == "parameters":
        note = f"{found:,} at the published configuration"
        return Measurement(place, TABLES, measured=found / 1e6, note=note)
    result = results.get((dataset, method))
    if result is None:
        return Measurement(place, EVALUATE, not_run=NOT_HERE[dataset])
    return _score(place, result)


def depth_study(
    place: str, method: str, depth: str, quantity: str, results: Results, counts: Counts
) -> Measurement:
    """Return bits per dimension, their spread over models, or parameters at one depth.

    The digits stand in for MNIST where it was not run. No configuration was published: ours was
    inferred from the printed parameter counts, so that its counts cannot confirm them.
    """
    mnist = results.get(("mnist", f"{method}_{depth}"))
    if quantity == "parameters":
        found = counts["depth", f"depth {depth.removeprefix('d')}", method]
        return Measurement(
            place,
            TABLES,
            not_run="no configuration was published; the architecture here was inferred from this "
            f"number, and its {found:,} parameters cannot confirm it",
        )
    result = mnist or results.get(("digits", f"{method}_{depth}"))
    if result is None:
        return Measurement(place, EVALUATE, not_run=NOT_HERE["mnist"])
    if quantity == "bits":
        return _score(place, result)
    spread = result.metrics["test"]["sd_models"]
    if isinstance(spread, str):  # one model has none
        return Measurement(
            place, EVALUATE, not_run=f"one model on {set_name(result.dataset)} has no spread"
        )
    return Measurement(
        place,
        EVALUATE,
        measured=None if result.diverged else spread,
        measured_se=None if result.diverged else spread / math.sqrt(2 * (result.models - 1)),
        n_seeds=result.models,
        scaled_down=_stand_in(result),
        diverged=result.ending,
    )


def more_parameters(place: str, counts: Counts) -> Measurement:
    """Return the largest excess of LRS over RQ-NSF among the coupling flows of the table."""
    tables = excess(counts, "coupling")
    others = {
        **excess(counts, "images"),
        "MNIST depth study": max(excess(counts, "depth").values()),
    }
    words = ", ".join(f"{name} {percent:.1f} %" for name, percent in (tables | others).items())
    return Measurement(place, TABLES, measured=max(tables.values()), note=words)


def _score(place: str, result: Result, note: str = "") -> Measurement:
    mean, se = result.score()
    ending = result.ending
    if not ending and not math.isfinite(mean):
        ending = "the test score is not finite"
    return Measurement(
        place,
        EVALUATE,
        measured=None if ending else mean,
        measured_se=se if math.isfinite(se) and not ending else None,
        n_seeds=result.models,
        scaled_down=_stand_in(result),
        diverged=ending,
        note=note,
    )


def _stand_in(result: Result) -> str:
    """Say what is less than published, the data set included."""
    lacks = result.lacks
    if result.dataset == "digits" and "MNIST" not in lacks:
        return "; ".join(filter(None, ["8x8 digits instead of MNIST", lacks]))
    return lacks


def _why_not(method: str, dataset: str, profile: str) -> str:
    if dataset in UCI and dataset != "bsds300":
        return f"data not available here; python -m common.datasets.fetch {dataset} says how"
    if method == "ffjord":
        return "too much compute: days of training; the published number is quoted"
    if method.endswith("_ar"):
        return f"too much compute for a CPU: weeks on two cores; {GPU}"
    if method == "gaussian":
        return f"not run in the profile {profile}"
    return (
        f"not run in the profile {profile}; 400,000 steps take two cores 70 to 140 hours, the "
        "profile paper takes fewer"
    )


def _words(result: Result) -> str:
    mean, se = result.score()
    if result.diverged or not math.isfinite(mean):
        return "it diverged"
    return f"{mean:.2f} ± {2 * se:.2f}"
