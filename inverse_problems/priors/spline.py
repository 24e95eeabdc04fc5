"""A flow of spline couplings: what else can serve as a prior."""

from typing import Literal

import torch

from common.bijections.splines import LinearRational, RationalQuadratic
from common.flows.flow import Flow
from common.flows.glow import image_flow

KINDS = {"lrs": LinearRational, "rq": RationalQuadratic}


def spline_flow(
    shape: tuple[int, int, int],
    *,
    kind: Literal["lrs", "rq"] = "lrs",
    levels: int,
    steps: int,
    width: int,
    blocks: int = 1,
    bins: int = 4,
    bound: float = 3.0,
    values: int | None = 256,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a multi-scale flow of images whose couplings are splines; it starts near the identity.

    Batch norm is left out, so that images of a batch do not mix.

    Args:
        shape: (C, H, W) of the images.
        kind: linear rational or rational quadratic splines.
        levels: number of levels, each of which halves the resolution.
        steps: couplings of each level.
        width: channels of the couplings' networks.
        blocks: their residual blocks.
        bins: of a spline.
        bound: B, a spline acts on [-B, B] and leaves the rest alone.
        values: number of values of a dequantised pixel; None where they lie in [-1/2, 1/2) already.
        generator: a CPU generator that draws permutations and weights; torch's global one if None.

    Reference: Neural Spline Flows, Durkan, Bekasov, Murray and Papamakarios, 2019,
    https://arxiv.org/abs/1906.04032.
    """
    return image_flow(
        shape,
        levels=levels,
        steps=steps,
        channels=width,
        blocks=blocks,
        transformer=KINDS[kind](bins, bound, logit_scale=width**-0.5),
        batch_norm=False,
        identity_start=True,
        values=values,
        generator=generator,
    )
