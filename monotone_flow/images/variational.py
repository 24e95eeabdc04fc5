"""Learn the noise that makes pixels continuous."""

from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.bijections.conditioners import draw_weights
from common.flows.flow import StandardNormal
from monotone_flow.images.architectures import Dense
from monotone_flow.images.blocks import Block
from monotone_flow.images.chain import KINDS, Kind

GROUP = 16  # channels that one group of a normalisation has


class Dequantised(NamedTuple):
    """Continuous images and the density of the noise in them.

    Args:
        x: (B, C, H, W) in [0, levels].
        log_q: (B,) log-density of the noise given the image, in nats. Where the blocks train, the
            log-determinants in it are surrogates: right gradients, and no value.
    """

    x: Tensor
    log_q: Tensor


class Bottleneck(nn.Module):
    """Three convolutions, each after group normalisation and ReLU: 3x3, 1x1 and 3x3.

    Shapes: (B, inputs, H, W) -> (B, outputs, H, W).
    """

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        widths = (inputs, hidden, hidden, outputs)
        steps: list[nn.Module] = []
        for a, b, kernel in zip(widths[:-1], widths[1:], (3, 1, 3), strict=True):
            steps += [nn.GroupNorm(a // GROUP, a), nn.ReLU()]
            steps.append(nn.Conv2d(a, b, kernel, padding=kernel // 2))
        self.steps = nn.Sequential(*steps)

    def forward(self, h: Tensor) -> Tensor:
        """Return the last convolution's output."""
        return cast(Tensor, self.steps(h))


class Condition(nn.Module):
    """Make of an image what is added to the activations of each dense layer of one block.

    A 3x3 convolution to `width` channels and three bottlenecks, each added to its input, embed the
    image. Each dense layer then has a bottleneck of its own, added to a 3x3 convolution of the
    embedding.

    Shapes: image (B, C, H, W) -> one (B, growth, H, W) per dense layer.
    """

    def __init__(
        self, channels: int, growth: int, depth: int, width: int = 64, hidden: int = 512
    ) -> None:
        super().__init__()
        if width % GROUP or hidden % GROUP:
            raise ValueError(
                f"Condition: expected widths that are multiples of {GROUP}, got {width}, {hidden}"
            )
        self.embed = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.ModuleList(Bottleneck(width, hidden, width) for _ in range(3))
        self.heads = nn.ModuleList(Bottleneck(width, hidden, growth) for _ in range(depth))
        self.shortcuts = nn.ModuleList(nn.Conv2d(width, growth, 3, padding=1) for _ in range(depth))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return what is to be added, layer by layer."""
        h = self.embed(image)
        for part in self.body:
            h = h + part(h)
        return tuple(
            head(h) + shortcut(h) for head, shortcut in zip(self.heads, self.shortcuts, strict=True)
        )


class VariationalDequantiser(nn.Module):
    """Draw noise u in (0, 1) given the image, x = pixels + u, with its density.

    u = sigmoid(f(u0)) with u0 from N(0, I), where f is three blocks whose networks see the image:
    log q(u) = log N(u0) - log|det df/du0| - sum log u (1 - u). A flow's log p(x) - log q is then a
    lower bound of the log-probability of the pixels.

    Args:
        shape: (C, H, W).
        kind: of the blocks; "residual" as published.
        architecture: of the blocks' networks.
        blocks: how many.
        width: channels of the image's embedding.
        hidden: channels within the conditioning bottlenecks.
        levels: number of pixel values.
        generator: a CPU generator that draws the start; torch's global one if None.
        settings: keywords of the blocks.

    References: Ho, Chen, Srinivas, Duan, Abbeel, "Flow++: Improving Flow-Based Generative Models
    with Variational Dequantization and Architecture Design", 2019, https://arxiv.org/abs/1902.00275
    (the bound); Ahn, Kim, Hong, Kim, "Invertible Monotone Operators for Normalizing Flows", 2022,
    https://arxiv.org/abs/2210.08176 (this network).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        kind: Kind = "residual",
        architecture: Dense | None = None,
        blocks: int = 3,
        width: int = 64,
        hidden: int = 512,
        levels: int = 256,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        dense = architecture or Dense()
        self.levels = levels
        self.base = StandardNormal(shape)
        self.blocks = nn.ModuleList(
            KINDS[kind](dense.image(shape, False, generator), event_dims=3, **settings)
            for _ in range(blocks)
        )
        self.conditions = nn.ModuleList(
            Condition(shape[0], dense.growth, dense.depth, width, hidden) for _ in range(blocks)
        )
        if generator is not None:
            draw_weights(self.conditions, generator)

    def forward(self, pixels: Tensor, noise: torch.Generator) -> Dequantised:
        """Return continuous images of pixels (B, C, H, W), whole numbers from 0 to levels - 1."""
        u0 = self.base.sample(pixels.shape[:-3], pixels, noise)
        image = pixels / (self.levels - 1)
        h, log_q = u0, self.base.log_prob(u0)
        for block, condition in zip(self.blocks, self.conditions, strict=True):
            h, term = cast(Block, block).forward_and_logdet(h, condition(image))
            log_q = log_q - term
        # log u (1 - u) from the logits: u itself rounds to 0 or 1.
        log_slope = F.logsigmoid(h) + F.logsigmoid(-h)
        return Dequantised(pixels + torch.sigmoid(h), log_q - log_slope.flatten(-3).sum(-1))
