"""RealNVP as the comparison of LU-Net used it, for images and for vectors.

References: Density estimation using Real NVP, Laurent Dinh, Jascha Sohl-Dickstein and Samy Bengio,
2017, https://arxiv.org/abs/1605.08803 (the model); LU-Net: Invertible Neural Networks Based on
Matrix Factorization, Robin Chan, Sarina Penquitt and Hanno Gottschalk, 2023,
https://arxiv.org/abs/2302.10524 (this variant and its settings).
"""

import torch
from torch import Tensor

from common.bijections.base import Bijection, Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.conditioners import MLP, ResidualConvNet, draw_weights
from common.bijections.coupling import AffineCoupling
from common.bijections.masks import alternating, channel, checkerboard
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze
from common.errors import UserError
from common.flows.flow import Flow, StandardNormal

PER_SCALE = 6  # three couplings before the squeeze and three after it


def realnvp_image(
    shape: tuple[int, int, int],
    planes: int = 64,
    couplings: int = 6,
    final: int = 3,
    *,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a multi-scale RealNVP for images, N(0, I) over latents of the images' own shape.

    Each scale takes six couplings: three with checkerboard masks, space to depth by 2, three with
    channel masks. Then half of the channels is factored out and the rest goes to the next scale
    with twice the planes; the last scale is `final` couplings with checkerboard masks.
    The published model, 5,388,264 parameters: `realnvp_image((1, 28, 28))`.

    Args:
        shape: (C, H, W) of the images, already in unbounded (logit) space.
        planes: hidden planes of the conditioners of the first scale.
        couplings: couplings before the last scale, a multiple of six.
        final: couplings of the last scale.
        generator: draws the initial weights; torch's global one if None.

    Raises:
        UserError: the couplings or the image size do not fit the scales.
    """
    scales, rest = divmod(couplings, PER_SCALE)
    if rest or scales < 1 or final < 1:
        raise UserError(
            f"realnvp: expected couplings = {PER_SCALE}, {2 * PER_SCALE}, ... and final >= 1, "
            f"got couplings = {couplings} and final = {final}"
        )
    # A last scale of one pixel would leave nothing to the checkerboards and the instance norms.
    if any(size % 2**scales or size < 2 ** (scales + 1) for size in shape[1:]):
        raise UserError(
            f"realnvp: {couplings} couplings halve the image {scales} times, to at least 2 x 2, "
            f"but its size is {shape[1]} x {shape[2]}; use fewer couplings or another image size"
        )
    return _flow(shape, _scales(shape, planes, scales, final), generator)


def realnvp_vector(
    features: int = 2,
    couplings: int = 8,
    width: int = 64,
    *,
    generator: torch.Generator | None = None,
) -> Flow:
    """Build a RealNVP for vectors: alternating masks, MLP conditioners of two hidden layers.

    A running batch norm standardises the data; between the couplings there is none. There its
    statistics chase what the couplings learn, outside of the gradient: on a mixture of narrow
    Gaussians the likelihood rises at first and is lost again when the learning rate falls.

    Args:
        features: D, at least 2.
        couplings: number of couplings.
        width: width of the conditioners' hidden layers.
        generator: draws the initial weights; torch's global one if None.

    Raises:
        UserError: fewer than two features, or no coupling.
    """
    if features < 2 or couplings < 1:
        raise UserError(
            "realnvp: expected at least 2 features and 1 coupling, "
            f"got {features} features and {couplings} couplings"
        )
    # Settled within some 200 steps, and on batches of hundreds its jitter is a percent of the data.
    links: list[Bijection] = [RunningBatchNorm(features, momentum=0.02)]
    for i in range(couplings):
        nets = MLP(features, width), MLP(features, width)
        links.append(AffineCoupling(alternating(features, i), *nets))
    return _flow((features,), links, generator)


def _flow(
    event: tuple[int, ...], links: list[Bijection], generator: torch.Generator | None
) -> Flow:
    flow = Flow(StandardNormal(event), Chain(links))
    if generator is not None:
        draw_weights(flow, generator)
    return flow


def _scales(shape: tuple[int, int, int], planes: int, scales: int, final: int) -> list[Bijection]:
    """Return the links of the remaining scales; together they keep the shape."""
    if scales == 0:
        return _couplings([checkerboard(shape, i) for i in range(final)], planes)
    channels, height, width = shape
    coarse = (4 * channels, height // 2, width // 2)
    half = (2 * channels, height // 2, width // 2)
    return [
        *_couplings([checkerboard(shape, i) for i in range(PER_SCALE // 2)], planes),
        Squeeze(),
        *_couplings([channel(coarse, i) for i in range(PER_SCALE // 2)], planes),
        OnFirstHalf(Chain(_scales(half, 2 * planes, scales - 1, final))),
        Unsqueeze(),
    ]


def _couplings(masks: list[Tensor], planes: int) -> list[Bijection]:
    links: list[Bijection] = []
    for mask in masks:
        channels = mask.shape[0]
        nets = ResidualConvNet(channels, planes), ResidualConvNet(channels, planes)
        links += [AffineCoupling(mask, *nets), RunningBatchNorm(channels, event_dims=3)]
    return links
