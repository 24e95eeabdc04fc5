"""A density from a base distribution and a bijection."""

import itertools
import math
from typing import Protocol

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection


class Base(Protocol):
    """What a base distribution offers; latents have shape (*batch, *event)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density in nats, shape (*batch,)."""
        ...

    def sample(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
        """Return latents of shape (*shape, *event) with the dtype and device of `like`."""
        ...


class StandardNormal(nn.Module):
    """N(0, I) over events of the given shape."""

    def __init__(self, event: tuple[int, ...]) -> None:
        super().__init__()
        self.event = tuple(event)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density in nats: (*batch, *event) -> (*batch,)."""
        size = math.prod(self.event)
        squares = z.square().flatten(-len(self.event)).sum(-1)
        return -0.5 * (squares + size * math.log(2 * math.pi))

    def sample(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
        """Return latents (*shape, *event); the generator decides device and stream."""
        size = (*shape, *self.event)
        noise = torch.randn(size, generator=generator, device=generator.device, dtype=like.dtype)
        return noise.to(like.device)


class Flow(nn.Module):
    """The density of x when z = f(x) follows `base`: log p(x) = log p_base(f(x)) + log |det df/dx|.

    With parameters stacked over K models, x is (K, B, *event) and log p is (K, B).
    """

    def __init__(self, base: Base, bijection: Bijection) -> None:
        super().__init__()
        self.base = base
        self.bijection = bijection

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density in nats: (*batch, *event) -> (*batch,)."""
        z, logdet = self.bijection.forward_and_logdet(x)
        return self.base.log_prob(z) + logdet

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator,
        models: tuple[int, ...] = (),
        temperature: float = 1.0,
    ) -> Tensor:
        """Return n samples (*models, n, *event) drawn with the generator.

        The latents are multiplied by the temperature: below 1 the samples are more typical, and no
        longer those of the density.
        """
        like = next(itertools.chain(self.parameters(), self.buffers()))
        z = self.base.sample((*models, n), like, generator)
        return self.bijection.inverse(temperature * z)

    def forward(self, x: Tensor) -> Tensor:
        return self.log_prob(x)
