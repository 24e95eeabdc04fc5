"""The memory of L-BFGS, of all images at once."""

import torch
from torch import Tensor


class History:
    """Hold the last pairs (s, y) of every image, and multiply by the inverse Hessian they give.

    An image accepts a pair by itself, so images have different numbers of pairs and overwrite their
    oldest one at different times. Nothing here waits for the device.

    Args:
        rows: number of images, R.
        memory: most pairs of an image.
        like: gives k (last dimension), dtype and device.

    Reference: Updating Quasi-Newton Matrices with Limited Storage, Jorge Nocedal, 1980,
    https://doi.org/10.1090/S0025-5718-1980-0572855-7 (the two-loop recursion).
    """

    def __init__(self, rows: int, memory: int, like: Tensor) -> None:
        k = like.shape[-1]
        self.memory = memory
        self.s = like.new_zeros(rows, memory, k)
        self.y = like.new_zeros(rows, memory, k)
        # s_i . y_j of slots i and j. An empty slot has s = y = 0, and 1 here.
        self.products = torch.eye(memory, dtype=like.dtype, device=like.device).repeat(rows, 1, 1)
        self.count = torch.zeros(rows, dtype=torch.int64, device=like.device)
        self.scale = like.new_ones(rows)  # of the initial inverse Hessian
        self._pushes = 0  # no image has more pairs

    def push(self, s: Tensor, y: Tensor, wanted: Tensor, least: Tensor | float) -> None:
        """Add pairs (R, k) of the wanted images, bool (R,), whose s . y exceeds `least`."""
        rows = torch.arange(len(s), device=s.device)
        curvature = (s * y).sum(-1)
        accepted = wanted & (curvature > least)
        each = accepted.unsqueeze(-1)
        slot = self.count % self.memory
        self._pushes += 1
        used = min(self._pushes, self.memory)
        self.s[rows, slot] = torch.where(each, s, self.s[rows, slot])
        self.y[rows, slot] = torch.where(each, y, self.y[rows, slot])
        column = torch.where(each, times(self.s[:, :used], y), self.products[rows, :used, slot])
        self.products[rows, :used, slot] = column
        self.scale = torch.where(accepted, curvature / y.square().sum(-1), self.scale)
        self.count += accepted

    def direction(self, grad: Tensor) -> Tensor:
        """Return -H grad, (R, k) -> (R, k).

        The two loops are two triangular solves. With S and Y in the order of time, R_ij = s_i . y_j
        for j >= i and D its diagonal, the first loop (newest pair first) finds a = R^-1 S q, the
        second c = R^-T (D a - Y r) for r = H0 (q - Y^T a), and the result is r + S^T c, q = -grad.
        So an image takes four products with its pairs and not four per pair.
        """
        used = min(self._pushes, self.memory)
        if used == 0:
            return -grad
        s, y, products = self.s[:, :used], self.y[:, :used], self.products[:, :used, :used]
        order = self._order(used)
        if order is not None:
            products = products.gather(1, order.unsqueeze(2).expand_as(products))
            products = products.gather(2, order.unsqueeze(1).expand_as(products))
        first = _sort(times(s, -grad), order)
        a = torch.linalg.solve_triangular(products, first.unsqueeze(-1), upper=True).squeeze(-1)
        r = self.scale.unsqueeze(-1) * (-grad - combine(_unsort(a, order), y))
        second = products.diagonal(dim1=-2, dim2=-1) * a - _sort(times(y, r), order)
        c = torch.linalg.solve_triangular(products.mT, second.unsqueeze(-1), upper=False)
        return r + combine(_unsort(c.squeeze(-1), order), s)

    def forget(self, which: Tensor) -> None:
        """Empty the memory of some images, bool (R,)."""
        each = which.reshape(-1, 1, 1)
        eye = torch.eye(self.memory, dtype=self.s.dtype, device=self.s.device)
        self.s.masked_fill_(each, 0)
        self.y.masked_fill_(each, 0)
        self.products = torch.where(each, eye, self.products)
        self.count.masked_fill_(which, 0)
        self.scale.masked_fill_(which, 1)

    def take(self, rows: Tensor) -> None:
        """Keep the images with these numbers alone, int64."""
        self.s, self.y, self.products = self.s[rows], self.y[rows], self.products[rows]
        self.count, self.scale = self.count[rows], self.scale[rows]

    def _order(self, used: int) -> Tensor | None:
        """Return the slots from the oldest pair to the newest, (R, used); None for 0, 1, ..."""
        if self._pushes <= self.memory:
            return None
        first = torch.where(self.count > self.memory, self.count % self.memory, 0)
        slots = torch.arange(used, device=first.device)
        return (first.unsqueeze(-1) + slots) % self.memory


def times(pairs: Tensor, vector: Tensor) -> Tensor:
    """Return the products of all rows with a vector: (R, M, k), (R, k) -> (R, M)."""
    # As a row times a matrix: on a CPU a matrix times a column takes ten times as long.
    return torch.bmm(vector.unsqueeze(-2), pairs.mT).squeeze(-2)


def combine(weights: Tensor, pairs: Tensor) -> Tensor:
    """Return the weighted sum of rows: (R, M), (R, M, k) -> (R, k)."""
    return torch.bmm(weights.unsqueeze(-2), pairs).squeeze(-2)


def _sort(by_slot: Tensor, order: Tensor | None) -> Tensor:
    return by_slot if order is None else by_slot.gather(-1, order)


def _unsort(by_age: Tensor, order: Tensor | None) -> Tensor:
    return by_age if order is None else torch.zeros_like(by_age).scatter(-1, order, by_age)
