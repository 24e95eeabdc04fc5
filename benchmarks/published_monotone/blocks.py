"""The monotone block: an implicit map, its implicit derivative and its exact log-determinant."""

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.published_monotone.dense import Net, PublishedDense
from benchmarks.published_monotone.solver import solve

FORWARD_EPS, FORWARD_CAP = 1e-6, 2000
BACKWARD_EPS, BACKWARD_CAP = 1e-9, 100
ROOT2 = math.sqrt(2)


class PublishedMonotone(nn.Module):
    """Map x to sqrt(2) w - x, where w + g(w) = sqrt(2) x.

    Args:
        net: g.

    Attributes:
        calls: of g, "forward", and of its transposed Jacobian, "backward", in all solves so far.
    """

    def __init__(self, net: PublishedDense) -> None:
        super().__init__()
        self.net = net
        self.calls: Counter[str] = Counter()

    def forward(self, x: Tensor) -> Tensor:
        """Return y (B, D) of x (B, D)."""
        w, _ = self._point(x)
        return ROOT2 * w - x

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (B, 2) and ln |det| (B,) of x (B, 2), from the Jacobian of g at w."""
        w, net = self._point(x)
        return ROOT2 * w - x, monotone_logdet(jacobian(net(w), w))

    def _point(self, x: Tensor) -> tuple[Tensor, Net]:
        net = self.net.normalised()
        copy = net.copy()
        target = ROOT2 * x
        constant = target.detach()
        root, calls = solve(lambda w: constant - copy(w), constant, FORWARD_EPS, FORWARD_CAP)
        self.calls["forward"] += calls
        w: Tensor = _Implicit.apply(target, constant - net(root), root, copy, self.calls)
        return w, net


class _Implicit(torch.autograd.Function):
    """Pass w on; divide the gradient by the transpose of I + J, J the Jacobian of g at the root."""

    @staticmethod
    def forward(
        ctx: Any, target: Tensor, w: Tensor, root: Tensor, copy: Net, calls: Counter[str]
    ) -> Tensor:
        ctx.save_for_backward(root)
        ctx.copy, ctx.calls = copy, calls
        return w.view_as(w)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (root,) = ctx.saved_tensors
        leaf = root.detach().requires_grad_()
        with torch.enable_grad():
            value = ctx.copy(leaf)

        def step(z: Tensor) -> Tensor:
            leaf.grad = None
            # As published, this also adds up gradients of the copy's weights, which nobody reads.
            value.backward(z, retain_graph=True)
            assert leaf.grad is not None
            return gradient - leaf.grad

        z, calls = solve(step, gradient, BACKWARD_EPS, BACKWARD_CAP)
        ctx.calls["backward"] += calls
        return z, z, None, None, None


def jacobian(y: Tensor, x: Tensor) -> Tensor:
    """Return dy/dx (B, D, D), differentiable, by one pass back for each feature of y (B, D)."""
    rows = [torch.autograd.grad(part.sum(), x, create_graph=True)[0] for part in y.unbind(-1)]
    return torch.stack(rows, -2)


def monotone_logdet(j: Tensor) -> Tensor:
    """Return ln |det(I - J)| - ln |det(I + J)| (B,) of J (B, 2, 2)."""
    trace = j[:, 0, 0] + j[:, 1, 1]
    det = j[:, 0, 0] * j[:, 1, 1] - j[:, 0, 1] * j[:, 1, 0]
    return (1 - trace + det).abs().log() - (1 + trace + det).abs().log()
