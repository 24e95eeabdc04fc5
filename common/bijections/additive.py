"""The shift of an additive coupling."""

import torch
from torch import Tensor


class Additive:
    """Shift, y = x + raw_0: a transformer that keeps volumes, as in NICE and additive Glow.

    Shapes: x, y, log-slopes (*shape); raw (*shape, 1).

    Reference: NICE: Non-linear Independent Components Estimation, Dinh, Krueger and Bengio, 2014,
    https://arxiv.org/abs/1410.8516, section 3.2.
    """

    parameters = 1

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return x + raw[..., 0], torch.zeros_like(x)

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        return y - raw[..., 0], torch.zeros_like(y)

    def identity(self) -> Tensor:
        return torch.zeros(1)

    def __repr__(self) -> str:
        return "Additive()"
