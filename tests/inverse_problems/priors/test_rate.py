"""Learning rates of a flow's training."""

import math

import pytest
import torch

from inverse_problems.priors.config_flow import Optimiser
from inverse_problems.priors.rate import FACTOR, THRESHOLD, Rate


def test_a_constant_rate_rises_linearly_and_stays():
    rate = Rate(Optimiser(lr=0.5, schedule="constant", warmup=3), steps=10)
    assert [rate.at(step) for step in range(6)] == [0.125, 0.25, 0.375, 0.5, 0.5, 0.5]
    assert not rate.wants_losses


def test_a_cosine_rises_and_falls_to_zero():
    rate = Rate(Optimiser(lr=1.0, schedule="cosine", warmup=1), steps=6)
    found = [rate.at(step) for step in range(6)]
    expected = [0.5] + [0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]
    assert found == pytest.approx(expected)


def test_a_plateau_falls_when_torch_s_own_does():
    losses = torch.rand(300, generator=torch.Generator().manual_seed(0)) - 0.5
    cfg = Optimiser(lr=1.0, schedule="plateau", patience=5, smallest=1e-3)
    rate = Rate(cfg, steps=300)
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=FACTOR, patience=5, threshold=THRESHOLD, min_lr=1e-3, eps=0
    )
    assert rate.wants_losses
    for step, loss in enumerate(losses.tolist()):
        rate.saw(loss)
        theirs.step(loss)
        assert rate.at(step) == optimiser.param_groups[0]["lr"]
    assert rate.at(300) == 1e-3  # it fell all the way


def test_a_plateau_goes_on_where_it_stopped():
    cfg = Optimiser(lr=1.0, schedule="plateau", patience=2)
    whole, first, second = (Rate(cfg, 9) for _ in range(3))
    losses = [3.0, 2.0, 2.5, 2.5, 2.5, 1.0, 4.0, 4.0, 4.0]
    for loss in losses:
        whole.saw(loss)
    for loss in losses[:4]:
        first.saw(loss)
    second.load_state_dict(first.state_dict())
    for loss in losses[4:]:
        second.saw(loss)
    assert second.state_dict() == whole.state_dict()
    assert whole.at(9) == 0.25
