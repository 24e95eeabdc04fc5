"""Table look-ups of a spline kernel with the loop over bins written out.

Every step acts on all scalars alike, so a compiler turns everything into one pass over the scalars
with all bins in registers. Each logit is a tensor (N,) of its own.
"""

import torch
from torch import Tensor

from common.bijections.splines.plan import Plan


def index(plan: Plan, v: Tensor, logits: Tensor) -> Tensor:
    """Return the bin (N,) of v (N,) among the knots that these logits (K, N) give."""
    e, total = _exponentials(logits)
    k = torch.zeros_like(v, dtype=torch.int32)
    running = torch.zeros_like(v)
    for j in range(1, plan.bins):
        running = running + e[j - 1]
        k = k + (v >= plan.edge(j, running / total)).to(torch.int32)
    return k


def shares(logits: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return the softmax shares (N,) of all bins before bin k and of bin k itself."""
    e, total = _exponentials(logits)
    before = torch.zeros_like(total)
    for j, entry in enumerate(e[:-1]):
        before = before + torch.where(k > j, entry, 0.0)
    return before / total, select(e, k) / total


def shares_backward(
    logits: Tensor, k: Tensor, before: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor]
) -> list[Tensor]:
    """Return the gradients of the logits, given both shares, each with its gradient."""
    e, total = _exponentials(logits)
    mean = before[0] * before[1] + own[0] * own[1]
    low, here, high = (before[1] - mean) / total, (own[1] - mean) / total, -mean / total
    return [
        entry * torch.where(k > j, low, torch.where(k == j, here, high))
        for j, entry in enumerate(e)
    ]


def entry(rows: Tensor, k: Tensor) -> Tensor:
    """Return entry k (N,) of the rows (K, N)."""
    return select(list(rows.unbind(0)), k)


def entry_backward(plan: Plan, k: Tensor, grad: Tensor) -> list[Tensor]:
    """Return the gradients of the rows, given that of their entry k."""
    return [torch.where(k == j, grad, 0.0) for j in range(plan.bins)]


def pair(plan: Plan, rows: Tensor, k: Tensor, outer: float) -> tuple[Tensor, Tensor]:
    """Return the entries (N,) at knots k and k + 1; `outer` beyond the rows, with tails."""
    numbers = list(rows.unbind(0))
    if plan.tails:
        numbers = [torch.full_like(numbers[0], outer), *numbers]
        numbers.append(numbers[0])
    return select(numbers[:-1], k), select(numbers[1:], k)


def pair_backward(plan: Plan, k: Tensor, first: Tensor, second: Tensor) -> list[Tensor]:
    """Return the gradients of the rows, given those of the entries at knots k and k + 1."""
    knots = range(1, plan.bins) if plan.tails else range(plan.bins + 1)
    return [torch.where(k == j, first, torch.where(k == j - 1, second, 0.0)) for j in knots]


def select(numbers: list[Tensor], k: Tensor) -> Tensor:
    """Return number k, for each scalar."""
    found = numbers[0]
    for j, number in enumerate(numbers[1:], 1):
        found = torch.where(k >= j, number, found)
    return found


def join(parts: list[list[Tensor]]) -> Tensor:
    """Return all rows as one tensor (P, N)."""
    return torch.stack([row for part in parts for row in part])


def _exponentials(logits: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return exponentials and their sum, without overflow."""
    rows = logits.unbind(0)
    top = rows[0]
    for row in rows[1:]:
        top = torch.maximum(top, row)
    e = [(row - top).exp() for row in rows]
    total = e[0]
    for entry in e[1:]:
        total = total + entry
    return e, total
