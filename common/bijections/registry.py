"""One constructor per kind of bijection, with random parameters: what every bijection must pass.

The contract tests take each entry in turn. A new bijection is added here and is tested.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from common.bijections.base import Bijection, Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.conditioners import MLP, ResidualConvNet, draw_weights
from common.bijections.coupling import AffineCoupling
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.masks import alternating, channel, checkerboard
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze

# All reals, [0, 1], or dequantised values [0, LEVELS).
Domain = Literal["real", "unit", "levels"]
LEVELS = 17
MARGIN = 1e-5
IMAGE = (2, 4, 4)


@dataclass(frozen=True)
class Entry:
    """Say how to make a bijection and what it takes.

    Args:
        make: returns a new one in evaluation mode; the parameters are the same at every call.
        event: shape of one event of x.
        models: leading dimensions of x that the parameters share.
        domain: where the entries of x lie.
        latents: where the entries of z lie.
    """

    make: Callable[[], Bijection]
    event: tuple[int, ...]
    models: tuple[int, ...] = ()
    domain: Domain = "real"
    latents: Domain = "real"


def randomise(bijection: Bijection, seed: int = 0) -> Bijection:
    """Move all parameters and statistics away from their start, and set evaluation mode.

    The LU factors stay well conditioned at any size, with diagonals of both signs.
    """
    generator = torch.Generator().manual_seed(seed)
    draw_weights(bijection, generator)
    with torch.no_grad():
        for part in bijection.modules():
            if isinstance(part, LULinear):
                _randomise_lu(part, generator)
            elif isinstance(part, AffineCoupling):
                for tensor in (part.s_scale, part.t_scale, part.t_bias):
                    nn.init.normal_(tensor, std=0.3, generator=generator)
            elif isinstance(part, RunningBatchNorm):
                nn.init.normal_(part.mean, generator=generator)
                nn.init.uniform_(part.var, 0.5, 2.0, generator=generator)
    return bijection.eval()


def _randomise_lu(layer: LULinear, generator: torch.Generator) -> None:
    nn.init.normal_(layer.packed, std=0.5 / math.sqrt(layer.features), generator=generator)
    nn.init.normal_(layer.bias, std=0.5, generator=generator)
    size = torch.rand(layer.bias.shape, generator=generator) + 0.5
    sign = torch.randint(0, 2, layer.bias.shape, generator=generator) * 2 - 1
    layer.packed.diagonal(dim1=-2, dim2=-1).copy_(sign * size)


def _lu(features: int, models: tuple[int, ...] = ()) -> Bijection:
    return randomise(LULinear(features, models))


def _lu_net(models: tuple[int, ...]) -> Bijection:
    """Return LU layers with activations between them."""
    links: list[Bijection] = []
    for _ in range(2):
        links += [LULinear(6, models), LeakySoftplus()]
    return randomise(Chain([*links, LULinear(6, models)]))


def _vector_coupling() -> Bijection:
    return randomise(AffineCoupling(alternating(5, 0), MLP(5, 8), MLP(5, 8)))


def _image_coupling(mask: torch.Tensor) -> AffineCoupling:
    channels = mask.shape[0]
    return AffineCoupling(mask, ResidualConvNet(channels, 4), ResidualConvNet(channels, 4))


def _split() -> Bijection:
    return randomise(OnFirstHalf(_image_coupling(checkerboard((1, 4, 4), 1))))


def _realnvp() -> Bijection:
    """Return one scale of a RealNVP on images, and what follows its split."""
    coarse, half = (8, 2, 2), (4, 2, 2)
    rest = Chain([_image_coupling(checkerboard(half, 0)), RunningBatchNorm(4, event_dims=3)])
    links: list[Bijection] = [
        _image_coupling(checkerboard(IMAGE, 0)),
        RunningBatchNorm(2, event_dims=3),
        _image_coupling(checkerboard(IMAGE, 1)),
        Squeeze(),
        _image_coupling(channel(coarse, 0)),
        RunningBatchNorm(8, event_dims=3),
        OnFirstHalf(rest),
        Unsqueeze(),
    ]
    return randomise(Chain(links))


BIJECTIONS: dict[str, Entry] = {
    "lu": Entry(lambda: _lu(5), (5,)),
    "lu of two features": Entry(lambda: _lu(2), (2,)),
    "lu stacked": Entry(lambda: _lu(4, (3,)), (4,), (3,)),
    "lu in strips": Entry(lambda: _lu(230), (230,)),
    "lu in strips stacked": Entry(lambda: _lu(230, (2,)), (230,), (2,)),
    "leaky softplus": Entry(lambda: LeakySoftplus().eval(), (4,)),
    "leaky softplus on images": Entry(lambda: LeakySoftplus(0.3, event_dims=3).eval(), IMAGE),
    "rescale": Entry(lambda: Rescale(LEVELS).eval(), (4,), domain="levels", latents="unit"),
    "logit": Entry(lambda: Logit(MARGIN).eval(), (4,), domain="unit"),
    "preprocessing": Entry(
        lambda: Chain([Rescale(LEVELS, 3), Logit(MARGIN, 3)]).eval(), IMAGE, domain="levels"
    ),
    "coupling of vectors": Entry(_vector_coupling, (5,)),
    "coupling of images": Entry(lambda: randomise(_image_coupling(channel(IMAGE, 1))), IMAGE),
    "batch norm of vectors": Entry(lambda: randomise(RunningBatchNorm(3)), (3,)),
    "batch norm of images": Entry(lambda: randomise(RunningBatchNorm(2, 3)), IMAGE),
    "squeeze": Entry(lambda: Squeeze().eval(), IMAGE),
    "unsqueeze": Entry(lambda: Unsqueeze().eval(), (4, 2, 3)),
    "split": Entry(_split, IMAGE),
    "lu_net": Entry(lambda: _lu_net(()), (6,)),
    "lu_net stacked": Entry(lambda: _lu_net((3,)), (6,), (3,)),
    "realnvp": Entry(_realnvp, IMAGE),
}
