"""Table look-ups of a spline kernel with the bins as a dimension.

The same functions as in the unrolled form, whose code grows with the number of bins; this one's
does not. Bins come first and scalars last, so that sums over bins run over whole vectors.
"""

import torch
from torch import Tensor

from common.bijections.splines.plan import Plan


def index(plan: Plan, v: Tensor, logits: Tensor) -> Tensor:
    """Return the bin (N,) of v (N,) among the knots that these logits (K, N) give."""
    e, total = _exponentials(logits)
    inner = plan.edge(_numbers(1, plan.bins, v), e[:-1].cumsum(0) / total)
    return (v >= inner).sum(0, dtype=torch.int32)


def shares(logits: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return the softmax shares (N,) of all bins before bin k and of bin k itself."""
    (e, total), j = _exponentials(logits), _numbers(0, len(logits), k)
    return torch.where(j < k, e, 0.0).sum(0) / total, torch.where(j == k, e, 0.0).sum(0) / total


def shares_backward(
    logits: Tensor, k: Tensor, before: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the gradients (K, N) of the logits, given both shares, each with its gradient."""
    mean = before[0] * before[1] + own[0] * own[1]
    (e, total), j = _exponentials(logits), _numbers(0, len(logits), k)
    return e * (torch.where(j < k, before[1], torch.where(j == k, own[1], 0.0)) - mean) / total


def entry(rows: Tensor, k: Tensor) -> Tensor:
    """Return entry k (N,) of the rows (K, N)."""
    return rows.gather(0, k.long().unsqueeze(0)).squeeze(0)


def entry_backward(plan: Plan, k: Tensor, grad: Tensor) -> Tensor:
    """Return the gradients (K, N) of the rows, given that of their entry k."""
    return torch.where(_numbers(0, plan.bins, k) == k, grad, 0.0)


def pair(plan: Plan, rows: Tensor, k: Tensor, outer: float) -> tuple[Tensor, Tensor]:
    """Return the entries (N,) at knots k and k + 1; `outer` beyond the rows, with tails."""
    if not plan.tails:
        return entry(rows, k), entry(rows, k + 1)
    first, last = k == 0, k == plan.bins - 1
    return (
        torch.where(first, outer, entry(rows, (k - 1).clamp(min=0))),
        torch.where(last, outer, entry(rows, k.clamp(max=plan.bins - 2))),
    )


def pair_backward(plan: Plan, k: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the gradients of the rows, given those of the entries at knots k and k + 1."""
    j = _numbers(1, plan.bins, k) if plan.tails else _numbers(0, plan.bins + 1, k)
    return torch.where(j == k, first, torch.where(j == k + 1, second, 0.0))


def join(parts: list[Tensor]) -> Tensor:
    """Return all rows as one tensor (P, N)."""
    return torch.cat(parts)


def _numbers(start: int, stop: int, like: Tensor) -> Tensor:
    return torch.arange(start, stop, device=like.device, dtype=torch.int32).unsqueeze(1)


def _exponentials(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return exponentials and their sum, without overflow.

    Not a softmax: its quotients would be written to memory, while these are computed again where
    they are used.
    """
    e = (logits - logits.amax(0)).exp()
    return e, e.sum(0)
