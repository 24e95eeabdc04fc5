"""Measurements that are written for deepinv, or for anything with its three methods."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from inverse_problems.operators.base import LinearOperator


class Physics(Protocol):
    """What is asked of a linear physics object of deepinv (https://deepinv.github.io).

    Each method takes and returns a batch with one batch dimension.
    """

    def A(self, x: Tensor) -> Tensor:
        """Return the measurements of images (B, C, H, W), without noise."""

    def A_adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y, (B, C, H, W)."""

    def A_dagger(self, y: Tensor) -> Tensor:
        """Return A^+ y, (B, C, H, W)."""


class PhysicsOperator(LinearOperator):
    """Measure by a physics object; deepinv itself is not needed.

    Its noise model is left out, and its pseudo-inverse is as accurate as it says: some are
    iterative. A physics object that is a module moves along with this one.

    Args:
        shape: (C, H, W) of the images.
        physics: a linear one, with real measurements.

    Shapes: x (*batch, C, H, W), y (*batch, *measured); measured is found by measuring a black
        image.
    """

    def __init__(self, shape: tuple[int, int, int], physics: Physics) -> None:
        black = torch.zeros(1, *shape)
        if isinstance(physics, nn.Module):
            for held in (*physics.parameters(), *physics.buffers()):
                black = black.to(held.device)
        with torch.no_grad():
            measured = tuple(physics.A(black).shape[1:])
        super().__init__(shape, measured)
        self.physics = physics

    def forward(self, x: Tensor) -> Tensor:
        return self._batched(x, len(self.shape), self.physics.A, self.measured)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._batched(y, len(self.measured), self.physics.A_adjoint, self.shape)

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        return self._batched(y, len(self.measured), self.physics.A_dagger, self.shape)

    def _batched(
        self,
        x: Tensor,
        event_dims: int,
        method: Callable[[Tensor], Tensor],
        event: tuple[int, ...],
    ) -> Tensor:
        batch = x.shape[:-event_dims]
        if batch.numel() == 0:
            return x.new_zeros(*batch, *event)
        return method(x.reshape(-1, *x.shape[-event_dims:])).reshape(*batch, *event)
