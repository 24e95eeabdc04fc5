"""Flows of images by invertible blocks on three scales."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from common.bijections.actnorm import ActNorm
from common.bijections.base import Bijection, Chain
from common.bijections.elementwise import Logit, Rescale
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze
from common.errors import UserError
from common.flows.flow import Flow, StandardNormal
from monotone_flow.images.architectures import Architecture, Dense
from monotone_flow.images.blocks import Block, InverseResidual, Monotone, Residual, set_estimators
from monotone_flow.images.estimators import Omit
from monotone_flow.images.lipschitz import update_norms
from monotone_flow.images.power_iteration import RelativeChange

Kind = Literal["residual", "inverse_residual", "monotone"]
KINDS: dict[str, type[Block]] = {
    "residual": Residual,
    "inverse_residual": InverseResidual,
    "monotone": Monotone,
}
VECTOR_BLOCKS = 4  # at the end, as published
START = RelativeChange(1e-4)
VARIANCE_FLOOR = 0.2  # of what an ActNorm divides by at its start, as published


class OnVectors(Bijection):
    """Apply a bijection of vectors to flattened images.

    Shapes: x and z (*batch, C, H, W), where `inner` sees C H W features; logdet (*batch,).
    """

    event_dims = 3

    def __init__(self, inner: Bijection) -> None:
        super().__init__()
        self.inner = inner

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, logdet = self.inner.forward_and_logdet(x.flatten(-3))
        return z.reshape(x.shape), logdet

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, logdet = self.inner.inverse_and_logdet(z.flatten(-3))
        return x.reshape(z.shape), logdet

    def inverse(self, z: Tensor) -> Tensor:
        return self.inner.inverse(z.flatten(-3)).reshape(z.shape)


def block_flow(
    shape: tuple[int, int, int],
    *,
    kind: Kind = "monotone",
    architecture: Architecture | None = None,
    blocks: Sequence[int] = (16, 16, 16),
    alpha: float = 0.05,
    vectors: bool = True,
    factor_out: bool = False,
    squeeze_first: bool = False,
    levels: int = 256,
    generator: torch.Generator | None = None,
    **settings: Any,
) -> Flow:
    """Build a flow of dequantised images with N(0, I) over latents of the images' own shape.

    The pixels in [0, levels) become logits of alpha + (1 - 2 alpha) x / levels. Then follows an
    ActNorm, on each scale its blocks with an ActNorm after each, and space to depth by 2 between
    the scales. At the end four blocks act on the flattened image, each with an ActNorm of every
    dimension.

    Give it a source of random numbers with `set_source`, call `start` with a first batch, and
    `update_norms` after each step of the optimiser.

    Args:
        shape: (C, H, W) of the images.
        kind: of all blocks.
        architecture: makes the networks; `Dense()` by default.
        blocks: how many on each scale.
        alpha: 0.05 for colour images, 1e-6 for MNIST.
        vectors: append the four blocks of vectors.
        factor_out: let half of the channels be latent after each scale but the last.
        squeeze_first: space to depth before the first scale.
        levels: number of pixel values.
        generator: a CPU generator that draws the start; torch's global one if None.
        settings: keywords of the blocks: estimators, tolerances, limit.

    Raises:
        UserError: no scale, or images that cannot be halved so often.

    Reference: Ahn, Kim, Hong, Kim, "Invertible Monotone Operators for Normalizing Flows", 2022,
    https://arxiv.org/abs/2210.08176; with kind="residual" and `Plain()` it is a Residual Flow.
    """
    halvings = len(blocks) - 1 + squeeze_first
    if not blocks or any(size % 2**halvings for size in shape[1:]):
        raise UserError(
            f"block_flow: {len(blocks)} scales halve the image {halvings} times, "
            f"but its size is {shape[1]} x {shape[2]}"
        )
    build = _Build(kind, architecture or Dense(), vectors, factor_out, generator, settings)
    links: list[Bijection] = [Rescale(levels, event_dims=3), Logit(2 * alpha, event_dims=3)]
    if squeeze_first:
        links.append(Squeeze())
        shape_first = (4 * shape[0], shape[1] // 2, shape[2] // 2)
    else:
        shape_first = shape
    links.append(act_norm(shape_first[0], 3))
    links += build.scales(shape_first, blocks, first=True)
    if squeeze_first:
        links.append(Unsqueeze())
    return Flow(StandardNormal(shape), Chain(links))


@torch.no_grad()
def start(flow: Flow, x: Tensor) -> None:
    """Find the norms of all layers, then start the ActNorms by a first batch x (B, C, H, W).

    The flow is in training mode afterwards. It needs no source of random numbers.
    """
    update_norms(flow, START)
    blocks = [part for part in flow.modules() if isinstance(part, Block)]
    kept = [block.training_estimator for block in blocks]
    set_estimators(flow, training=Omit())
    try:
        flow.train().bijection.forward_and_logdet(x)
    finally:
        for block, estimator in zip(blocks, kept, strict=True):
            block.training_estimator = estimator


def act_norm(channels: int, event_dims: int) -> ActNorm:
    """Return a scale whose start divides by no variance below the published floor."""
    return ActNorm(channels, event_dims, minimum_variance=VARIANCE_FLOOR)


class _Build:
    """What all scales share."""

    def __init__(
        self,
        kind: Kind,
        architecture: Architecture,
        vectors: bool,
        factor_out: bool,
        generator: torch.Generator | None,
        settings: dict[str, Any],
    ) -> None:
        if kind not in get_args(Kind):
            raise UserError(f"block_flow: expected a kind of {', '.join(KINDS)}, got {kind!r}")
        self.make = KINDS[kind]
        self.architecture = architecture
        self.vectors, self.factor_out = vectors, factor_out
        self.generator, self.settings = generator, settings

    def scales(
        self, shape: tuple[int, int, int], blocks: Sequence[int], first: bool
    ) -> list[Bijection]:
        """Return the links of the scales from this one on; together they keep the shape."""
        channels, height, width = shape
        links: list[Bijection] = []
        for i in range(blocks[0]):
            net = self.architecture.image(shape, first and i == 0, self.generator)
            links += [self.make(net, event_dims=3, **self.settings), act_norm(channels, 3)]
        if len(blocks) == 1:
            return [*links, self._vectors(channels * height * width)] if self.vectors else links
        coarse = (4 * channels, height // 2, width // 2)
        if self.factor_out:
            half = (2 * channels, height // 2, width // 2)
            rest: list[Bijection] = [OnFirstHalf(Chain(self.scales(half, blocks[1:], False)))]
        else:
            rest = self.scales(coarse, blocks[1:], False)
        return [*links, Squeeze(), *rest, Unsqueeze()]

    def _vectors(self, features: int) -> Bijection:
        links: list[Bijection] = []
        for _ in range(VECTOR_BLOCKS):
            net = self.architecture.vector(features, self.generator)
            links += [self.make(net, event_dims=1, **self.settings), act_norm(features, 1)]
        return OnVectors(Chain(links))
