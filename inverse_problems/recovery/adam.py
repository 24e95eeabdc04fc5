"""Batched Adam, the baseline of L-BFGS: every image stops by itself."""

import torch
from torch import Tensor

from inverse_problems.recovery.budgets import Adam
from inverse_problems.recovery.solved import Solved, Status, Values
from inverse_problems.recovery.watch import Watch

# Ended rows are let go once they are this share.
DROP = 0.25


@torch.no_grad()
def adam(values: Values, z0: Tensor, budget: Adam) -> Solved:
    """Minimise the value of each image from its start, independently of the others.

    An image whose value or gradient is not finite FAILED, and its best point is returned.

    Args:
        values: what to minimise, image by image.
        z0: starts, (B, k).
        budget: how long, and how.

    Reference: Adam: A Method for Stochastic Optimization, Diederik P. Kingma and Jimmy Ba, 2015,
    https://arxiv.org/abs/1412.6980, algorithm 1.
    """
    entries = -(-budget.steps // budget.every)
    watch = Watch(values, z0, entries)
    run = _Run(budget, watch, z0.detach().clone())
    watch.record(0, run.z, run.value)
    entry = 0
    for step in range(1, budget.steps + 1):
        if run.left == 0:
            break
        run.step(step)
        if step % budget.every == 0 or step == budget.steps:
            entry += 1
            run.stop_settled()
            watch.record(entry, run.z, run.value)
            run.shrink()
    return watch.solved(entry)


class _Run:
    """The state of the images in work, R rows."""

    def __init__(self, budget: Adam, watch: Watch, z: Tensor) -> None:
        self.budget, self.watch, self.z = budget, watch, z
        self.first, self.second = torch.zeros_like(z), torch.zeros_like(z)
        self.ended = torch.zeros_like(z[:, 0], dtype=torch.bool)
        self.value, self.grad = watch.evaluate(z, ~self.ended)
        self.reference = self.value  # the lowest value at the last entry of the trace
        self._end(~self.value.isfinite(), Status.FAILED)
        self._stop_flat()
        self.left = self._count()

    def step(self, number: int) -> None:
        """Move all rows that have not ended, and evaluate them there."""
        (decay1, decay2), moving = self.budget.betas, ~self.ended
        self.first = torch.lerp(self.grad, self.first, decay1)
        self.second = torch.lerp(self.grad.square(), self.second, decay2)
        root = (self.second / (1 - decay2**number)).sqrt() + self.budget.eps
        change = self.budget.lr * (self.first / (1 - decay1**number)) / root
        each = moving.unsqueeze(-1)
        self.z = torch.where(each, self.z - change, self.z)
        value, grad = self.watch.evaluate(self.z, moving)
        self.value = torch.where(moving, value, self.value)
        self.grad = torch.where(each, grad, self.grad)
        self._end(moving & ~value.isfinite(), Status.FAILED)
        self._stop_flat()
        self.left = self._count()

    def stop_settled(self) -> None:
        """End rows whose lowest value has hardly fallen since the last entry of the trace."""
        lowest = self.watch.lowest()
        settled = ~self.ended & (self.reference - lowest <= self.budget.tolerance_change)
        self.watch.mark(settled, Status.CONVERGED)
        self.ended = self.ended | settled
        self.reference = lowest
        self.left = self._count()

    def shrink(self) -> None:
        """Let go of ended rows if they are many."""
        if self.watch.rows - self.left > DROP * self.watch.rows:
            rows = self.watch.drop(self.ended)
            self.z, self.first, self.second = self.z[rows], self.first[rows], self.second[rows]
            self.value, self.grad = self.value[rows], self.grad[rows]
            self.ended, self.reference = self.ended[rows], self.reference[rows]

    def _stop_flat(self) -> None:
        flat = ~self.ended & (self.grad.abs().amax(-1) <= self.budget.tolerance_grad)
        self.watch.mark(flat, Status.CONVERGED)
        self.ended = self.ended | flat

    def _end(self, rows: Tensor, status: Status) -> None:
        self.watch.mark(rows, status)
        self.ended = self.ended | rows
        self.z = torch.where(rows.unsqueeze(-1), self.watch.best(), self.z)
        self.value = torch.where(rows, self.watch.lowest(), self.value)

    def _count(self) -> int:
        return int((~self.ended).sum())
