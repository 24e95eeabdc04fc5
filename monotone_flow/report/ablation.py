"""Compare runs on one image set after equal steps and after equal seconds of training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monotone_flow.report.results import Result

Numbers = NDArray[np.float64]
Curve = tuple[Numbers, Numbers, Numbers]  # steps, seconds and scores of the looks


@dataclass(frozen=True)
class Equal:
    """Hold how far all runs of a set came, and each run's score there.

    Args:
        steps: the last look that every run had, in minibatches; 0 without one.
        seconds: the training seconds that every run reached; 0 without a look.
        at_steps: validation bits per dimension of each run after those steps, None without a score.
        at_seconds: likewise after those seconds, between two looks along a straight line.
        per_step: seconds that each run took for a minibatch, None without a look.
    """

    steps: int
    seconds: float
    at_steps: list[float | None]
    at_seconds: list[float | None]
    per_step: list[float | None]


def equal(results: list[Result]) -> Equal:
    """Compare runs by their curves; a diverged run gets no score and sets no limit."""
    curves = [_curve(result) for result in results]
    going = [c for c, r in zip(curves, results, strict=True) if len(c[0]) and not r.diverged]
    if not going:
        nothing: list[float | None] = [None] * len(results)
        return Equal(0, 0.0, nothing, nothing, [_per_step(curve) for curve in curves])
    common = set.intersection(*[set(step.tolist()) for step, _, _ in going])
    steps = max(common, default=0)
    seconds = min(float(spent[-1]) for _, spent, _ in going)
    at_steps: list[float | None] = []
    at_seconds: list[float | None] = []
    for result, (step, spent, valid) in zip(results, curves, strict=True):
        scored = not result.diverged and len(step) > 0
        at_steps.append(_value(valid[step == steps]) if scored else None)
        # No run is credited with a score from before its first look.
        known = scored and seconds >= spent[0]
        at_seconds.append(float(np.interp(seconds, spent, valid)) if known else None)
    return Equal(int(steps), seconds, at_steps, at_seconds, [_per_step(curve) for curve in curves])


def _curve(result: Result) -> Curve:
    arrays = result.arrays
    step, spent, valid = (
        np.asarray(arrays[f"curve_{name}"], float) for name in ("step", "seconds", "valid")
    )
    return step, spent, valid


def _value(found: Numbers) -> float | None:
    return float(found[0]) if len(found) else None


def _per_step(curve: Curve) -> float | None:
    step, spent, _ = curve
    return float(spent[-1] / step[-1]) if len(step) else None
