"""Glow and its parts keep what every bijection of the registry promises."""

import pytest
import torch

from common.bijections.base import Bijection
from common.bijections.conditional import Coupling
from common.bijections.registry import Entry, randomise
from common.bijections.transformer import Transformer
from inverse_problems.priors.frozen_conv import FrozenConv1x1
from inverse_problems.priors.glow import Architecture, glow
from inverse_problems.priors.glow_net import GlowAffine, GlowNet, Standardise, ZeroConv
from inverse_problems.priors.spline import spline_flow

# All but that of extreme input: a scale without a lower bound explodes there, as published.
from tests.common.bijections.test_contract import (  # noqa: F401
    test_a_batch_of_none_or_one_works,
    test_a_loaded_bijection_computes_the_same,
    test_an_item_is_mapped_alike_in_every_batch,
    test_every_entry_is_made_alike_each_time,
    test_float32_agrees_with_float64,
    test_gradients_reach_every_parameter_and_the_input_in_both_directions,
    test_leading_dimensions_are_all_batch,
    test_parameter_gradients_are_those_of_finite_differences,
    test_results_have_the_dtype_of_the_input,
    test_the_inverse_alone_is_that_of_inverse_and_logdet,
    test_the_logdet_is_that_of_autograd_and_models_do_not_mix,
    test_the_logdets_of_the_two_directions_cancel,
    test_the_repr_names_the_class_and_has_no_tensor,
    test_the_round_trip_returns_the_input_in_both_directions,
)

SHAPE = (2, 4, 4)


def _coupling(transformer: Transformer) -> Bijection:
    net = GlowNet(3, 2 * transformer.parameters, width=4)
    return randomise(Coupling(torch.arange(5) < 2, net, transformer, event_dims=3))


def _split() -> Bijection:
    net = ZeroConv(2, 4)
    coupling = Coupling(torch.arange(4) >= 2, net, Standardise(), event_dims=3)
    return randomise(coupling)


def _glow(**choices: object) -> Bijection:
    cfg = Architecture(**{"levels": 2, "steps": 1, "width": 4} | choices)  # type: ignore[arg-type]
    return randomise(glow(SHAPE, cfg, values=4, generator=_generator()).bijection)


def _spline() -> Bijection:
    return randomise(
        spline_flow(
            SHAPE, levels=2, steps=1, width=4, bins=3, values=4, generator=_generator()
        ).bijection
    )


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


GLOW = {
    "frozen 1x1 convolution": Entry(lambda: FrozenConv1x1(5, _generator()).eval(), (5, 2, 3)),
    "affine coupling": Entry(lambda: _coupling(GlowAffine()), (5, 2, 3)),
    "affine coupling with a bias": Entry(lambda: _coupling(GlowAffine(0.1)), (5, 2, 3)),
    "learned split": Entry(_split, (4, 2, 3)),
    "glow": Entry(_glow, SHAPE),
    "glow with lu": Entry(lambda: _glow(mixing="lu", last_steps=2), SHAPE),
    "additive glow with learned splits": Entry(
        lambda: _glow(coupling="additive", split="learned"), SHAPE
    ),
    "spline flow": Entry(_spline, SHAPE),
}


@pytest.fixture(params=GLOW.values(), ids=[name.replace(" ", "-") for name in GLOW])
def entry(request: pytest.FixtureRequest) -> Entry:
    return request.param
