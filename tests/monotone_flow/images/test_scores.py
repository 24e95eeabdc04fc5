"""Scores of a small model against plain formulas."""

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.metrics.likelihood import mean_and_se_of_draws
from common.solvers import NotConverged
from common.training.seeding import generator
from monotone_flow.images.blocks import Block, set_estimators
from monotone_flow.images.config import Evaluate, Train
from monotone_flow.images.estimators import Exact
from monotone_flow.images.scores import (
    NOISE,
    certify,
    likelihood,
    lipschitz,
    meet_exact,
    scored,
    solved_to,
)
from tests.monotone_flow.images.small import settle, widen
from tests.monotone_flow.images.test_model import LEVELS, NOISY, SMALL, make, pixels

CFG = Evaluate(draws=3, probes=4, exact=6, chunk=5, certified=4, jacobians=2, exact_items=8)


def split(n: int, first: int = 0) -> Split:
    return Split(pixels(first + n)[first:].byte(), torch.zeros(n, dtype=torch.int64))


DATA = Dataset("dots", split(4), split(7, 11), split(11), LEVELS, 1)


def trained(cfg=SMALL) -> Train:
    return Train(cfg, steps=1, dtype="float64", valid_items=6)


def exact_bits(model: Any, items: Tensor, draws: int, chunk: int) -> Tensor:
    """Return bits per dimension (draws, N) with exact log-determinants and the scores' noise."""
    set_estimators(model, evaluation=Exact())
    parts = items.split(chunk)
    found = [
        -model(part.double(), generator(CFG.seed, NOISE, draw * len(parts) + place))
        for draw in range(draws)
        for place, part in enumerate(parts)
    ]
    return torch.cat(found).reshape(draws, -1).detach() / (16 * math.log(2))


@pytest.fixture(scope="module")
def model():
    return settle(make(SMALL))


@pytest.mark.parametrize("cfg", [SMALL, NOISY], ids=["uniform", "variational"])
def test_scores_are_bits_per_dimension_within_their_own_errors(cfg):
    model = settle(make(cfg))
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    likelihood(model, trained(cfg), CFG, DATA, metrics, arrays)
    values, errors = scored(model, trained(cfg), CFG, DATA.test.x, 3)
    assert values.shape == errors.shape == (3, 11)
    mean, se = mean_and_se_of_draws(values)
    test = metrics["test"]
    assert (test["mean"], test["se"]) == pytest.approx((mean, se))
    assert test["se_estimator"] == pytest.approx(errors.square().sum().sqrt().item() / 33)
    assert (test["items"], test["draws"], test["probes"]) == (11, 3, 4)
    assert (metrics["valid"]["items"], metrics["valid"]["draws"]) == (6, 1)
    torch.testing.assert_close(arrays["test"], values.mean(0).float())
    exact = exact_bits(model, DATA.test.x, 3, CFG.chunk)
    # Of 33 estimates of four probes: the mean is near to a Gaussian one.
    assert abs((values - exact).mean()) < 4 * test["se_estimator"]
    assert test["se_estimator"] > 0


def test_draws_have_noise_of_their_own_and_the_seed_decides_all(model):
    first, _ = scored(model, trained(), CFG, DATA.test.x, 2)
    again, _ = scored(model, trained(), CFG, DATA.test.x, 2)
    other, _ = scored(model, trained(), dataclasses.replace(CFG, seed=2), DATA.test.x, 2)
    assert torch.equal(first, again)
    assert bool((first[0] != first[1]).all())
    assert bool((first != other).all())


def test_images_whose_equations_are_not_solved_count_as_worst(model, monkeypatch):
    def fail(self: Block, *_: Any) -> Any:
        raise NotConverged("residual 1.0 > 1e-6")

    monkeypatch.setattr(Block, "forward_and_logdet", fail)
    metrics: dict[str, Any] = {}
    likelihood(model, trained(), CFG, DATA, metrics, {})
    assert metrics["test"]["mean"] == math.inf
    assert metrics["valid"]["mean"] == math.inf


def test_the_estimator_meets_exact_log_determinants_on_the_same_noise(model):
    found = meet_exact(model, trained(), CFG, DATA)
    values, errors = scored(model, trained(), CFG, DATA.test.x[:8], 1)
    gap = (values - exact_bits(model, DATA.test.x[:8], 1, CFG.chunk))[0]
    assert found["items"] == 8
    assert found["difference"] == pytest.approx(gap.mean().item())
    assert found["se"] == pytest.approx(gap.std().item() / math.sqrt(8))
    assert found["claimed"] == pytest.approx(errors.square().sum().sqrt().item() / 8)
    assert 0 < abs(found["difference"]) < 5 * found["claimed"]


def test_a_model_is_certified_in_both_precisions(model):
    before = [(part.tolerance, part.backward_tolerance) for part in _blocks(model)]
    state = copy.deepcopy(model.state_dict())
    found = certify(model, CFG, DATA)
    assert found["round_trip"]["float64"]["max"] < 1e-9
    assert 1e-9 < found["round_trip"]["float32"]["max"] < 1e-3
    assert found["logdet"]["items"] == 2
    assert found["logdet"]["max_error"] < 1e-8
    assert [(part.tolerance, part.backward_tolerance) for part in _blocks(model)] == before
    assert all(torch.equal(model.state_dict()[name], state[name]) for name in state)


def test_without_jacobians_the_certificate_ends_at_round_trips(model):
    found = certify(model, dataclasses.replace(CFG, jacobians=0), DATA)
    assert found["logdet"] == {"items": 0}


def test_a_failing_solve_is_part_of_the_certificate(model, monkeypatch):
    def fail(self: Block, *_: Any) -> Any:
        raise NotConverged("residual 1.0 > 1e-6")

    monkeypatch.setattr(Block, "forward_and_logdet", fail)
    found = certify(model, CFG, DATA)
    assert found["round_trip"]["float64"] == {"error": "residual 1.0 > 1e-6"}
    assert found["logdet"] == {"error": "residual 1.0 > 1e-6"}


def test_tolerances_come_back_after_an_error(model):
    def stop() -> None:
        with solved_to(model, 1e-3):
            assert {part.tolerance for part in _blocks(model)} == {1e-3}
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop()
    assert {part.tolerance for part in _blocks(model)} == {1e-6}


def test_the_lipschitz_bound_is_that_of_the_worst_net():
    model = widen(make(SMALL))
    found = lipschitz(model)
    # Dense nets promise 0.98 per layer: one dense layer, the last one, and for vectors the first.
    assert found["promised"] == pytest.approx(0.98**2)
    assert found["bound"] == pytest.approx(0.98**2, rel=1e-6)
    assert found["largest_norm"] == pytest.approx(0.98, rel=1e-6)
    assert (found["nets"], found["layers"]) == (6, 2 * 2 + 4 * 3)


def _blocks(model: Any) -> list[Block]:
    return [part for part in model.modules() if isinstance(part, Block)]
