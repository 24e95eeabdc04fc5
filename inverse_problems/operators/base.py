"""The interface of a linear measurement."""

import torch
from torch import Tensor, nn


class LinearOperator(nn.Module):
    """Measure images by a linear map A: R^n -> R^m.

    A subclass implements `forward` and `adjoint`, and keeps what defines A as buffers, so that
    `.to(device, dtype)` moves it.

    Args:
        shape: (C, H, W) of the images; n = C H W.
        measured: event shape of the measurements; (m,) or that of an image.

    Shapes: x (*batch, C, H, W), y (*batch, *measured).
    """

    def __init__(self, shape: tuple[int, int, int], measured: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.measured = measured

    @property
    def n(self) -> int:
        """Return the number of pixels of an image."""
        return int(torch.Size(self.shape).numel())

    @property
    def m(self) -> int:
        """Return the number of measurements of an image."""
        return int(torch.Size(self.measured).numel())

    def forward(self, x: Tensor) -> Tensor:
        """Return A x (*batch, *measured)."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^T y (*batch, C, H, W)."""
        raise NotImplementedError

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """Return A^+ y (*batch, C, H, W), the measured image of least norm."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"shape={self.shape}, m={self.m}"
