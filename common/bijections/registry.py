"""One constructor per kind of bijection, with random parameters: what every bijection must pass.

The contract tests take each entry in turn. A new bijection is added here and is tested.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from common.bijections.actnorm import ActNorm
from common.bijections.additive import Additive
from common.bijections.base import Bijection, Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.concat_squash import ConcatSquash, ConcatSquashNet
from common.bijections.conditional import Autoregressive, Coupling
from common.bijections.conditioners import MLP, ResidualConvNet, draw_weights
from common.bijections.continuous import Continuous
from common.bijections.conv1x1 import FullConv1x1, LUConv1x1
from common.bijections.conv_conditioner import ConvConditioner
from common.bijections.coupling import AffineCoupling
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.masks import alternating, channel, checkerboard
from common.bijections.permutation import Permutation
from common.bijections.residual_net import (
    ResidualNet,
    ResMADE,
    StackedBatchNorm,
    StackedLinear,
)
from common.bijections.reversible import Backprop, Reversible
from common.bijections.splines import LinearRational, Quadratic, RationalQuadratic
from common.bijections.split import OnFirstHalf
from common.bijections.squeeze import Squeeze, Unsqueeze
from common.bijections.transformer import ClampedAffine, SigmoidAffine, Transformer

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
            elif isinstance(part, RunningBatchNorm | StackedBatchNorm):
                nn.init.normal_(part.mean, generator=generator)
                nn.init.uniform_(part.var, 0.5, 2.0, generator=generator)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.running_mean, generator=generator)  # type: ignore[arg-type]
                nn.init.uniform_(part.running_var, 0.5, 2.0, generator=generator)  # type: ignore[arg-type]
            elif isinstance(part, ActNorm):
                for tensor in (part.log_scale, part.shift):
                    nn.init.normal_(tensor, std=0.3, generator=generator)
            elif isinstance(part, ConcatSquash):
                part.draw(generator)
            elif isinstance(part, StackedLinear):
                bound = part.weight.shape[-1] ** -0.5
                for tensor in (part.weight, part.bias):
                    nn.init.uniform_(tensor, -bound, bound, generator=generator)
            elif isinstance(part, Coupling) and part.unconditional is not None:
                nn.init.normal_(part.raw, std=0.5, generator=generator)
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


def _conditional(
    transformer: Transformer,
    *,
    models: tuple[int, ...] = (),
    free: bool = False,
    norm: bool = False,
) -> Bijection:
    """Return a coupling of five features that changes three of them."""
    net = ResidualNet(2, 3 * transformer.parameters, 8, 1, batch_norm=norm, models=models)
    changed, unconditional = torch.arange(5) % 2 == 0, transformer if free else None
    return randomise(
        Coupling(changed, net, transformer, unconditional=unconditional, models=models)
    )


def _conditional_images(transformer: Transformer, norm: bool) -> Bijection:
    net = ConvConditioner(1, transformer.parameters, 4, 1, batch_norm=norm)
    changed = torch.tensor([True, False])
    return randomise(Coupling(changed, net, transformer, unconditional=transformer, event_dims=3))


def _autoregressive(transformer: Transformer, models: tuple[int, ...] = ()) -> Bijection:
    net = ResMADE(4, transformer.parameters, 8, 1, models=models)
    return randomise(Autoregressive(net, transformer, 4))


def _continuous(layers: int, models: tuple[int, ...] = ()) -> Bijection:
    """Return an equation solved to the rounding of either dtype: the contract is that of a map."""
    net = ConcatSquashNet(3, 4, layers, models=models)
    return randomise(Continuous(net, time=0.5, rtol=1e-14, atol=1e-14, method="dopri8"))


def _permutation(event_dims: int) -> Bijection:
    return Permutation.random(5, torch.Generator().manual_seed(0), event_dims).eval()


def _lu_conv() -> Bijection:
    return randomise(LUConv1x1(5, torch.Generator().manual_seed(0)))


def _full_conv() -> Bijection:
    return FullConv1x1(5, torch.Generator().manual_seed(0)).eval()


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


def _reversible(backprop: Backprop) -> Bijection:
    """Return a chain of all that a reversible one treats by itself."""
    half = Chain([FullConv1x1(4, torch.Generator().manual_seed(0)), ActNorm(4, 3)])
    mask = torch.arange(8) < 4
    coupling = Coupling(mask, ConvConditioner(4, 8, 4, 1), SigmoidAffine(), event_dims=3)
    links: list[Bijection] = [
        _image_coupling(checkerboard(IMAGE, 0)),
        Squeeze(),
        ActNorm(8, event_dims=3),
        coupling,
        OnFirstHalf(half),
        Unsqueeze(),
    ]
    return randomise(Reversible(links, backprop)).eval()


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
    "reversible": Entry(lambda: _reversible("invertible"), IMAGE),
    "reversible with reuse": Entry(lambda: _reversible("reuse"), IMAGE),
    "shifted rescale": Entry(lambda: Rescale(4.0, 3, shift=-0.5).eval(), IMAGE),
    "permutation of vectors": Entry(lambda: _permutation(1), (5,)),
    "permutation of images": Entry(lambda: _permutation(3), (5, 2, 3)),
    "actnorm of vectors": Entry(lambda: randomise(ActNorm(4)), (4,)),
    "actnorm of images": Entry(lambda: randomise(ActNorm(2, event_dims=3)), IMAGE),
    "lu 1x1 convolution": Entry(_lu_conv, (5, 2, 3)),
    "full 1x1 convolution": Entry(_full_conv, (5, 2, 3)),
    "affine transformer": Entry(lambda: _conditional(SigmoidAffine()), (5,)),
    "clamped affine transformer": Entry(lambda: _conditional(ClampedAffine(2.0)), (5,)),
    "clamped affine transformer stacked": Entry(
        lambda: _conditional(ClampedAffine(4.0, 4.0), models=(2,)), (5,), (2,)
    ),
    "additive transformer": Entry(lambda: _conditional(Additive()), (5,)),
    "linear rational coupling": Entry(
        lambda: _conditional(LinearRational(4), free=True, norm=True), (5,)
    ),
    "linear rational coupling stacked": Entry(
        lambda: _conditional(LinearRational(3), models=(2,), free=True, norm=True), (5,), (2,)
    ),
    "linear rational coupling of the unit box": Entry(
        lambda: _conditional(LinearRational(4, tails=False), free=True),
        (5,),
        domain="unit",
        latents="unit",
    ),
    "linear rational coupling of images": Entry(
        lambda: _conditional_images(LinearRational(4), True), IMAGE
    ),
    "rational quadratic coupling": Entry(lambda: _conditional(RationalQuadratic(4)), (5,)),
    "rational quadratic coupling of images": Entry(
        lambda: _conditional_images(RationalQuadratic(3), False), IMAGE
    ),
    "quadratic coupling": Entry(lambda: _conditional(Quadratic(4), free=True), (5,)),
    "quadratic coupling as published": Entry(
        lambda: _conditional(Quadratic(4, boundary="published")), (5,)
    ),
    "affine autoregressive": Entry(lambda: _autoregressive(SigmoidAffine()), (4,)),
    "linear rational autoregressive": Entry(lambda: _autoregressive(LinearRational(4)), (4,)),
    "rational quadratic autoregressive stacked": Entry(
        lambda: _autoregressive(RationalQuadratic(3), (2,)), (4,), (2,)
    ),
    "continuous": Entry(lambda: _continuous(2), (3,)),
    "continuous stacked": Entry(lambda: _continuous(3, (2,)), (3,), (2,)),
}
