"""Posterior samples come from the inverse, and what is asked of them is what it says."""

import pytest
import torch

from inverse_problems.supervised import posterior as module
from inverse_problems.supervised.config import Model
from inverse_problems.supervised.model import Layout, build, chain_of
from inverse_problems.supervised.posterior import (
    confidences,
    inliers,
    mode,
    ranks,
    sample,
    widths,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_samples_come_from_the_observation_beside_fresh_latents(monkeypatch: pytest.MonkeyPatch):
    layout = Layout(x=2, y=2, z=1, total=4)
    stack = build(Model(width=8, init=0.3), layout, 2, 0).double()
    y = normal(5, 2)
    generator = torch.Generator().manual_seed(1)
    monkeypatch.setattr(module, "ROWS", 21)  # three observations at a time
    x = sample(stack, layout, y, 7, 0.1, generator)
    assert x.shape == (2, 5, 7, 2)
    # What was drawn for the first three observations, by the same generator.
    noise = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    code = torch.cat((noise[..., :1], 0.1 * noise[..., 1:], y[:3, None].expand(3, 7, 2)), -1)
    for k in range(2):
        back = chain_of(stack).inverse(code.flatten(0, 1).expand(2, -1, -1))[k]
        torch.testing.assert_close(x[k, :3].flatten(0, 1), back[:, :2])


def test_exact_posteriors_are_calibrated_and_narrow_ones_are_not():
    truth, samples = normal(4000, 1), normal(1, 4000, 99, 1, seed=1)
    q = confidences()
    error = inliers(ranks(samples, truth)) - q
    # Four standard errors of a share, and the grain of 99 samples.
    assert error.abs().max() < 4 * 0.5 / 4000**0.5 + 0.01
    narrow = inliers(ranks(0.5 * samples, truth)) - q
    assert narrow.min() < -0.2
    assert narrow.max() < 0.02


def test_a_rank_is_the_share_below():
    samples = torch.tensor([[[[1.0], [2.0], [3.0], [4.0]]]])
    assert ranks(samples, torch.tensor([[2.5]])).item() == 0.5
    assert ranks(samples, torch.tensor([[9.0]])).item() == 1.0


def test_confidences_lie_inside_the_unit_interval():
    q = confidences()
    assert len(q) == 100
    assert (q[0].item(), q[-1].item()) == (0.005, 0.995)


def test_the_width_at_68_percent_of_a_normal_is_two_standard_deviations():
    width = widths(3 * normal(1, 1, 20_000, 2))
    # +-0.9945 standard deviations hold 68 %.
    assert width.flatten().tolist() == pytest.approx([2 * 0.9945 * 3] * 2, rel=0.05)


def test_the_mode_is_the_higher_of_two_bumps():
    samples = torch.cat((0.05 * normal(300, 2), 1 + 0.05 * normal(100, 2, seed=1)))
    found = mode(samples)
    assert found.abs().max() < 0.02
    flipped = mode(torch.stack((samples, -samples)))
    torch.testing.assert_close(flipped, torch.stack((found, -found)))


def test_mean_shift_ends_where_the_gradient_of_the_density_vanishes():
    samples = 0.2 * normal(200, 2)
    at = mode(samples, bandwidth=0.3)
    weight = torch.exp(-0.5 * (at - samples).square().sum(-1) / 0.3**2)
    gradient = (weight.unsqueeze(-1) * (samples - at)).sum(0) / weight.sum()
    assert gradient.abs().max() < 1e-8
