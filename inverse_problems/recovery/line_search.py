"""Step lengths along given directions, chosen for each image by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inverse_problems.recovery.watch import Watch

Mode = Literal["fixed", "armijo", "strong_wolfe"]

DECREASE = 1e-4  # c1: share of the decrease that the slope promises
CURVATURE = 0.9  # c2: largest remaining share of the slope
TRIALS = 25
# A trial lies at least this share of a bracket away from its ends; without a bracket, so many times
# the last stretch farther out.
MARGIN, GROWTH = 0.1, 4.0


@dataclass(frozen=True)
class Point:
    """Hold points z (R, k) with their values (R,) and gradients (R, k)."""

    z: Tensor
    value: Tensor
    grad: Tensor

    def where(self, rows: Tensor, other: "Point") -> "Point":
        """Return the other point in some rows, bool (R,), and this one elsewhere."""
        each = rows.unsqueeze(-1)
        return Point(
            torch.where(each, other.z, self.z),
            torch.where(rows, other.value, self.value),
            torch.where(each, other.grad, self.grad),
        )


@dataclass(frozen=True)
class Ray:
    """Hold a point, directions d (R, k) from it, slopes d . grad (R,) and first steps (R,)."""

    start: Point
    direction: Tensor
    slope: Tensor
    first: Tensor

    def at(self, watch: Watch, t: Tensor, needed: Tensor) -> tuple[Point, Tensor]:
        """Evaluate the needed rows, bool (R,), at steps t (R,); return them with their slopes."""
        z = torch.addcmul(self.start.z, t.unsqueeze(-1), self.direction)
        z = torch.where(needed.unsqueeze(-1), z, self.start.z)
        value, grad = watch.evaluate(z, needed)
        return Point(z, value, grad), (grad * self.direction).sum(-1)

    def promises(self, t: Tensor, value: Tensor) -> Tensor:
        """Return where the decrease is sufficient; a value that is not finite is not."""
        return value <= self.start.value + DECREASE * t * self.slope


# (watch, ray, rows that are to move (R,)) -> new points, steps (R,), 0 where none was found.
Search = Callable[[Watch, Ray, Tensor], tuple[Point, Tensor]]


def fixed(watch: Watch, ray: Ray, moving: Tensor) -> tuple[Point, Tensor]:
    """Take the first step whatever it leads to; it is 0 where the value there is not finite."""
    point, _ = ray.at(watch, ray.first, moving)
    found = moving & point.value.isfinite()
    return ray.start.where(found, point), torch.where(found, ray.first, 0)


def armijo(watch: Watch, ray: Ray, moving: Tensor) -> tuple[Point, Tensor]:
    """Shorten the step until the value falls enough: by the parabola, to 0.1 to 0.5 of it.

    Reference: Numerical Optimization, Jorge Nocedal and Stephen Wright, 2006, algorithm 3.1.
    """
    best, found = ray.start, torch.zeros_like(ray.first)
    t, seeking = ray.first, moving
    for _ in range(TRIALS):
        if not bool(seeking.any()):
            break
        point, _ = ray.at(watch, t, seeking)
        accepted = seeking & ray.promises(t, point.value)
        best, found = best.where(accepted, point), torch.where(accepted, t, found)
        seeking = seeking & ~accepted
        shorter = -ray.slope * t.square() / (2 * (point.value - ray.start.value - ray.slope * t))
        shorter = torch.where(shorter.isfinite(), shorter, 0)
        t = torch.where(seeking, shorter.clamp(MARGIN * t, 0.5 * t), t)
    return best, found


def strong_wolfe(watch: Watch, ray: Ray, moving: Tensor) -> tuple[Point, Tensor]:
    """Find steps after which the value has fallen enough and the slope is small.

    `low` is the best step with a sufficient decrease so far, the start at first. Steps grow until
    a minimum is bracketed between `low` and `high`; then they are chosen inside. Where the trials
    run out, `low` is taken if it has moved at all.

    Reference: Numerical Optimization, Jorge Nocedal and Stephen Wright, 2006, algorithms 3.5, 3.6.
    """
    low, low_t, low_slope = ray.start, torch.zeros_like(ray.first), ray.slope
    high_t, high_value = torch.full_like(low_t, torch.inf), torch.full_like(low_t, torch.inf)
    high_slope = torch.zeros_like(low_t)
    t, seeking = ray.first, moving
    for _ in range(TRIALS):
        if not bool(seeking.any()):
            break
        point, slope = ray.at(watch, t, seeking)
        better = seeking & ray.promises(t, point.value) & (point.value < low.value)
        flat = better & (slope.abs() <= -CURVATURE * ray.slope)
        # A better point becomes `low`, and the old one `high` if the minimum lies back there.
        towards = torch.where(high_t.isfinite(), high_t - low_t, 1.0)
        turned = better & ~flat & (slope * towards >= 0)
        new_high = seeking & ~better
        high_slope = torch.where(turned, low_slope, torch.where(new_high, slope, high_slope))
        high_value = torch.where(turned, low.value, torch.where(new_high, point.value, high_value))
        high_t = torch.where(turned, low_t, torch.where(new_high, t, high_t))
        previous = low_t
        low = low.where(better, point)
        low_slope = torch.where(better, slope, low_slope)
        low_t = torch.where(better, t, low_t)
        seeking = seeking & ~flat
        inside = _between(low_t, low.value, low_slope, high_t, high_value, high_slope)
        t = torch.where(high_t.isfinite(), inside, low_t + GROWTH * (low_t - previous))
    return low, low_t


def _between(a: Tensor, fa: Tensor, da: Tensor, b: Tensor, fb: Tensor, db: Tensor) -> Tensor:
    """Return the minimum of the cubic with these values and slopes, well inside of [a, b]."""
    d1 = da + db - 3 * (fa - fb) / (a - b)
    d2 = torch.sign(b - a) * (d1.square() - da * db).sqrt()
    t = b - (b - a) * (db + d2 - d1) / (db - da + 2 * d2)
    t = torch.where(t.isfinite(), t, 0.5 * (a + b))
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    margin = MARGIN * (high - low)
    return torch.minimum(torch.maximum(t, low + margin), high - margin)


SEARCHES: dict[Mode, Search] = {"fixed": fixed, "armijo": armijo, "strong_wolfe": strong_wolfe}
