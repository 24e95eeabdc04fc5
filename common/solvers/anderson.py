"""Fixed-point iteration with Anderson's acceleration."""

import torch
from torch import Tensor

from common.solvers.iterate import Map, Outcome, Progress, iterate
from common.solvers.solution import Solution

# Rejected steps make the residual rise in between, so progress may take two evaluations.
PATIENCE = 30


def anderson(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    depth: int = 3,
    ridge: float | None = None,
    event_dims: int = 1,
    scale: Tensor | None = None,
) -> Solution:
    """Solve x = f(x) for a contraction f, each step from the last few evaluations.

    With residuals r = f(x) - x, the step is x <- f(x) - sum_i gamma_i Delta f_i, where the Delta
    are differences of successive evaluations and gamma minimises |r - sum_i gamma_i Delta r_i| of
    each sample by itself. A mixed step that is not finite, or after which the Euclidean norm of the
    residual is larger than before, is undone for that sample: it takes the plain step from where it
    was and starts a new history. So the residual of a contraction falls at least every second
    evaluation.

    Args:
        f: maps (*batch, *event) to the same shape, sample by sample.
        x0: start, (*batch, *event).
        tol: bound on max |f(x) - x| / scale of each sample.
        limit: most evaluations of f.
        depth: differences kept; no more than the event has entries are used. The history holds
            2 * depth tensors of the shape of x0.
        ridge: added to the diagonal of the Gram matrix of the Delta r, each scaled to norm 1, so
            relative to the mean of the diagonal; 10 times the dtype's epsilon if None.
        event_dims: number of trailing dimensions that form one sample.
        scale: what each residual is relative to, (*batch,), positive; 1 + max |x0| if None.

    Raises: NotConverged where the limit is reached, the residual no longer falls, or is not finite.

    Reference: Iterative procedures for nonlinear integral equations, Anderson, 1965,
    https://doi.org/10.1145/321296.321305; Anderson acceleration for fixed-point iterations, Walker
    and Ni, 2011, https://doi.org/10.1137/10078356X.
    """
    return run(
        f,
        x0,
        tol=tol,
        limit=limit,
        depth=depth,
        ridge=ridge,
        event_dims=event_dims,
        scale=scale,
    ).or_raise()


def run(
    f: Map,
    x0: Tensor,
    *,
    tol: float,
    limit: int,
    event_dims: int,
    scale: Tensor | None,
    depth: int = 3,
    ridge: float | None = None,
    name: str = "anderson",
) -> Outcome:
    """Do what `anderson` does, without raising where the residual does not reach tol."""
    if ridge is None:
        ridge = 10 * torch.finfo(x0.dtype).eps
    return iterate(
        f,
        x0,
        _Mixing(depth, ridge, event_dims),
        name=name,
        tol=tol,
        limit=limit,
        patience=PATIENCE,
        event_dims=event_dims,
        scale=scale,
    )


class _Mixing:
    """Propose the next x of every sample from a ring of differences.

    Shapes, with R samples of N entries each and m = min(depth, N): the accepted f(x) and its
    residual (R, N), its norm and whether a mixed step led there (R,), the differences (R, m, N),
    and which of them count (R, m).
    """

    fx: Tensor
    residual: Tensor
    norm: Tensor
    mixed: Tensor
    delta_f: Tensor
    delta_r: Tensor
    valid: Tensor

    def __init__(self, depth: int, ridge: float, event_dims: int) -> None:
        self.depth, self.ridge, self.event_dims = depth, ridge, event_dims
        self.calls = 0

    def __call__(self, at: Progress) -> Tensor:
        fx = at.fx.flatten(-self.event_dims)
        fx = fx.reshape(-1, fx.shape[-1])
        residual = (at.fx - at.x).reshape(fx.shape)
        norm = at.norm.reshape(-1)
        if self.calls == 0:
            self._start(fx)
            ahead = fx
            self.mixed = torch.zeros_like(norm, dtype=torch.bool)
        else:
            worse = self.mixed & (norm > self.norm)
            slot = (self.calls - 1) % self.valid.shape[-1]
            self.delta_f[:, slot] = fx - self.fx
            self.delta_r[:, slot] = residual - self.residual
            self.valid[:, slot] = True
            self.valid &= ~worse.unsqueeze(-1)
            fx = torch.where(worse.unsqueeze(-1), self.fx, fx)
            residual = torch.where(worse.unsqueeze(-1), self.residual, residual)
            norm = torch.where(worse, self.norm, norm)
            gamma = self._gamma(residual).unsqueeze(-2)
            ahead = fx - (gamma @ self.delta_f).squeeze(-2)
            finite = ahead.isfinite().all(-1)
            ahead = torch.where(finite.unsqueeze(-1), ahead, fx)
            self.mixed = finite & ~worse  # a plain step is never undone
        self.fx, self.residual, self.norm = fx, residual, norm
        self.calls += 1
        return ahead.reshape(at.x.shape)

    def _start(self, fx: Tensor) -> None:
        rows, size = fx.shape
        depth = min(self.depth, size)
        self.delta_f = fx.new_zeros(rows, depth, size)
        self.delta_r = torch.zeros_like(self.delta_f)
        self.valid = torch.zeros(rows, depth, dtype=torch.bool, device=fx.device)

    def _gamma(self, residual: Tensor) -> Tensor:
        """Return the weights (R, m) of the differences; 0 for those that do not count."""
        gram = self.delta_r @ self.delta_r.mT
        squares = gram.diagonal(dim1=-2, dim2=-1)
        # The newest differences are smaller by orders of magnitude. Scaled to norm 1, they are not
        # lost beside the ridge; an empty one becomes a row of zeros, which the ridge makes regular.
        usable = self.valid & (squares > 0)
        scale = torch.where(usable, torch.where(usable, squares, 1).rsqrt(), 0)
        gram = scale.unsqueeze(-1) * gram * scale.unsqueeze(-2)
        gram.diagonal(dim1=-2, dim2=-1).add_(self.ridge)
        target = scale * (self.delta_r @ residual.unsqueeze(-1)).squeeze(-1)
        # Singular systems give numbers that are not finite, or a step that is undone: no error.
        weights, _ = torch.linalg.solve_ex(gram, target)
        return scale * weights
