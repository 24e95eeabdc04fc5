"""Chains for the tests of reversible ones, and their gradients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from common.bijections.actnorm import ActNorm
from common.bijections.additive import Additive
from common.bijections.base import Bijection, Chain
from common.bijections.batch_norm import RunningBatchNorm
from common.bijections.conditional import Autoregressive, Coupling
from common.bijections.conditioners import MLP
from common.bijections.conv1x1 import FullConv1x1, LUConv1x1
from common.bijections.conv_conditioner import ConvConditioner
from common.bijections.coupling import AffineCoupling
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.masks import alternating
from common.bijections.permutation import Permutation
from common.bijections.registry import randomise
from common.bijections.residual_net import ResidualNet, ResMADE
from common.bijections.splines import LinearRational, Quadratic, RationalQuadratic
from common.bijections.split import OnFirstHalf
from common.bijections.transformer import SigmoidAffine, Transformer
from common.flows.glow import image_flow

IMAGE = (2, 4, 4)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def glow(steps: int = 2, **options) -> Chain:
    """Return a chain of two levels, by default the second nested in the first."""
    settings = {
        "levels": 2,
        "channels": 4,
        "blocks": 1,
        "transformer": SigmoidAffine(),
        "batch_norm": False,
        "generator": seeded(),
    }
    chain = image_flow(IMAGE, steps=steps, **(settings | options)).bijection
    assert isinstance(chain, Chain)
    return chain


def conditional(
    transformer: Transformer, parity: int, free: Transformer | None = None
) -> Bijection:
    changed = torch.arange(6) % 2 == parity
    net = ResidualNet(3, 3 * transformer.parameters, 8, 1)
    return Coupling(changed, net, transformer, unconditional=free)


def images(transformer: Transformer, parity: int) -> Bijection:
    changed = torch.tensor([parity == 0, parity == 1])
    net = ConvConditioner(1, transformer.parameters, 4, 1, batch_norm=False)
    return Coupling(changed, net, transformer, event_dims=3)


def affine(parity: int) -> Bijection:
    return AffineCoupling(alternating(6, parity), MLP(6, 8), MLP(6, 8))


def lu_net() -> list[Bijection]:
    return [LULinear(6), LeakySoftplus(), LULinear(6), LeakySoftplus(), LULinear(6)]


# What makes the links of vectors (6,), then of images (2, 4, 4).
VECTORS: dict[str, Callable[[], Sequence[Bijection]]] = {
    "affine couplings": lambda: [affine(k % 2) for k in range(4)],
    "additive couplings": lambda: [conditional(Additive(), k % 2) for k in range(4)],
    "rational quadratic splines": lambda: [
        conditional(RationalQuadratic(4), k % 2) for k in range(3)
    ],
    "linear rational splines with free ones": lambda: [
        conditional(LinearRational(4), k % 2, LinearRational(4)) for k in range(3)
    ],
    "quadratic splines": lambda: [conditional(Quadratic(4), k % 2) for k in range(2)],
    "autoregressive layers": lambda: [
        Autoregressive(ResMADE(6, 2, 8, 1), SigmoidAffine(), 6),
        Permutation.random(6, seeded()),
        Autoregressive(ResMADE(6, 2, 8, 1), SigmoidAffine(), 6),
    ],
    "LU layers and activations": lu_net,
    "norms": lambda: [ActNorm(6), RunningBatchNorm(6), affine(0), ActNorm(6)],
}
IMAGES: dict[str, Callable[[], Sequence[Bijection]]] = {
    "1x1 convolutions": lambda: [
        LUConv1x1(2, seeded()),
        images(SigmoidAffine(), 0),
        FullConv1x1(2, seeded()),
        images(SigmoidAffine(), 1),
        LUConv1x1(2, seeded(1)),
    ],
    "a coupling on half": lambda: [
        OnFirstHalf(AffineCoupling(torch.ones(1, 4, 4).tril(), nn.Identity(), nn.Identity())),
        FullConv1x1(2, seeded()),
    ],
    "multi-scale Glow": lambda: list(glow().links),
    "one-scale Glow of splines": lambda: list(
        glow(multi_scale=False, transformer=RationalQuadratic(3), mixing="full").links
    ),
    "preprocessing": lambda: [Rescale(256, 3), Logit(1e-5, 3), images(SigmoidAffine(), 0)],
}


def links(name: str, dtype: torch.dtype = torch.float64) -> nn.ModuleList:
    """Return the links of that name with random parameters, in evaluation mode."""
    torch.manual_seed(0)
    chain = Chain((VECTORS | IMAGES)[name]())
    return randomise(chain).to(dtype).links


def data(name: str, n: int = 5, seed: int = 1) -> Tensor:
    event = (6,) if name in VECTORS else IMAGE
    x = torch.randn((n, *event), generator=seeded(seed), dtype=torch.float64)
    # Pixel values where a chain begins with them.
    return 128 * (1 + x.tanh()) if name in ("multi-scale Glow", "preprocessing") else x


def directions(chain: Bijection) -> dict[str, Callable[[Tensor], tuple[Tensor, Tensor | None]]]:
    return {
        "forward": chain.forward_and_logdet,
        "inverse": chain.inverse_and_logdet,
        "inverse alone": lambda z: (chain.inverse(z), None),
    }


def loss_of(y: Tensor, logdet: Tensor | None) -> Tensor:
    """Return a scalar in which nothing cancels by symmetry."""
    weights = torch.rand(y.shape, generator=seeded(3), dtype=torch.float64).to(y.dtype)
    loss = (weights * y).sum() + y.square().mean()
    return loss if logdet is None else loss + (weights.flatten()[: len(logdet)] * logdet).sum()


def gradients(chain: Bijection, direction: str, x: Tensor) -> Tensor:
    """Return the gradients by the input and all parameters in one vector."""
    x = x.detach().clone().requires_grad_()
    chain.zero_grad()
    loss_of(*directions(chain)[direction](x)).backward()
    found = [x.grad, *(p.grad for p in chain.parameters())]
    every = zip(found, [x, *chain.parameters()], strict=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for g, p in every])


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
