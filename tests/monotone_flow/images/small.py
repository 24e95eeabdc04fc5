"""Small networks, blocks and flows, in float64 and from seeds."""

import torch

from monotone_flow.images.architectures import Dense, Plain
from monotone_flow.images.blocks import InverseResidual, Monotone, Residual, set_source
from monotone_flow.images.chain import block_flow
from monotone_flow.images.estimators import Source
from monotone_flow.images.lipschitz import LipschitzConv2d, update_norms
from monotone_flow.images.nets import PlainNet
from monotone_flow.images.power_iteration import RelativeChange

KINDS = {"residual": Residual, "inverse_residual": InverseResidual, "monotone": Monotone}
SMALL = Dense(growth=8, depth=2, vector_width=8, vector_growth=4)
ARCHITECTURES = {
    "cpila": SMALL,
    "clipswish": Dense("clipswish", growth=8, depth=2, vector_width=8, vector_growth=4),
    "plain": Plain(width=8, vector_width=8),
}
SHAPE = (1, 4, 4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def settle(model):
    """Find all norms to nine digits."""
    update_norms(model, RelativeChange(1e-9, 100_000))
    return model


def widen(model, factor=20.0):
    """Enlarge the weights until every layer's norm is at its bound."""
    with torch.no_grad():
        for part in model.modules():
            if hasattr(part, "normalised"):
                part.weight.mul_(factor)
    return settle(model)


def dense_block(kind, seed=0, architecture=SMALL, shape=SHAPE, **settings):
    net = architecture.image(shape, False, seeded(seed))
    block = widen(KINDS[kind](net, tolerance=1e-12, backward_tolerance=1e-11, **settings).double())
    set_source(block, Source.seeded(1))
    return block.eval()


def linear_net(bound, shape=SHAPE, seed=0):
    """Return a convolution of norm `bound`: saturated, and worst for solvers and series."""
    layer = LipschitzConv2d(shape[0], shape[0], shape[1:], 3, bound, seeded(seed))
    return widen(PlainNet([layer], []).double())


def linear_block(kind, bound, seed=0, **settings):
    net = linear_net(bound, seed=seed)
    block = KINDS[kind](net, tolerance=1e-12, backward_tolerance=1e-11, **settings)
    set_source(block, Source.seeded(1))
    return block.eval()


def small_flow(seed=0, shape=SHAPE, **settings):
    options = {"blocks": (1, 2, 1), "architecture": SMALL, "generator": seeded(seed)} | settings
    flow = block_flow(shape, tolerance=1e-12, backward_tolerance=1e-11, **options).double()
    set_source(flow, Source.seeded(1))
    return settle(flow)


def pixels(n, shape=SHAPE, seed=0):
    drawn = torch.rand((n, *shape), generator=seeded(seed), dtype=torch.float64)
    return 256 * drawn
