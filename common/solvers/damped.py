"""Fixed-point iteration with averaging, for maps that are no contraction."""

import torch
from torch import Tensor

from common.solvers.iterate import Map, Outcome, Progress, iterate
from common.solvers.solution import Solution, spread

START, SHRINK, LEAST = 0.5, 0.7, 0.1

# Evaluations without progress before alpha shrinks, and before the solver gives up: the second is
# long enough to try every alpha from START to LEAST.
SHRINK_AFTER, PATIENCE = 10, 100


def damped(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    event_dims: int = 1,
    scale: Tensor | None = None,
) -> Solution:
    """Solve x = f(x) by x <- x + alpha (f(x) - x), for a nonexpansive f that has a fixed point.

    In theory the residual of such an f never rises and tends to 0 with alpha = 1/2, though slower
    than any given rate: where it does not fall by a thousandth within 100 evaluations, the solver
    gives up. Each sample has its own alpha, which shrinks, down to 1/10, where the residual makes
    no progress and rises; the sample then goes back to where it came closest. So some expansive f
    are solved too: those with -f monotone and a Lipschitz constant below 4.

    Arguments, shapes and what is raised: see `fixed_point`.

    Reference: Mean value methods in iteration, Mann, 1953; Two remarks on the method of successive
    approximations, Krasnoselskii, 1955.
    """
    return run(f, x0, tol=tol, limit=limit, event_dims=event_dims, scale=scale).or_raise()


def run(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    event_dims: int,
    scale: Tensor | None,
    name: str = "damped",
) -> Outcome:
    """Do what `damped` does, without raising where the residual does not reach tol."""
    return iterate(
        f,
        x0,
        _Average(x0, event_dims),
        name=name,
        tol=tol,
        limit=limit,
        patience=PATIENCE,
        event_dims=event_dims,
        scale=scale,
    )


class _Average:
    """Go the fraction alpha of the way from x to f(x)."""

    def __init__(self, x0: Tensor, event_dims: int) -> None:
        self.alpha = x0.new_full(x0.shape[: x0.dim() - event_dims], START)
        self.event_dims = event_dims

    def __call__(self, at: Progress) -> Tensor:
        due = (at.stalled > 0) & (at.stalled % SHRINK_AFTER == 0)
        # A residual that stays is no reason: f may be a translation along the whole way so far.
        stuck = due & (at.norm > at.lowest)
        shrunk = (SHRINK * self.alpha).clamp_min(LEAST)
        self.alpha = torch.where(stuck, shrunk, self.alpha)
        ahead = torch.lerp(at.x, at.fx, spread(self.alpha, self.event_dims))
        return torch.where(spread(stuck, self.event_dims), at.nearest, ahead)
