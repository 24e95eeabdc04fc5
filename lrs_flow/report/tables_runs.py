"""Tables about the runs themselves: differences, convergence, certificates."""

import statistics
from collections.abc import Sequence
from typing import Any

from common.report.ledger import DIVERGED
from common.report.tables import NOT_FINITE, Column, Table
from lrs_flow.report.paired import Difference
from lrs_flow.report.results import Result, Results, entry, set_name
from lrs_flow.report.tables_likelihood import models


def paired(differences: Sequence[Difference]) -> list[Table]:
    """Return how LRS differs from each peer, one line for each pair, if there are any."""
    if not differences:
        return []
    rows = []
    for d in differences:
        finite = d.outcome not in (DIVERGED, NOT_FINITE)
        word = DIVERGED if d.outcome == DIVERGED else NOT_FINITE
        rows.append(
            {
                "data": set_name(d.ours.dataset),
                "ours": d.ours.name,
                "peer": d.peer.name,
                "difference": d.mean if finite else word,
                "difference_se": d.se if finite else None,
                "items": d.se_items if finite else None,
                "models": d.se_models if finite else None,
                "unit": d.ours.unit,
                "parameters": d.ours.metrics["parameters"],
                "peer_parameters": d.peer.metrics["parameters"],
                "outcome": d.outcome,
                "over": f"{d.count:,} folds" if d.ours.cross_validated else f"{d.count:,} items",
            }
        )
    return [
        Table(
            "paired",
            "LRS minus each peer, on the same test items",
            "Difference of the test scores and its standard error: over folds where the set is "
            "cross-validated; else over test items (each averaged over the seeds of its method) "
            "and over seeds, both added in squares. Nats: positive favours LRS; bits/dim: negative "
            "does. Lines with LRS “as small as RQ-NSF” are the comparison at equal parameter "
            "counts.",
            [
                Column("data", "data"),
                Column("ours", "LRS"),
                Column("peer", "peer"),
                Column("difference", "LRS minus peer", "number", error="difference_se"),
                Column("unit", "unit"),
                Column("items", "error over items", "number", digits=2),
                Column("models", "error over seeds or folds", "number", digits=2),
                Column("over", "compared on"),
                Column("parameters", "parameters of LRS", "integer"),
                Column("peer_parameters", "of the peer", "integer"),
                Column("outcome", "outcome"),
            ],
            rows,
            "Folds share training data, so their errors are somewhat too small. A dash: a single "
            "seed has no error over seeds, and folds have no error over items.",
        )
    ]


def convergence(results: Results) -> list[Table]:
    """Return where each training found its best validation score."""
    rows = []
    for result in results.values():
        training = result.metrics["training"]
        if not result.trained.steps:
            continue
        best = training["best_step"]
        run = training["steps_run"]
        last = max(1, run)
        rows.append(
            {
                "data": set_name(result.dataset),
                "method": result.name,
                "planned": training["steps"],
                "run": run,
                "best": statistics.median(best),
                "share": 100 * statistics.median(best) / last,
                "late": sum(step > 0.9 * last for step in best),
                "models": models(result),
                "valid": entry(result, result.metrics["valid"]["mean"]),
                "test": entry(result, result.metrics["test"]["mean"]),
                "unit": result.unit,
                "ending": result.ending or _settled(best, last),
            }
        )
    if not rows:
        return []
    return [
        Table(
            "convergence",
            "Convergence",
            "Steps planned (over which the learning rate falls to 0) and taken, and the step whose "
            "parameters were kept by the validation score: median over models, and how many models "
            "found it in the last tenth.",
            [
                Column("data", "data"),
                Column("method", "method"),
                Column("models", "models"),
                Column("planned", "steps planned", "integer"),
                Column("run", "steps taken", "integer"),
                Column("best", "best step", "number", decimals=0),
                Column("share", "of those taken", "number", "%", decimals=0),
                Column("late", "models best in the last tenth", "integer"),
                Column("valid", "validation", "number"),
                Column("test", "test", "number"),
                Column("unit", "unit"),
                Column("ending", "reading"),
            ],
            rows,
            "A best step well before the end means that more steps would not help; in the first "
            "quarter, that the model overfits early; at the end it is expected where the learning "
            "rate falls to 0, and says nothing either way.",
        )
    ]


def _settled(best: Sequence[int], last: int) -> str:
    share = statistics.median(best) / last
    if share > 0.9:
        return "best at the end"
    return "converged on validation" if share > 0.25 else "overfits early"


def certificates(results: Results) -> Table:
    """Return the round-trip and log-det errors of every run."""
    rows = []
    for result in results.values():
        row: dict[str, Any] = {"data": set_name(result.dataset), "method": result.name}
        for dtype in ("float32", "float64"):
            for key in ("max", "median"):
                row[f"{dtype}_{key}"] = certified(result, "round_trip", dtype, key)
        row["logdet"] = certified(result, "logdet", "max_error")
        row["items"] = result.metrics["certificate"]["logdet"].get("items")
        row["failure"] = failures(result)
        rows.append(row)
    return Table(
        "certificate",
        "Invertibility of the trained models",
        "Largest and median error of data to latent to data over test items, relative for entries "
        "above 1 in size and absolute below, in both precisions, the worst model of each run; "
        "largest difference of the log-determinant from the exact Jacobian's in float64.",
        [
            Column("data", "data"),
            Column("method", "method"),
            Column("float32_max", "float32, max", "number", digits=2),
            Column("float32_median", "float32, median", "number", digits=2),
            Column("float64_max", "float64, max", "number", digits=2),
            Column("float64_median", "float64, median", "number", digits=2),
            Column("logdet", "log-det error", "number", "nats", digits=2),
            Column("items", "Jacobians", "integer"),
            Column("failure", "failure"),
        ],
        rows,
        "A dash under log-det: the exact Jacobian costs too much and was not computed.",
    )


def certified(result: Result, *keys: str) -> Any:
    """Return a number of the certificate, a word for a failure, or None if it was not measured."""
    found = result.metrics["certificate"]
    for key in keys:
        if key not in found:
            return entry(result, NOT_FINITE if "error" in found else None)
        found = found[key]
    return entry(result, found)


def failures(result: Result) -> str | None:
    """Say what failed in the certificate; None if nothing did."""
    found = result.metrics["certificate"]
    parts = {
        **found["round_trip"],
        "log-det": found["logdet"],
        "integral": found.get("density", {}),
    }
    words = [f"{name}: {part['error']}" for name, part in parts.items() if _failed(part)]
    words += [
        f"{name}: {NOT_FINITE}" for name, part in parts.items() if NOT_FINITE in part.values()
    ]
    return "; ".join(filter(None, [result.ending, *words])) or None


def _failed(part: dict[str, Any]) -> bool:
    """Tell a solver's message from the estimated error of an integral, which has the same key."""
    return isinstance(part.get("error"), str) and part["error"] != NOT_FINITE
