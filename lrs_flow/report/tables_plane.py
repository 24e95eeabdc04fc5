"""What can be said of densities of the plane: excess over the truth, and where the mass lies."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.toys import RADII, RING_STD
from common.report.tables import Column, Table
from lrs_flow.report.results import Result, Results, datasets, entry, of_set, scored, set_name
from lrs_flow.report.tables_runs import certified

PLANES = ("rings", "picture")
# Half the side of the square that is drawn; rings lie in [-4, 4]^2.
WINDOW = 4.0
# A point further than this many standard deviations from every ring lies off the rings.
FAR = 3.0


def misplaced(result: Result) -> float:
    """Return the share of its mass that a density puts where the truth has none to match it.

    It is the total variation distance on the drawn square, 0 for the truth and 1 for a density
    that shares nothing with it; mass outside the square counts as misplaced.
    """
    model, truth = _masses(result)
    return max(0.0, float(1 - np.minimum(model, truth).sum()))


def off_rings(result: Result, name: str = "density") -> float:
    """Return the share of the mass on the drawn square that lies off the rings.

    Args:
        result: of the rings.
        name: which array: `density` or `true_density`.
    """
    mass = result.arrays[name].astype(np.float64)
    cells = mass.shape[0]
    axis = WINDOW * ((2 * np.arange(cells) + 1) / cells - 1)
    radius = np.hypot(*np.meshgrid(axis, axis))
    nearest = np.min([np.abs(radius - ring) for ring in RADII], axis=0)
    return float(mass[nearest > FAR * RING_STD].sum() / mass.sum())


def _masses(result: Result) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mass of each cell under the model and under the truth."""
    truth = result.arrays["true_density"].astype(np.float64)
    # The truth has no mass outside; the sum over cells is its own normalisation.
    return result.arrays["density"].astype(np.float64) / truth.sum(), truth / truth.sum()


def plane(results: Results) -> list[Table]:
    """Return how close each density of the plane is to the truth, if there are any."""
    rows: list[dict[str, Any]] = []
    for dataset in (d for d in datasets(results) if d in PLANES):
        found = of_set(results, dataset)
        truth = found[0].metrics["truth"]
        row = {
            "data": set_name(dataset),
            "method": "the true density",
            "score": truth["log_likelihood"],
            "entropy": truth["entropy"],
            "excess": 0.0,
            "misplaced": 0.0,
            "integral": 1.0,
        }
        if dataset == "rings":
            row["off"] = 100 * off_rings(found[0], "true_density")
        rows.append(row)
        for result in found:
            rows.append(_row(result))
    if not rows:
        return []
    return [
        Table(
            "plane",
            "Densities of the plane",
            "Mean log-likelihood of test points in nats, higher is better. The excess is the mean "
            "of the true minus the model's log-density on the same points, plus or minus one "
            "standard error; it estimates the divergence from the truth, and 0 is the best there "
            "is. Misplaced: the share of the mass that is not where the truth has it (total "
            "variation). Off the rings: the share further than three standard deviations of the "
            "noise from every circle.",
            [
                Column("data", "data"),
                Column("method", "method"),
                Column("score", "test", "number", "nats", error="score_se"),
                Column("entropy", "entropy of the truth", "number", "nats"),
                Column("excess", "excess", "number", "nats", error="excess_se"),
                Column("misplaced", "misplaced", "number", "%", decimals=1),
                Column("off", "off the rings", "number", "%", decimals=2),
                Column("integral", "integral", "number", decimals=4),
                Column("parameters", "parameters", "integer"),
                Column("protocol", "protocol"),
            ],
            rows,
            "The integral of a density on the unit square is not computed: splines without tails "
            "map the square onto itself.",
        )
    ]


def _row(result: Result) -> dict[str, Any]:
    truth = result.metrics["truth"]
    known = isinstance(truth["excess"], float) and not result.diverged
    row = {
        "data": set_name(result.dataset),
        "method": result.name,
        **scored(result, "score"),
        "excess": entry(result, truth["excess"]),
        "excess_se": truth["excess_se"] if known else None,
        "misplaced": entry(result, finite(100 * misplaced(result))),
        "integral": certified(result, "density", "integral"),
        "parameters": result.metrics["parameters"],
        "protocol": result.protocol,
    }
    if result.dataset == "rings":
        row["off"] = entry(result, finite(100 * off_rings(result)))
    return row


def finite(value: float) -> float | str:
    """Return a number, or the word for one that is not finite."""
    return value if math.isfinite(value) else "not finite"
