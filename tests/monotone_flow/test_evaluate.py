"""Scores of small untrained models against plain formulas."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.flows.bank import Stack
from common.training import config
from common.training.seeding import generator
from monotone_flow import plane_scores, staircase
from monotone_flow.config import Train
from monotone_flow.fit_scores import largest_slope, score_fit
from monotone_flow.over_models import mean_over_models
from monotone_flow.plane_scores import POINTS, models_of, score_plane
from monotone_flow.protocol import Evaluate
from monotone_flow.toys import TOYS
from monotone_flow.toys.entropy import entropy
from monotone_flow.vectors import build, chain_of
from tests.monotone_flow.small import normal, seeded

SETS = ("rings", "moons")
NET: dict[str, Any] = {"depth": 2, "growth": 4}
FIT: dict[str, Any] = {
    "model": {
        "layout": ["actnorm", "residual", "inverse_residual", "monotone", "actnorm"],
        "activation": "crelu",
        "scaled_down": "few steps",
        **NET,
    },
    "steps": 40,
    "last_looks": 1,
    "last_every": 1,
    "seeds": 3,
    "dtype": "float64",
}
PLANE: dict[str, Any] = {
    "model": {"layout": ["actnorm", "monotone"], **NET},
    "steps": 60,
    "last_looks": 3,
    "last_every": 1,
    "seeds": 2,
    "sets": list(SETS),
    "dtype": "float64",
}
TRAIN = {"staircase": {"mixed": FIT}, "toys": {"monotone": PLANE}}
EVALUATE = {
    "staircase": {"points": 5000, "certified": 40, "jacobians": 5},
    "toys": {
        "points": 3000,
        "samples": 3000,
        "grid": 16,
        "certified": 30,
        "jacobians": 4,
        "cells": 80,
    },
}
# A look of each model: the first set's two models, then the second's.
CURVE = torch.tensor(
    [[9.0, 8.0, 7.0, 6.0], [3.0, 3.2, 2.5, 2.6], [3.1, 3.1, 2.4, 2.5], [2.9, 3.0, 2.6, 2.7]],
    dtype=torch.float64,
)


def loaded(parameters: dict[str, Any]) -> Train:
    return config.load(parameters, Train)


def settings(dataset: str) -> Evaluate:
    return config.load(EVALUATE[dataset], Evaluate)


def untrained(cfg: Train, features: int, seed: int = 0) -> Stack:
    """Return models that differ, and none of whose parameters is at its start."""
    stack = build(cfg.model, features, cfg.models, seed).double()
    chain = chain_of(stack)
    with torch.no_grad():
        for k, scale in enumerate(chain.scales):
            scale.log_scale.copy_(0.2 * normal(cfg.models, features, seed=seed + k))
            scale.shift.copy_(0.2 * normal(cfg.models, features, seed=seed + 10 + k))
            scale.started.fill_(1)
        for weight in chain.nets.weights:
            weight.mul_(3)
    chain.nets.power_iterate(2000, tol=1e-9)
    return stack.eval()


@pytest.fixture(scope="module")
def fitted() -> tuple[Stack, Stack, dict[str, Any], dict[str, Tensor]]:
    """Return last and best fits with their metrics and arrays."""
    cfg = loaded(FIT)
    last, best = untrained(cfg, 1), untrained(cfg, 1, seed=5)
    metrics: dict[str, Any] = {}
    arrays: dict[str, Tensor] = {}
    score_fit(last, best, cfg, settings("staircase"), metrics, arrays)
    return last, best, metrics, arrays


@pytest.fixture(scope="module")
def scored() -> tuple[Stack, dict[str, Any], dict[str, Tensor]]:
    """Return models of plane densities with their metrics and arrays."""
    cfg = loaded(PLANE)
    last = untrained(cfg, 2)
    metrics: dict[str, Any] = {}
    arrays = {"curve_valid": CURVE}
    score_plane(last, last, cfg, settings("toys"), metrics, arrays)
    return last, metrics, arrays


def summary(values: Tensor) -> dict[str, Any]:
    """Return what a summary over models must hold, by numpy."""
    array = values.numpy()
    sd = array.std(ddof=1)
    found = {"mean": array.mean(), "sd": sd, "se": sd / math.sqrt(len(array))}
    return {key: pytest.approx(value) for key, value in found.items()} | {
        "per_model": pytest.approx(array.tolist())
    }


def test_one_model_has_no_spread_and_no_error():
    found = mean_over_models(torch.tensor([2.0]))
    assert found == {"mean": 2.0, "sd": None, "se": None, "per_model": [2.0]}
    assert mean_over_models(torch.tensor([1.0, 2.0, 6.0])) == summary(torch.tensor([1.0, 2, 6]))


# Fits


def test_fits_are_scored_by_their_errors_on_a_grid_of_their_own(fitted):
    last, best, metrics, _ = fitted
    x = 4 * (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000 - 2
    for name, stack in (("final", last), ("best", best)):
        z = chain_of(stack)(x.view(-1, 1).expand(3, -1, -1))[0].squeeze(-1)
        errors = (z - staircase.staircase(x)).square().mean(-1).detach()
        assert metrics[name] == summary(errors)
    assert metrics["final"]["mean"] != metrics["best"]["mean"]
    assert metrics["unit"] == "mse"


def test_slopes_of_fits_are_those_of_their_differences(fitted):
    *_, metrics, arrays = fitted
    grid, values, slopes = arrays["grid"], arrays["fit"], arrays["slope"]
    assert values.shape == slopes.shape == (3, len(grid))
    between = values.diff(dim=1) / grid.diff()
    # Nets of CReLU are affine between kinks, so most cells have one slope; the inverse block too.
    off = (between - slopes[:, 1:]).abs() > 1e-6
    assert off.double().mean() < 0.05
    largest = slopes.amax(1)
    found = dict(metrics["largest_slope"])
    possible = found.pop("possible")
    assert found == summary(largest)
    assert 0 < largest[0] <= possible
    torch.testing.assert_close(arrays["target"], staircase.staircase(grid))


def test_the_largest_slope_multiplies_what_each_block_and_scale_allows():
    layout = ("actnorm", "residual", "actnorm", "inverse_residual", "monotone", "actnorm")
    # 1 + 1/2, 1 / (1 - 3/4), (1 + 4/5) / (1 - 4/5)
    assert largest_slope(layout, [0.5, 0.75, 0.8], 2.0) == pytest.approx(2 * 1.5 * 4 * 9)
    assert largest_slope(("actnorm",), [], 0.3) == 0.3
    with pytest.raises(ValueError, match="zip"):
        largest_slope(layout, [0.5], 1.0)


def test_what_is_possible_takes_the_first_models_bounds_and_scales(fitted):
    last, _, metrics, _ = fitted
    chain = chain_of(last)
    (first, *others) = chain.nets.bounds().tolist()
    assert all(first != other for other in others)
    a, b, c = first
    scale = math.exp(sum(s.log_scale[0].sum().item() for s in chain.scales))
    expected = scale * (1 + a) / (1 - b) * (1 + c) / (1 - c)
    assert metrics["largest_slope"]["possible"] == pytest.approx(expected)
    assert metrics["lipschitz"]["bound"] == pytest.approx(chain.nets.bounds().max().item())


def test_fits_are_certified(fitted):
    certificate = fitted[2]["certificate"]
    assert certificate["round_trip"]["float64"]["max"] < 1e-12
    # All models meet the same points, and each has its Jacobians.
    assert certificate["logdet"]["items"] == 3 * 5
    assert certificate["logdet"]["max_error"] < 1e-12


# Plane densities


def test_scores_are_means_over_fresh_points_and_excess_is_their_distance_from_the_truth(scored):
    last, metrics, _ = scored
    cfg = settings("toys")
    for place, name in enumerate(SETS):
        x = TOYS[name].sample(cfg.points, generator(cfg.seed, POINTS, place))
        with torch.no_grad():
            log_prob = last.log_prob(x.expand(4, -1, -1))[2 * place : 2 * place + 2]
        gap = TOYS[name].log_prob(x) - log_prob
        scores = metrics["sets"][name]
        for key, values in (("test", -log_prob), ("excess", gap)):
            found = scores[key]
            assert found["per_model"] == pytest.approx(values.mean(1).tolist())
            assert found["mean"] == pytest.approx(values.mean().item())
            # Both models see the same points: their scores are averaged point by point.
            error = values.mean(0).std().item() / math.sqrt(cfg.points)
            assert found["se"] == pytest.approx(error)
        truth = -TOYS[name].log_prob(x).mean().item()
        assert scores["excess"]["mean"] == pytest.approx(scores["test"]["mean"] - truth)
        assert scores["test"]["points"] == cfg.points


def test_the_excess_lies_as_far_above_the_floor_as_its_error_allows(scored):
    _, metrics, _ = scored
    for name in SETS:
        scores = metrics["sets"][name]
        assert (scores["floor"]["value"], scores["floor"]["error"]) == entropy(name)
        # The same divergence, by means that share their points and by one integral.
        apart = scores["test"]["mean"] - scores["floor"]["value"] - scores["excess"]["mean"]
        assert abs(apart) < 4 * (scores["test"]["se"] + scores["excess"]["se"])
        assert scores["excess"]["mean"] > 0


def test_the_published_score_is_the_mean_of_the_last_looks(scored):
    _, metrics, _ = scored
    first, second = (metrics["sets"][name]["published"] for name in SETS)
    assert first["per_model"] == pytest.approx([3.0, 3.1])
    assert second["per_model"] == pytest.approx([2.5, 2.6])
    assert (first["looks"], second["looks"]) == (3, 3)
    # Models: an error of 0.05. Looks: means 3.1, 3.1, 2.95 scatter by 0.0866, over the root of 3.
    assert first["se"] == pytest.approx(max(0.05, 0.0866 / math.sqrt(3)), abs=1e-4)
    # Looks 2.55, 2.45, 2.65: 0.1 over the root of 3 is the larger one.
    assert second["se"] == pytest.approx(0.1 / math.sqrt(3))


@pytest.mark.parametrize(("seeds", "last_looks"), [(1, 3), (2, 1), (1, 1)])
def test_an_error_of_the_published_score_needs_several_looks_or_seeds(
    seeds: int, last_looks: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(plane_scores, "_draw", lambda *_: None)
    monkeypatch.setattr(plane_scores, "certificate", lambda *_, **__: {"density": {}})
    monkeypatch.setattr(plane_scores, "worst_of", lambda _: {})
    cfg = loaded(PLANE | {"seeds": seeds, "last_looks": last_looks, "sets": ["rings"]})
    last = untrained(cfg, 2)
    metrics: dict[str, Any] = {}
    looks = CURVE[:, :seeds]
    score_plane(last, last, cfg, settings("toys"), metrics, {"curve_valid": looks})
    published = metrics["sets"]["rings"]["published"]
    assert published["mean"] == pytest.approx(looks[-last_looks:].mean().item())
    by_looks = looks[-3:, 0].std().item() / math.sqrt(3)
    by_seeds = abs(looks[-1, 0] - looks[-1, -1]).item() / 2
    expected = {(1, 3): by_looks, (2, 1): by_seeds, (1, 1): None}[seeds, last_looks]
    assert published["se"] == (None if expected is None else pytest.approx(expected))


def test_part_of_a_stack_scores_as_the_whole_does_and_shares_nothing_with_it():
    cfg = loaded(PLANE)
    stack = untrained(cfg, 2)
    x = normal(4, 7, 2)
    before = stack.log_prob(x)
    part = models_of(stack, cfg, slice(1, 3))
    assert part.models == 2
    torch.testing.assert_close(part.log_prob(x[1:3]), before[1:3])
    with torch.no_grad():
        for tensor in part.tensors().values():
            tensor.zero_()
    torch.testing.assert_close(stack.log_prob(x), before)


def test_pictures_stand_upright_and_belong_to_each_sets_first_model(scored):
    last, _, arrays = scored
    cfg = settings("toys")
    row, column = 11, 4
    half = plane_scores.WINDOW
    point = torch.tensor([column, row], dtype=torch.float64) + 0.5
    point = (2 * half * point / cfg.grid - half).view(1, 1, 2)
    for place, name in enumerate(SETS):
        with torch.no_grad():
            log_prob = last.log_prob(point.expand(4, 1, 2))[2 * place, 0]
        found = arrays[f"density_{name}"]
        assert found.shape == (cfg.grid, cfg.grid)
        assert found[row, column].item() == pytest.approx(log_prob.exp().item(), rel=1e-6)
        true = TOYS[name].log_prob(point[0]).exp().item()
        assert arrays[f"true_{name}"][row, column].item() == pytest.approx(true, abs=1e-6)


def test_histograms_count_every_point_inside_the_window_and_none_outside():
    half, cells = plane_scores.WINDOW, 10
    x = 3 * torch.randn(20_000, 2, generator=seeded(), dtype=torch.float64)
    found = plane_scores._histogram(x, cells)
    edges = np.linspace(-half, half, cells + 1)
    expected, *_ = np.histogram2d(*x.numpy().T, bins=[edges, edges])
    assert found.sum() == (x.abs() < half).all(1).sum() < len(x)
    assert np.array_equal(found.numpy(), expected.T)  # row by second coordinate
    corners = torch.tensor([[-half, -half], [half, half], [math.nan, 0.0], [math.inf, 0.0]])
    assert plane_scores._histogram(corners, cells).sum() == 1  # the lower edge is inside


def test_as_many_data_points_as_samples_are_drawn(scored):
    *_, arrays = scored
    cfg = settings("toys")
    for name in SETS:
        data, samples = (int(arrays[f"{kind}_{name}"].sum()) for kind in ("data", "samples"))
        assert 0.98 * cfg.samples < data <= cfg.samples  # all of these sets lies in the window
        assert 0 < samples <= cfg.samples


def test_the_certificate_is_that_of_the_worst_set(scored):
    _, metrics, _ = scored
    each = list(metrics["certificates"].values())
    assert list(metrics["certificates"]) == list(SETS)
    trips = [found["round_trip"]["float64"]["max"] for found in each]
    assert metrics["certificate"]["round_trip"]["float64"]["max"] == max(trips) < 1e-12
    assert metrics["certificate"]["logdet"]["items"] == 2 * 2 * 4  # sets, models, points
    for name, found in zip(SETS, each, strict=True):
        assert metrics["sets"][name]["integral"] == found["density"]
        # A coarse grid of a smooth density that reaches little beyond the box.
        assert found["density"]["integral"] == pytest.approx(1, abs=0.02)
