"""Plain fixed-point iteration."""

from torch import Tensor

from common.solvers.iterate import Map, iterate
from common.solvers.solution import Solution

# A contraction in another norm than the Euclidean one may rise for some steps before it falls.
PATIENCE = 30


def fixed_point(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    event_dims: int = 1,
    scale: Tensor | None = None,
) -> Solution:
    """Solve x = f(x) by x <- f(x), for a contraction f.

    With Lipschitz constant L the residual falls by L or more at each step, so it takes at most
    about log(1/tol) / log(1/L) evaluations; L times the identity attains that.

    Args:
        f: maps (*batch, *event) to the same shape, sample by sample.
        x0: start, (*batch, *event).
        tol: bound on max |f(x) - x| / scale of each sample.
        limit: most evaluations of f.
        event_dims: number of trailing dimensions that form one sample.
        scale: what each residual is relative to, (*batch,), positive; 1 + max |x0| if None.

    Raises: NotConverged where the limit is reached, the residual no longer falls, or is not finite.

    Reference: Sur les opérations dans les ensembles abstraits et leur application aux équations
    intégrales, Banach, 1922, https://doi.org/10.4064/fm-3-1-133-181.
    """
    return iterate(
        f,
        x0,
        lambda at: at.fx,
        name="fixed_point",
        tol=tol,
        limit=limit,
        patience=PATIENCE,
        event_dims=event_dims,
        scale=scale,
    ).or_raise()
