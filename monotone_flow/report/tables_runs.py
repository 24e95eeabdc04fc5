"""The table of what every trained model was certified for."""

from typing import Any

from common.report.tables import NOT_FINITE, Column, Table
from monotone_flow.report.results import Result, Results, certified, entry, set_name


def certificates(results: Results) -> Table:
    """Return round-trip and log-det errors and the Lipschitz bound of every run."""
    rows = []
    for result in results.values():
        row: dict[str, Any] = {"data": set_name(result.dataset), "method": result.name}
        for dtype in ("float32", "float64"):
            for key in ("max", "median"):
                row[f"{dtype}_{key}"] = certified(result, "round_trip", dtype, key)
        row["logdet"] = certified(result, "logdet", "max_error")
        row["items"] = result.metrics["certificate"].get("logdet", {}).get("items")
        row["bound"] = entry(result, lipschitz_bound(result))
        row["failure"] = failures(result)
        rows.append(row)
    return Table(
        "certificate",
        "Invertibility of the trained models",
        "Largest and median error of data to latent to data, relative for entries above 1 in size "
        "and absolute below, in both precisions, the worst model of each run; largest difference "
        "of the log-determinant from the exact Jacobian's in float64; largest product of the "
        "norms of a net's layers, which bounds its Lipschitz constant and must stay below 1.",
        [
            Column("data", "data"),
            Column("method", "method"),
            Column("float32_max", "float32, max", "number", digits=2),
            Column("float32_median", "float32, median", "number", digits=2),
            Column("float64_max", "float64, max", "number", digits=2),
            Column("float64_median", "float64, median", "number", digits=2),
            Column("logdet", "log-det error", "number", "nats", digits=2),
            Column("items", "Jacobians", "integer"),
            Column("bound", "Lipschitz bound", "number", digits=4),
            Column("failure", "failure"),
        ],
        rows,
        "A dash: not measured.",
    )


def lipschitz_bound(result: Result) -> float | None:
    """Return the largest bound of a run's nets; None where it was not measured."""
    if result.sets:
        return max(float(scores["lipschitz_bound"]) for scores in result.sets.values())
    bound = result.metrics.get("lipschitz", {}).get("bound")
    return float(bound) if isinstance(bound, int | float) else None


def failures(result: Result) -> str | None:
    """Say what failed in the certificate; None if nothing did."""
    found = result.metrics["certificate"]
    parts = {
        **found["round_trip"],
        "log-det": found.get("logdet", {}),
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
