"""The solver to take when in doubt."""

from torch import Tensor

from common.solvers.anderson import run as run_anderson
from common.solvers.damped import run as run_damped
from common.solvers.iterate import Map
from common.solvers.solution import Solution, event_max


def solve(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    event_dims: int = 1,
    scale: Tensor | None = None,
) -> Solution:
    """Solve x = f(x) with Anderson's acceleration, and with averaging where that stagnates.

    The averaged iteration starts where the accelerated one came closest, and only samples that have
    not converged move. Both count towards the limit.

    Arguments, shapes and what is raised: see `fixed_point`.
    """
    if scale is None:
        scale = 1 + event_max(x0.detach(), event_dims)
    first = run_anderson(
        f, x0, tol=tol, limit=limit, event_dims=event_dims, scale=scale, name="solve"
    )
    used = first.solution.evaluations
    if first.failure is None or used >= limit:
        return first.or_raise()
    second = run_damped(
        f,
        first.solution.x,
        tol=tol,
        limit=limit - used,
        event_dims=event_dims,
        scale=scale,
        name=f"solve: accelerated {used} times, then averaged",
    ).or_raise()
    return Solution(second.x, second.residual, used + second.evaluations)
