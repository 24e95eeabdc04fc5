"""Glow-like flows of images: ActNorm, invertible 1x1 convolutions and couplings on all scales.

References: Glow: Generative Flow with Invertible 1x1 Convolutions, Diederik P. Kingma and Prafulla
Dhariwal, 2018, https://arxiv.org/abs/1807.03039 (the model); Neural Spline Flows, Conor Durkan,
Artur Bekasov, Iain Murray and George Papamakarios, 2019, https://arxiv.org/abs/1906.04032 (this
variant, with any transformer in the couplings).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from common.bijections.actnorm import ActNorm
from common.bijections.base import Bijection, Chain
from common.bijections.conditional import Coupling
from common.bijections.conv1x1 import FullConv1x1, LUConv1x1
from common.bijections.conv_conditioner import ConvConditioner
from common.bijections.elementwise import Rescale
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze
from common.bijections.transformer import Transformer
from common.errors import UserError
from common.flows.flow import Flow, StandardNormal

Mixing = Literal["lu", "full"]


def image_flow(
    shape: tuple[int, int, int],
    *,
    levels: int,
    steps: int,
    channels: int,
    blocks: int,
    transformer: Transformer,
    dropout: float = 0.0,
    batch_norm: bool = True,
    multi_scale: bool = True,
    mixing: Mixing = "lu",
    identity_start: bool = False,
    values: int | None = 256,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a flow of images with N(0, I) over latents of the images' own shape.

    The values are first divided by their number and moved by -1/2, which log-densities count, so
    they are those of dequantised images. A level is space to depth by 2, `steps` times [ActNorm,
    1x1 convolution, coupling], and one more 1x1 convolution; a coupling maps the first half of the
    channels, rounded up, given the others. With `multi_scale` half of the channels is factored out
    after each level but the last.

    Args:
        shape: (C, H, W) of the images.
        levels: number of levels.
        steps: couplings of each level.
        channels: width of the conditioners' hidden layers.
        blocks: residual blocks of each conditioner.
        transformer: what maps a scalar in the couplings; published splines take
            logit_scale = channels ** -0.5, without which a new deep flow is a map of such steep
            slopes that float32 cannot invert it.
        dropout: of the conditioners, in training.
        batch_norm: of the conditioners.
        multi_scale: factor out channels between the levels.
        mixing: "lu", a permutation and an LU layer as published for splines, or "full", a free
            matrix.
        identity_start: start each coupling as the identity (Glow) and not from random outputs of
            its conditioner (spline flows).
        values: number of values of a dequantised pixel, which lies in [0, values); None where the
            images are preprocessed already.
        generator: a CPU generator that draws permutations and initial weights; torch's global one
            if None.

    Raises:
        UserError: a size that is not positive, an unknown mixing, or an image that cannot be halved
            so often.
    """
    sizes = {"levels": levels, "steps": steps, "channels": channels, "blocks": blocks}
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"image_flow: expected {name} >= 1, got {size}")
    if mixing not in ("lu", "full"):
        raise UserError(f"image_flow: expected mixing lu or full, got {mixing!r}")
    if any(size % 2**levels for size in shape[1:]):
        raise UserError(
            f"image_flow: {levels} levels halve the image as often, "
            f"but its size is {shape[1]} x {shape[2]}"
        )
    step = _Step(
        channels, blocks, transformer, dropout, batch_norm, mixing, identity_start, generator
    )
    links: list[Bijection] = []
    if values is not None:
        links.append(Rescale(values, event_dims=3, shift=-0.5))
    links += _levels(shape[0], levels, steps, step, multi_scale)
    return Flow(StandardNormal(shape), Chain(links))


@dataclass(frozen=True)
class _Step:
    """What all steps of a flow share."""

    planes: int
    blocks: int
    transformer: Transformer
    dropout: float
    batch_norm: bool
    mixing: Mixing
    identity_start: bool
    generator: torch.Generator | None

    def links(self, channels: int) -> list[Bijection]:
        return [ActNorm(channels, event_dims=3), self.mix(channels), self._coupling(channels)]

    def mix(self, channels: int) -> Bijection:
        if self.mixing == "lu":
            return LUConv1x1(channels, self.generator)
        return FullConv1x1(channels, self.generator)

    def _coupling(self, channels: int) -> Bijection:
        changed = (channels + 1) // 2
        conditioner = ConvConditioner(
            channels - changed,
            self.transformer.parameters * changed,
            self.planes,
            self.blocks,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            generator=self.generator,
        )
        if self.identity_start:
            conditioner.give_constant(self.transformer.identity().repeat_interleave(changed))
        mask = torch.arange(channels) < changed
        return Coupling(mask, conditioner, self.transformer, event_dims=3)


def _levels(
    channels: int, levels: int, steps: int, step: _Step, multi_scale: bool
) -> list[Bijection]:
    """Return the links of the remaining levels; together they keep the shape."""
    coarse = 4 * channels
    links: list[Bijection] = [Squeeze()]
    for _ in range(steps):
        links += step.links(coarse)
    links.append(step.mix(coarse))
    if levels > 1 and multi_scale:
        links.append(OnFirstHalf(Chain(_levels(coarse // 2, levels - 1, steps, step, True))))
    elif levels > 1:
        links += _levels(coarse, levels - 1, steps, step, False)
    return [*links, Unsqueeze()]
