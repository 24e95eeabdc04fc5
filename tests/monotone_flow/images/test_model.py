"""The image model of a training: what it bounds, how it starts, what its settings mean."""

import dataclasses
import math

import pytest
import torch

from common.bijections.actnorm import ActNorm
from common.datasets.dequantise import dequantise
from common.errors import UserError
from monotone_flow.images.architectures import Dense, Plain
from monotone_flow.images.blocks import Block, set_estimators, set_source
from monotone_flow.images.config import Model, Series
from monotone_flow.images.estimators import Exact, NeumannRoulette, Roulette, Source
from monotone_flow.images.lipschitz import Lipschitz
from monotone_flow.images.model import (
    architecture,
    build,
    count,
    estimators,
    nats_per_bit,
    set_all,
    start,
)
from monotone_flow.images.power_iteration import RelativeChange
from tests.monotone_flow.images.small import seeded

SHAPE, LEVELS = (1, 4, 4), 17
SMALL = Model("monotone", blocks=(1, 1), depth=1, growth=4, vector_width=4, vector_growth=4)
NOISY = dataclasses.replace(
    SMALL,
    kind="residual",
    dequantisation="variational",
    noise_blocks=1,
    noise_width=16,
    noise_hidden=16,
)
BOTH = pytest.mark.parametrize("cfg", [SMALL, NOISY], ids=["uniform", "variational"])


def pixels(n):
    return torch.randint(0, LEVELS, (n, *SHAPE), generator=seeded()).double()


def make(cfg, seed=0):
    """Return a started model with exact log-determinants."""
    model = build(cfg, SHAPE, LEVELS, seed).double()
    start(model, pixels(40), seeded(1))
    set_estimators(model, evaluation=Exact())
    return model.eval()


@BOTH
def test_the_start_is_a_function_of_the_seed(cfg):
    first, second, other = (build(cfg, SHAPE, LEVELS, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@BOTH
def test_the_bound_is_the_flows_density_over_that_of_the_noise(cfg):
    model, x = make(cfg), pixels(5)
    bound = model(x, seeded(3))
    if cfg is SMALL:
        expected = model.flow.log_prob(dequantise(x, LEVELS, seeded(3)))
    else:
        y, log_q = model.dequantiser(x, seeded(3))
        assert bool(((y > x) & (y < x + 1)).all())
        expected = model.flow.log_prob(y) - log_q
    torch.testing.assert_close(bound, expected)


@BOTH
def test_a_start_finds_all_norms_and_sets_every_scale(cfg):
    model = make(cfg)
    norms = [part for part in model.modules() if isinstance(part, ActNorm)]
    assert norms
    assert all(bool(norm.initialised) for norm in norms)
    for layer in (part for part in model.modules() if isinstance(part, Lipschitz)):
        before = layer.sigma().item()
        layer.update(RelativeChange(1e-9, 10_000))
        assert before == pytest.approx(layer.sigma().item(), rel=0.02)
    set_source(model, None)
    set_all(model, Series())
    assert model.train().training


def test_no_scale_divides_by_less_than_the_published_variance():
    model = build(SMALL, SHAPE, LEVELS, 0).double()
    # The same image again and again: no variance but that of the noise.
    start(model, pixels(1).expand(40, *SHAPE).clone(), seeded(1))
    scales = [part.log_scale.detach() for part in model.modules() if isinstance(part, ActNorm)]
    assert max(float(scale.max()) for scale in scales) <= -0.5 * math.log(0.2) + 1e-9


@BOTH
def test_a_training_pass_gives_every_parameter_a_gradient(cfg):
    model = make(cfg).train()
    set_all(model, Series(exact=3))
    set_source(model, Source.seeded(0))
    (-model(pixels(6), seeded(3)).mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert bool((parameter.grad != 0).any()), name


def test_settings_reach_networks_and_estimators():
    dense = architecture(dataclasses.replace(SMALL, coefficient=0.9, lip=0.95))
    assert dense == Dense("cpila", 1, 4, 4, 4, 0.9, 0.95)
    plain = dataclasses.replace(SMALL, net="plain", activation="lipswish", growth=6)
    assert architecture(plain) == Plain("lipswish", 6, 4, 0.98)
    series = Series(exact=3, look_exact=7, rate=1.5, noise="gaussian", shared=True)
    training, looks = estimators(series)
    assert training == NeumannRoulette(3, 1.5, 1, "gaussian", True, True)
    assert looks == Roulette(7, 1.5, 1, "gaussian", True)
    model = build(SMALL, SHAPE, LEVELS, 0)
    set_all(model, series)
    blocks = [part for part in model.modules() if isinstance(part, Block)]
    assert len(blocks) == 6
    assert {block.training_estimator for block in blocks} == {training}
    assert {block.evaluation_estimator for block in blocks} == {looks}


def test_parameters_that_are_learned_later_count_too():
    model = build(SMALL, SHAPE, LEVELS, 0)
    before = count(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert count(model) == before > 0


def test_a_bit_per_dimension_has_so_many_nats():
    assert nats_per_bit((3, 32, 32)) == pytest.approx(3072 * math.log(2))


@pytest.mark.parametrize(("shape", "levels"), [((5,), None), ((1, 8, 8), None), ((5,), 256)])
def test_what_are_no_images_is_refused(shape, levels):
    with pytest.raises(UserError, match="expected images"):
        build(SMALL, shape, levels, 0)
