"""One certificate for several models."""

import math
from typing import Any


def worst_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one certificate for several, each entry from the model that fares worst in it.

    Errors are the largest ones, the integral is the one furthest from 1, and items add up. What is
    not finite is worse than any number, and a solver's failure than anything else.

    Args:
        found: what `common.metrics.certificate.certificate` returned for each, at least one.
    """
    trips = [one["round_trip"] for one in found]
    logdets = [one["logdet"] for one in found]
    worst: dict[str, Any] = {
        "round_trip": {dtype: _largest([trip[dtype] for trip in trips]) for dtype in trips[0]},
        "logdet": _largest(logdets),
    }
    if "items" in worst["logdet"]:
        worst["logdet"]["items"] = sum(logdet["items"] for logdet in logdets)
    if "density" in found[0]:
        worst["density"] = max((one["density"] for one in found), key=_distance)
    return worst


def _largest(parts: list[dict[str, Any]]) -> dict[str, Any]:
    for part in parts:
        if "error" in part:
            return part
    return {key: max((part[key] for part in parts), key=_size) for key in parts[0]}


def _distance(density: dict[str, Any]) -> tuple[bool, float]:
    """Return what orders densities: a failure, then how far the integral is from 1."""
    failed = "integral" not in density
    return failed, math.inf if failed else abs(_size(density["integral"]) - 1)


def _size(value: float | str) -> float:
    return math.inf if isinstance(value, str) else value
