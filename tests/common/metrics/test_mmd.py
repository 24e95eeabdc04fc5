"""The discrepancy is that of its formula, and its gradient that of its value."""

import pytest
import torch
from torch import Tensor

from common.metrics import mmd as module
from common.metrics.mmd import Kernel, mean_kernel, mmd, multiquadratic, rational

TERMS = ((0.2, 0.1), (1.5, 2.0), (0.8, 0.5))
WIDTHS = (0.05, 0.2, 0.9)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def naive(x: Tensor, y: Tensor, kernel: str) -> float:
    """Sum the published formulas pair by pair."""

    def k(a: Tensor, b: Tensor) -> float:
        square = float((a - b).square().sum())
        if kernel == "multiquadratic":
            return sum(c**a_ * ((c + square) / a_) ** -a_ for c, a_ in TERMS)
        return sum(a_**2 / (a_**2 + square) for a_ in WIDTHS)

    def mean(left: Tensor, right: Tensor) -> float:
        return sum(k(a, b) for a in left for b in right) / (len(left) * len(right))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


@pytest.mark.parametrize(
    ("name", "kernel"),
    [("multiquadratic", multiquadratic(TERMS)), ("rational", rational(WIDTHS))],
    ids=["multiquadratic", "rational"],
)
@pytest.mark.parametrize("block", [1, 9, 1 << 16])
def test_it_is_the_published_formula_pair_by_pair(
    name: str, kernel: Kernel, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "BLOCK", block)
    x, y = normal(7, 3), 0.5 + normal(5, 3, seed=1)
    assert mmd(x, y, kernel).item() == pytest.approx(naive(x, y, name), rel=1e-12)


@pytest.mark.parametrize("block", [1, 13, 1 << 16])
def test_the_gradient_reaches_both_samples(block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BLOCK", block)
    x, y = normal(2, 6, 3).requires_grad_(), normal(2, 4, 3, seed=1).requires_grad_()
    kernel = multiquadratic(TERMS)
    assert torch.autograd.gradcheck(lambda a, b: mmd(a, b, kernel), (x, y))
    assert torch.autograd.gradcheck(lambda a: mean_kernel(a, a, kernel), (x,))
    assert torch.autograd.gradcheck(lambda a: mmd(y.detach(), a, kernel), (x,))


def test_batches_are_samples_of_their_own():
    x, y = normal(2, 3, 8, 2), normal(2, 3, 5, 2, seed=1)
    kernel = rational(WIDTHS)
    found = mmd(x, y, kernel)
    assert found.shape == (2, 3)
    torch.testing.assert_close(found[1, 2], mmd(x[1, 2], y[1, 2], kernel))


def test_coinciding_points_have_a_finite_gradient_and_no_discrepancy():
    x = normal(6, 2).float().requires_grad_()
    value = mmd(x, x.detach().clone(), rational(WIDTHS))
    value.backward()
    # The rounding of a sum of three means of about 1, in float32.
    assert abs(value.item()) < 1e-5
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_float32_far_from_the_origin_agrees_with_float64():
    x, y = 100 + normal(40, 3), 100.5 + normal(30, 3, seed=1)
    kernel = multiquadratic(TERMS)
    exact = mmd(x, y, kernel).item()
    # Coordinates of 100 have a spacing of 8e-6 in float32.
    assert mmd(x.float(), y.float(), kernel).item() == pytest.approx(exact, rel=1e-4)


def test_it_falls_as_one_over_n_for_one_distribution_and_stays_for_two():
    kernel = rational((0.9,))

    def average(n: int, shift: float) -> float:
        x, y = normal(200, n, 2), shift + normal(200, n, 2, seed=1)
        return mmd(x, y, kernel).mean().item()

    # The expectation is (2 / n) (k(0) - E k(x, x')): eight times the points, an eighth of it.
    assert average(16, 0.0) / average(128, 0.0) == pytest.approx(8, rel=0.1)
    assert average(128, 1.0) > 5 * average(128, 0.0)


def test_it_is_never_negative():
    x, y = normal(300, 4, 2), normal(300, 4, 2, seed=1)
    assert mmd(x, y, multiquadratic(TERMS)).min() >= 0


def test_no_gradient_means_that_none_is_computed():
    x, y = normal(5, 2), normal(4, 2, seed=1)
    assert not mmd(x, y, rational(WIDTHS)).requires_grad


@pytest.mark.parametrize("terms", [(), ((1.0, 0.0),), ((-1.0, 1.0),), ((1.0, 1.0, 1.0),)])
def test_a_kernel_needs_pairs_of_positive_numbers(terms: tuple[tuple[float, ...], ...]):
    with pytest.raises(ValueError, match="expected pairs of positive numbers"):
        multiquadratic(terms)
