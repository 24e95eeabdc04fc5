"""The table of the plane densities: scores, their distance from the entropy, integrals."""

from collections.abc import Sequence
from typing import Any

from common.report.cells import Cell
from common.report.tables import NOT_FINITE, Column, Table
from monotone_flow.report.results import SETS, Result, Results, entry, of_set, scored, set_name


def toys(results: Results, cells: Sequence[Cell]) -> list[Table]:
    """Return the score of every method on every set beside the published one, if any was run."""
    published = {tuple(cell.id.split("/")[1:]): cell.value for cell in cells}
    found = of_set(results, "toys")
    rows = [
        _row(result, name, published.get((result.method, name)))
        for name in SETS
        for result in found
        if name in result.sets
    ]
    if not rows:
        return []
    return [
        Table(
            "toys",
            "Densities of the plane",
            "Negative log-likelihood, lower is better; ± is one standard error. “as published”: "
            "mean of the last tests during the training, on fresh points each. “test”: the last "
            "weights on many fresh points. Entropy: that of the true density, which no mean can "
            "stay below. Excess: mean of the true minus the model's log-density over the same "
            "points, an estimate of the Kullback-Leibler divergence; pairing makes its error "
            "smaller than that of the scores.",
            [
                Column("set", "set"),
                Column("method", "method"),
                Column("printed", "published", "number", "nats", decimals=3),
                Column("published", "ours, as published", "number", "nats", error="published_se"),
                Column("test", "test", "number", "nats", error="test_se"),
                Column("floor", "entropy", "number", "nats", decimals=4),
                Column("excess", "excess", "number", "nats", error="excess_se"),
                Column("integral", "integral", "number", decimals=4),
                Column("bound", "largest Lipschitz bound", "number", decimals=3),
                Column("seeds", "seeds", "integer"),
                Column("parameters", "parameters", "integer"),
                Column("protocol", "protocol"),
            ],
            rows,
            "The integral of the density is taken over [-8, 8]^2, the worst seed.",
        )
    ]


def _row(result: Result, name: str, printed: float | None) -> dict[str, Any]:
    found = result.sets[name]
    integral = found["integral"].get("integral", NOT_FINITE)
    return {
        "set": set_name(name),
        "method": result.name,
        "printed": printed,
        **scored(result, "published", found["published"]),
        **scored(result, "test", found["test"]),
        "floor": found["floor"]["value"],
        **scored(result, "excess", found["excess"]),
        "integral": entry(result, integral),
        "bound": entry(result, found["lipschitz_bound"]),
        "seeds": result.seeds,
        "parameters": result.metrics["parameters"],
        "protocol": result.protocol,
    }
