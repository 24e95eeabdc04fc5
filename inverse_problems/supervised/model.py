"""The invertible network: x and padding in, latents, padding and the observation out."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection, Chain
from common.bijections.conditional import Coupling
from common.bijections.permutation import Permutation
from common.bijections.stacked_mlp import StackedMLP
from common.bijections.transformer import ClampedAffine
from common.flows.bank import Stack
from common.flows.flow import Flow, StandardNormal
from inverse_problems.supervised.config import Model


@dataclass(frozen=True)
class Layout:
    """Say where things stand at both ends of the network: [x, padding] and [z, padding, y].

    Args:
        x: entries of x.
        y: entries of y.
        z: entries of the latents.
        total: width of the network.

    Raises:
        ValueError: it is narrower than one of its ends.
    """

    x: int
    y: int
    z: int
    total: int

    def __post_init__(self) -> None:
        if self.total < max(self.x, self.y + self.z):
            raise ValueError(
                f"a network of {self.total} features holds neither {self.x} of x nor "
                f"{self.z} + {self.y} of z and y; expected at least {max(self.x, self.y + self.z)}"
            )

    @property
    def pad_x(self) -> int:
        """Return the entries of padding beside x."""
        return self.total - self.x

    @property
    def pad(self) -> int:
        """Return the entries of padding between z and y."""
        return self.total - self.y - self.z

    def parts(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z, padding and y of an output (*batch, total)."""
        z, pad, y = out.split([self.z, self.pad, self.y], -1)
        return z, pad, y


def build(model: Model, layout: Layout, models: int, seed: int) -> Stack:
    """Return K untrained networks as one batched one, in float32.

    A block is two affine maps, of the first half by the second and of the second half by what
    became of the first, and a fixed random permutation. One network gives the log-scales and the
    shifts of a map. All parameters start from N(0, init^2), as published. Everything is a function
    of the seed; the permutations are shared by the K models.

    Raises:
        ValueError: the layout has a single feature, which cannot be halved.
    """
    total = layout.total
    first = torch.arange(total) < total // 2
    generator = torch.Generator().manual_seed(seed)
    affine = ClampedAffine(model.clamp, model.clamp_width)
    links: list[Bijection] = []
    for _ in range(model.blocks):
        for changed in (first, ~first):
            count = int(changed.sum())
            net = StackedMLP(total - count, 2 * count, model.width, model.hidden, (models,))
            links.append(Coupling(changed, net, affine, models=(models,)))
        links.append(Permutation.random(total, generator))
    chain = Chain(links)
    with torch.no_grad():
        for parameter in chain.parameters():
            nn.init.normal_(parameter, std=model.init, generator=generator)
    return Stack(Flow(StandardNormal((total,)), chain), models)


def chain_of(stack: Stack) -> Chain:
    """Return the batched network."""
    return cast(Chain, stack.flow.bijection)
