"""The interface of a generative prior."""

from typing import Literal

import torch
from torch import Tensor, nn

Start = Literal["zero", "normal"]


class Prior(nn.Module):
    """Generate images x = G(z) from latent vectors z, which follow N(0, I).

    Images have values from 0 to 1; G(z) may leave that range, and is clamped by no prior: metrics
    do it. A prior in use is in evaluation mode, so that an image depends on its own z alone.

    Args:
        shape: (C, H, W) of the images; n = C H W.
        latents: k, the length of z; k = n where G is a bijection.

    Shapes: z (B, k), x (B, C, H, W).
    """

    invertible: bool = False

    def __init__(self, shape: tuple[int, int, int], latents: int) -> None:
        super().__init__()
        self.shape = shape
        self.latents = latents

    @property
    def n(self) -> int:
        """Return the number of pixels of an image."""
        return int(torch.Size(self.shape).numel())

    def decode(self, z: Tensor) -> Tensor:
        """Return G(z) (B, C, H, W), with its gradient."""
        raise NotImplementedError

    def encode(self, x: Tensor) -> Tensor:
        """Return z (B, k) with G(z) = x; only a bijection has it."""
        raise NotImplementedError(f"{type(self).__name__} is not invertible: it has no encode")

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of images in nats (B,), per unit of x in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no density of images")

    def sample(self, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Return n images (n, C, H, W); the latents are multiplied by the temperature."""
        like = next(self.parameters())
        z = torch.randn(
            (n, self.latents), generator=generator, device=generator.device, dtype=like.dtype
        )
        with torch.no_grad():
            return self.decode(temperature * z.to(like.device))
