"""Glow, as it was trained for inverse problems."""

from dataclasses import dataclass
from typing import Literal

import torch

from common.bijections.actnorm import ActNorm
from common.bijections.additive import Additive
from common.bijections.base import Bijection, Chain
from common.bijections.conditional import Coupling
from common.bijections.conv1x1 import LUConv1x1
from common.bijections.elementwise import Rescale
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze
from common.errors import UserError
from common.flows.flow import Flow, StandardNormal
from inverse_problems.priors.frozen_conv import FrozenConv1x1
from inverse_problems.priors.glow_net import GlowAffine, GlowNet, Standardise, ZeroConv


@dataclass(frozen=True)
class Architecture:
    """Choose a Glow; the defaults are the published choices.

    A level is space to depth by 2 and flow steps, each ActNorm, 1x1 convolution and a coupling that
    maps the first half of the channels given the second. After each level but the last the second
    half of the channels is factored out.

    Args:
        levels: L.
        steps: K, flow steps of each level but the last.
        last_steps: flow steps of the last level.
        width: channels of the couplings' networks.
        coupling: `affine` or `additive`.
        bias: of the affine couplings' scales.
        mixing: the 1x1 convolutions: `full`, free matrices, or `lu`, permutations and LU layers.
        split: factored-out channels are latents as they are, `normal`, or by a map that the
            remaining channels decide, `learned`.
        std: standard deviation of the networks' first weights.

    Reference: Invertible generative models for inverse problems: mitigating representation error
    and dataset bias, Asim, Daniels, Leong, Ahmed and Hand, 2020, https://arxiv.org/abs/1905.11672,
    the published code; Glow: Generative Flow with Invertible 1x1 Convolutions, Kingma and Dhariwal,
    2018, https://arxiv.org/abs/1807.03039 (LU, additive couplings and learned splits).
    """

    levels: int = 4
    steps: int = 48
    last_steps: int = 1
    width: int = 512
    coupling: Literal["affine", "additive"] = "affine"
    bias: float = 0.0
    mixing: Literal["full", "lu"] = "full"
    split: Literal["normal", "learned"] = "normal"
    std: float = 0.01


def glow(
    shape: tuple[int, int, int],
    cfg: Architecture,
    values: int | None = 256,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a Glow with N(0, I) over latents of the images' own shape.

    Args:
        shape: (C, H, W) of the images.
        cfg: which one.
        values: number of values of a dequantised pixel, which lies in [0, values); it is divided by
            that and moved by -1/2, which log-densities count. None where the images are so already.
        generator: a CPU generator that draws matrices and weights; torch's global one if None.

    Raises:
        UserError: a size that is not positive, or an image that cannot be halved so often.
    """
    for name in ("levels", "steps", "last_steps", "width"):
        if getattr(cfg, name) < 1:
            raise UserError(f"glow: expected {name} >= 1, got {getattr(cfg, name)}")
    if any(size % 2**cfg.levels for size in shape[1:]):
        raise UserError(
            f"glow: {cfg.levels} levels halve the image as often, "
            f"but its size is {shape[1]} x {shape[2]}"
        )
    links: list[Bijection] = []
    if values is not None:
        links.append(Rescale(values, event_dims=3, shift=-0.5))
    links += _levels(shape[0], cfg.levels, cfg, generator)
    return Flow(StandardNormal(shape), Chain(links))


def _levels(
    channels: int, levels: int, cfg: Architecture, generator: torch.Generator | None
) -> list[Bijection]:
    """Return the links of the remaining levels; together they keep the shape."""
    coarse = 4 * channels
    links: list[Bijection] = [Squeeze()]
    for _ in range(cfg.steps if levels > 1 else cfg.last_steps):
        links += _step(coarse, cfg, generator)
    if levels > 1:
        half = coarse // 2
        if cfg.split == "learned":
            second = torch.arange(coarse) >= half
            net = ZeroConv(half, 2 * half)
            links.append(Coupling(second, net, Standardise(), event_dims=3))
        links.append(OnFirstHalf(Chain(_levels(half, levels - 1, cfg, generator))))
    return [*links, Unsqueeze()]


def _step(channels: int, cfg: Architecture, generator: torch.Generator | None) -> list[Bijection]:
    """Return the three links of one flow step."""
    transformer = Additive() if cfg.coupling == "additive" else GlowAffine(cfg.bias)
    first = channels // 2
    outputs = transformer.parameters * first
    net = GlowNet(channels - first, outputs, cfg.width, cfg.std, generator)
    mix = FrozenConv1x1 if cfg.mixing == "full" else LUConv1x1
    return [
        ActNorm(channels, event_dims=3),
        mix(channels, generator),
        Coupling(torch.arange(channels) < first, net, transformer, event_dims=3),
    ]
