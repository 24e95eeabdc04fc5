import pytest
import torch

from monotone_flow.staircase import FLAT, KNEE, STEEP, batch, grid, staircase


def published(x):
    """The formula of the published code: a sum of four shifted steps."""

    def step(w, alpha=0.05):
        steep = ((w - (1 - alpha)) / alpha).clamp(max=1)
        return torch.maximum(alpha * w, steep).clamp(0, 1)

    return step(x + 2) + step(x + 1) + step(x) + step(x - 1)


def test_it_is_the_published_sum_of_steps():
    x = torch.linspace(-2, 2, 20_001, dtype=torch.float64)
    # A step's end is a multiple of 1/20 that rounds: slope 20 times an ulp of 4.
    torch.testing.assert_close(staircase(x), published(x), rtol=0, atol=1e-13)


def test_it_runs_from_0_to_4_and_stays_there():
    x = torch.tensor([[-3.0, -2.0, -1.0], [1.0, 2.0, 3.0]], dtype=torch.float64)
    y = torch.tensor([[0.0, 0.0, 1.0], [3.0, 4.0, 4.0]], dtype=torch.float64)
    assert torch.equal(staircase(x), y)


def test_slopes_are_a_twentieth_and_twenty_and_meet_at_the_knee():
    knee = torch.tensor([KNEE - 2, KNEE - 1, KNEE, KNEE + 1], dtype=torch.float64)
    for side, slope in ((-1e-3, FLAT), (1e-3, STEEP)):
        x = (knee + side).requires_grad_()
        (gradient,) = torch.autograd.grad(staircase(x).sum(), x)
        torch.testing.assert_close(gradient, torch.full_like(x, slope))
    assert pytest.approx(20 / 21) == KNEE
    steps = torch.arange(4, dtype=torch.float64)
    torch.testing.assert_close(staircase(knee), steps + 1 / 21)


def test_its_variance_and_the_error_of_the_best_line_are_those_stated():
    x, y = (column.squeeze(1) for column in grid(210_000))
    assert y.var(correction=0).item() == pytest.approx(1.265, abs=5e-4)
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    line = y.var(correction=0) - covariance.square() / x.var(correction=0)
    assert line.item() == pytest.approx(0.0647, abs=5e-5)  # stated to three digits


def test_a_batch_is_uniform_and_follows_its_generator():
    x, y = batch(100_000, torch.Generator().manual_seed(0))
    again, _ = batch(100_000, torch.Generator().manual_seed(0))
    assert torch.equal(x, again)
    assert x.shape == y.shape == (100_000, 1)
    assert torch.equal(y, staircase(x))
    assert -2 <= x.min() < -1.999
    assert 1.999 < x.max() <= 2
    # 4 standard errors of 10 equal counts.
    counts = torch.histc(x, 10, -2, 2)
    assert (counts - 10_000).abs().max() < 4 * (100_000 * 0.1 * 0.9) ** 0.5


def test_single_precision_stays_close():
    x, y = grid(1000, dtype=torch.float32)
    assert y.dtype == torch.float32
    # Slope 20 times half an ulp of 4.
    torch.testing.assert_close(y.double(), staircase(x.double()), rtol=0, atol=1e-5)


def test_a_grid_holds_the_midpoints():
    x, _ = grid(4)
    assert x.flatten().tolist() == [-1.5, -0.5, 0.5, 1.5]
