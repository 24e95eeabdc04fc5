"""Monotone maps of one scalar whose parameters come from elsewhere, mostly from a network."""

import math
from typing import Protocol

import torch
from torch import Tensor


class Transformer(Protocol):
    """Map each scalar x to y one to one, with parameters that stand beside it.

    A coupling or an autoregressive layer is a conditioner, which looks at other features and gives
    `parameters` numbers for each scalar, and a transformer, which turns these into a map. The name
    is that of Papamakarios et al., "Normalizing Flows for Probabilistic Modeling and Inference",
    2021, section 3.1.
    """

    parameters: int

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and log dy/dx, both (*shape), of x (*shape) with raw (*shape, P)."""
        ...

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and log dx/dy, both (*shape), of y (*shape) with raw (*shape, P)."""
        ...

    def identity(self) -> Tensor:
        """Return the raw numbers (P,) that make the map the identity."""
        ...


class SigmoidAffine:
    """Scale and shift, y = x s + t with s = sigmoid(raw_0 + 2) + 1e-3 and t = raw_1.

    The scale lies in (0.001, 1.001), so that a layer can hardly expand: the affine baseline of
    Durkan et al., "Neural Spline Flows", 2019, there called Glow.

    Shapes: x, y, log-slopes (*shape); raw (*shape, 2).
    """

    parameters = 2

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._scale(raw)
        return x * scale + raw[..., 1], scale.log()

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        scale = self._scale(raw)
        return (y - raw[..., 1]) / scale, -scale.log()

    def identity(self) -> Tensor:
        return torch.tensor([math.log(0.999 / 0.001) - 2.0, 0.0])

    def _scale(self, raw: Tensor) -> Tensor:
        return torch.sigmoid(raw[..., 0] + 2.0) + 1e-3

    def __repr__(self) -> str:
        return "SigmoidAffine()"


class ClampedAffine:
    """Scale and shift, y = x exp(s) + t with s = 0.636 c atan(raw_0 / w) and t = raw_1.

    |s| stays below the clamp c, since 0.636 is about 2 / pi: no input makes the scale overflow or
    vanish, in either direction.

    Args:
        clamp: c, positive.
        width: w, positive; the larger, the softer.

    Shapes: x, y, log-slopes (*shape); raw (*shape, 2).

    Source: Ardizzone et al., "Analyzing Inverse Problems with Invertible Neural Networks", 2018,
    https://arxiv.org/abs/1808.04730: the form of the clamp is that of the library published for it.
    """

    parameters = 2

    def __init__(self, clamp: float, width: float = 1.0) -> None:
        if not min(clamp, width) > 0:
            raise ValueError(
                f"ClampedAffine: expected a positive clamp and width, got {clamp} and {width}"
            )
        self.clamp, self.width = clamp, width

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        s = self._log_scale(raw)
        return torch.addcmul(raw[..., 1], x, s.exp()), s

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        s = -self._log_scale(raw)
        return (y - raw[..., 1]) * s.exp(), s

    def identity(self) -> Tensor:
        return torch.zeros(2)

    def _log_scale(self, raw: Tensor) -> Tensor:
        return 0.636 * self.clamp * torch.atan(raw[..., 0] / self.width)

    def __repr__(self) -> str:
        return f"ClampedAffine({self.clamp}, {self.width})"
