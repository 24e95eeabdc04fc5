"""Normalising flows as priors of images."""

import math

from torch import Tensor

from common.errors import UserError
from common.flows.flow import Flow
from inverse_problems.priors.base import Prior


class FlowPrior(Prior):
    """Take a flow over dequantised pixels v in [0, levels) as a prior of images x in [0, 1].

    v = x (levels - 1) + 1/2, so the image of a pixel value p, x = p / (levels - 1), lies in the
    middle of the values that dequantisation gives to p.

    Args:
        flow: its latents have the shape of the images.
        shape: (C, H, W).
        levels: number of pixel values.
    """

    invertible = True

    def __init__(self, flow: Flow, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(shape, math.prod(shape))
        if levels < 2:
            raise UserError(f"FlowPrior: expected at least 2 levels, got {levels}")
        self.flow = flow
        self.levels = levels

    def decode(self, z: Tensor) -> Tensor:
        v = self.flow.bijection.inverse(z.reshape(-1, *self.shape))
        return (v - 0.5) / (self.levels - 1)

    def encode(self, x: Tensor) -> Tensor:
        return self.flow.bijection.forward_and_logdet(self.values(x))[0].flatten(1)

    def log_prob(self, x: Tensor) -> Tensor:
        # The density is that of x: dv = (levels - 1) dx for each of n pixels.
        return self.flow.log_prob(self.values(x)) + self.n * math.log(self.levels - 1)

    def values(self, x: Tensor) -> Tensor:
        """Return the pixel values v of images x, both (B, C, H, W)."""
        return x * (self.levels - 1) + 0.5

    def extra_repr(self) -> str:
        return f"shape={self.shape}, levels={self.levels}"
