"""The books of a batched optimisation: who still moves, what was seen, what it cost."""

import torch
from torch import Tensor

from inverse_problems.recovery.solved import Solved, Status, Values

# A smaller batch is put together once a quarter of the images need no evaluation.
FULL = 0.75


class Watch:
    """Evaluate those images that need it, and keep the best point, counts and trace of all.

    The images still in work are rows 0..R-1; `drop` lets go of some for good, and the others move
    up. So an image that has ended costs nothing.

    Args:
        values: of all B images.
        z0: their starts, (B, k).
        steps: outer steps, T.
    """

    def __init__(self, values: Values, z0: Tensor, steps: int) -> None:
        batch = len(z0)
        self._values = values
        self._ids = torch.arange(batch, device=z0.device)
        self._best = z0.detach().clone()
        self._last = self._best.clone()
        self._lowest = z0.new_full((batch,), torch.inf)
        self._count = torch.zeros_like(self._ids)
        self._status = torch.full_like(self._ids, Status.BUDGET)
        self._trace = z0.new_full((2, steps + 1, batch), torch.nan)

    @property
    def rows(self) -> int:
        """Return R, the number of images still in work."""
        return len(self._ids)

    @property
    def counts(self) -> Tensor:
        """Return the evaluations so far of the images in work, (R,)."""
        return self._count[self._ids]

    def evaluate(self, z: Tensor, needed: Tensor) -> tuple[Tensor, Tensor]:
        """Return values (R,) and gradients (R, k) of the needed rows, bool (R,), at z (R, k).

        A value that is not finite, or whose gradient is not, is returned as infinity with a
        gradient of zero; rows that are not needed get the same. This is the one place where the
        host waits for the device, once per evaluation.
        """
        rows = needed.nonzero().squeeze(1)
        if len(rows) > FULL * len(z):
            value, grad = value_and_gradient(self._values, z)
        elif len(rows) == 0:
            return torch.full_like(z[:, 0], torch.inf), torch.zeros_like(z)
        else:
            part = value_and_gradient(self._values.take(rows), z[rows])
            value = torch.full_like(z[:, 0], torch.inf).index_copy(0, rows, part[0])
            grad = torch.zeros_like(z).index_copy(0, rows, part[1])
        usable = needed & value.isfinite() & grad.isfinite().all(-1)
        value = torch.where(usable, value, torch.inf)
        grad = torch.where(usable.unsqueeze(-1), grad, 0)
        ids = self._ids
        self._count[ids] += needed
        better = value < self._lowest[ids]
        self._lowest[ids] = torch.where(better, value, self._lowest[ids])
        self._best[ids] = torch.where(better.unsqueeze(-1), z, self._best[ids])
        return value, grad

    def best(self) -> Tensor:
        """Return the best points of the images in work, (R, k)."""
        return self._best[self._ids]

    def lowest(self) -> Tensor:
        """Return their values, (R,); infinite where there was no finite one."""
        return self._lowest[self._ids]

    def record(self, step: int, z: Tensor, value: Tensor) -> None:
        """Write down where the images in work are after an outer step; the others stay."""
        if step > 0:
            self._trace[:, step] = self._trace[:, step - 1]
        self._trace[0, step, self._ids] = value
        self._trace[1, step, self._ids] = torch.linalg.vector_norm(z, dim=-1)
        self._last[self._ids] = z

    def mark(self, rows: Tensor, status: Status) -> None:
        """Set the status of some rows, bool (R,)."""
        self._status[self._ids[rows]] = status

    def drop(self, ended: Tensor) -> Tensor:
        """Let go of rows, bool (R,); return the numbers of the others, int64."""
        kept = (~ended).nonzero().squeeze(1)
        self._ids = self._ids[kept]
        self._values = self._values.take(kept)
        return kept

    def solved(self, steps: int) -> Solved:
        """Return what was found after so many outer steps; from there the trace stays as it is."""
        self._trace[:, steps + 1 :] = self._trace[:, steps : steps + 1]
        failed = (self._status == Status.FAILED).unsqueeze(-1)
        return Solved(
            z=self._best,
            value=self._lowest,
            last=torch.where(failed, self._best, self._last),
            status=self._status,
            evaluations=self._count,
            values=self._trace[0],
            norms=self._trace[1],
        )


def value_and_gradient(values: Values, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values (B,) at z (B, k) and their gradients (B, k), both without a graph.

    Images do not depend on each other, so the gradient of the sum holds those of all.
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = values(z)
        (grad,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), grad
