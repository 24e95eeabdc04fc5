"""The arm obeys its geometry, and the rejection sampler the distribution it stands for."""

import math

import pytest
import torch

from common.errors import UserError
from inverse_problems.supervised import kinematics as module
from inverse_problems.supervised.kinematics import Kinematics, reach

ARM = Kinematics()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_end_is_where_three_segments_lead():
    height, a, b, c = 0.1, 0.3, -0.7, 1.1
    across = 0.5 * math.cos(a) + 0.5 * math.cos(a + b) + math.cos(a + b + c)
    up = height + 0.5 * math.sin(a) + 0.5 * math.sin(a + b) + math.sin(a + b + c)
    x = torch.tensor([height, a, b, c], dtype=torch.float64)
    assert ARM.simulate(x).tolist() == pytest.approx([across, up])
    assert ARM.joints(x)[0].tolist() == [0.0, height]


def test_segments_keep_their_lengths():
    x, _ = ARM.draw(20, seeded(), torch.float64)
    lengths = ARM.joints(x).diff(dim=-2).norm(dim=-1)
    torch.testing.assert_close(lengths, lengths.new_tensor([0.5, 0.5, 1.0]).expand(20, 3))
    straight = torch.zeros(4, dtype=torch.float64)
    assert ARM.simulate(straight)[0].item() == reach()


def test_configurations_have_the_published_spread():
    x, y = ARM.draw(20_000, seeded(), torch.float64)
    # Four standard errors of a standard deviation.
    assert x.std(0).tolist() == pytest.approx([0.25, 0.5, 0.5, 0.5], rel=4 / 40_000**0.5)
    torch.testing.assert_close(y, ARM.simulate(x))


def test_rejected_samples_end_at_the_target_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "POOL", 1 << 16)
    target = torch.tensor([[1.5, 0.0], [1.2, 0.7]], dtype=torch.float64)
    draws, kept = ARM.rejection(target, 100, 0.02, seeded())
    miss = (ARM.simulate(draws) - target.unsqueeze(1)).abs()
    assert draws.shape == (2, 100, 4)
    assert miss[..., 0].max() <= 0.02 + 1e-12
    assert miss[..., 1].max() < 1e-12
    assert 1e-5 < kept < 1e-2


def test_they_are_distributed_as_what_brute_force_keeps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POOL", 1 << 18)
    target = torch.tensor([1.7, 0.6], dtype=torch.float64)
    draws = ARM.rejection(target[None], 1000, 0.02, seeded())[0][0]
    x, y = ARM.draw(400_000, seeded(1), torch.float64)
    brute = x[(y - target).norm(dim=-1) < 0.05]
    assert len(brute) > 200
    # Four standard errors of both means and spreads; the wider circle biases them by less.
    error = 4 * brute.std(0) * (1 / len(brute) + 1 / 1000) ** 0.5
    assert ((draws.mean(0) - brute.mean(0)).abs() < error).all()
    assert ((draws.std(0) - brute.std(0)).abs() < error).all()


def test_a_place_that_is_never_reached_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "POOL", 1000)
    monkeypatch.setattr(module, "POOLS", 2)
    target = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    with pytest.raises(UserError, match=r"reached \[3\.0, 0\.0\] only 0 times in 2000 draws"):
        ARM.rejection(target, 1, 0.1, seeded())
