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
