"""The loop that all fixed-point solvers share."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from common.solvers.errors import NotConverged
from common.solvers.precision import full_precision
from common.solvers.solution import Solution, event_max, event_norm, spread

Map = Callable[[Tensor], Tensor]

# What counts as progress: a residual lower by a thousandth. The noise of rounding also finds a new
# minimum now and then, by less.
PROGRESS = 0.999

# In units of the dtype's epsilon: the finest tolerance that rounding f(x) - x allows, and the
# residual below which it is rounding that stops a solve.
FINEST, ROUNDING = 4, 1000


class Progress(NamedTuple):
    """Say where an iteration stands after an evaluation of f.

    Shapes: x, fx = f(x) and nearest, the x of the last progress, (*batch, *event); norm = |fx - x|,
    lowest, the norm at nearest, and stalled, the evaluations since then, (*batch,).
    """

    x: Tensor
    fx: Tensor
    nearest: Tensor
    norm: Tensor
    lowest: Tensor
    stalled: Tensor


@dataclass(frozen=True)
class Outcome:
    """Hold a solution, or the best x of each sample and why that is none (`failure`)."""

    solution: Solution
    failure: str | None

    def or_raise(self) -> Solution:
        """Return the solution; raise NotConverged where there is none."""
        if self.failure is not None:
            raise NotConverged(self.failure)
        return self.solution


@torch.no_grad()
def iterate(
    f: Map,
    x0: Tensor,
    propose: Callable[[Progress], Tensor],
    *,
    name: str,
    tol: float,
    limit: int,
    patience: int,
    event_dims: int,
    scale: Tensor | None,
) -> Outcome:
    """Follow x <- propose(x, f(x)) from x0 until the residual of each sample is at most tol.

    A sample that has converged keeps its x. The residual of a contraction falls at each step in the
    Euclidean norm, though not in the maximum norm that tol refers to. So a sample whose Euclidean
    norm made no progress for `patience` evaluations has stalled: it is at the floor of its dtype,
    or f is no contraction. The iteration ends when all samples that remain have stalled.

    Shapes: x0 (*batch, *event); scale (*batch,), positive, 1 + max |x0| if None.
    Raises: NotConverged at the first residual that is not finite.
    """
    x = nearest = x0.detach()
    batch = x.shape[: x.dim() - event_dims]
    if x.numel() == 0:
        return Outcome(Solution(x, x.new_zeros(batch), 0), None)
    if scale is None:
        scale = 1 + event_max(x, event_dims)
    active = torch.ones(batch, dtype=torch.bool, device=x.device)
    residual = lowest = x.new_full(batch, math.inf)
    stalled = torch.zeros(batch, dtype=torch.long, device=x.device)
    failure = None
    evaluations = 0
    with full_precision():
        while failure is None:
            fx = f(x)
            evaluations += 1
            step = fx - x
            current, norm = event_max(step, event_dims) / scale, event_norm(step, event_dims)
            converged = current <= tol
            better = active & (converged | (norm < PROGRESS * lowest))
            nearest = torch.where(spread(better, event_dims), x, nearest)
            residual = torch.where(better, current, residual)
            lowest = torch.where(better, norm, lowest)
            stalled = torch.where(better, 0, stalled + 1)
            active = active & ~converged
            hopeful = active & (stalled < patience)
            # One transfer from the device for all decisions.
            flags = torch.stack([current.isfinite().all(), active.any(), hopeful.any()])
            finite, unfinished, going = flags.tolist()
            if not finite:
                raise NotConverged(_not_finite(name, current, tol, evaluations))
            if not unfinished:
                break
            if not going:
                failure = _stalled(name, residual, tol, evaluations)
            elif evaluations >= limit:
                failure = (
                    f"{name}: residual {residual.max():.1e} > {tol:.1e} after {evaluations} "
                    "evaluations, the limit; expected a stronger contraction or a higher limit"
                )
            else:
                ahead = propose(Progress(x, fx, nearest, norm, lowest, stalled))
                x = torch.where(spread(active, event_dims), ahead, x)
    return Outcome(Solution(nearest, residual, evaluations), failure)


def _not_finite(name: str, residual: Tensor, tol: float, evaluations: int) -> str:
    bad = ~residual.isfinite()
    return (
        f"{name}: residual {residual[bad][0]} instead of <= {tol:.1e} after {evaluations} "
        f"evaluations, in {int(bad.sum())} of {bad.numel()} samples; expected finite input and a "
        "finite map"
    )


def _stalled(name: str, residual: Tensor, tol: float, evaluations: int) -> str:
    worst = float(residual.max())
    eps = torch.finfo(residual.dtype).eps
    if worst > ROUNDING * eps:
        advice = "expected a contraction"
    else:
        reachable = max(FINEST * eps, 2 * worst)
        advice = f"{residual.dtype} reaches no less here: ask for tol >= {reachable:.1e}"
    return (
        f"{name}: residual {worst:.1e} > {tol:.1e} no longer falls after {evaluations} "
        f"evaluations, in {int((residual > tol).sum())} of {residual.numel()} samples; {advice}"
    )
