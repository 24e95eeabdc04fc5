import pytest
import torch
from torch.testing import assert_close

from common.errors import UserError
from inverse_problems.recovery.linear_model import (
    bounds,
    conditional_covariance,
    conditional_error,
    expected_error,
)

SPECTRA = {
    "polynomial": torch.arange(1, 61, dtype=torch.float64) ** -1.0,
    "exponential": 0.8 ** torch.arange(60, dtype=torch.float64),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
@pytest.mark.parametrize("m", [4, 5, 10, 20, 40, 59, 60])
def test_the_expected_error_lies_inside_its_bounds(spectrum, m):
    found = expected_error(spectrum, m, draws=60, generator=seeded())
    # A rounding error of (1e-16)^2 per entry is all that is left at m = n.
    assert found.lower - 4 * found.se <= found.mean <= found.best_upper + 4 * found.se + 1e-25
    assert found.best_upper <= found.upper
    assert found.lower == pytest.approx(spectrum[m:].square().sum().item(), rel=1e-12)
    assert found.upper == pytest.approx(m * spectrum[m - 2 :].square().sum().item())


def test_the_trace_is_that_of_the_conditional_covariance():
    generator = seeded(1)
    singular = SPECTRA["polynomial"][:9]
    matrix = torch.randn(3, 4, 9, generator=generator, dtype=torch.float64)
    covariances = [conditional_covariance(torch.diag(singular.square()), a) for a in matrix]
    traces = torch.stack([c.trace() for c in covariances])
    assert_close(conditional_error(singular, matrix), traces, rtol=1e-10, atol=0)
    for c, a in zip(covariances, matrix, strict=True):  # what was measured is known
        assert_close(a @ c, torch.zeros(4, 9, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_rotation_of_the_images_changes_no_expectation():
    # E over A does not depend on the left singular vectors: diagonal S and rotated S agree.
    generator = seeded(2)
    singular = SPECTRA["exponential"][:8]
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    covariance = basis @ torch.diag(singular.square()) @ basis.T
    draws = torch.randn(4000, 3, 8, generator=generator, dtype=torch.float64)
    rotated = torch.stack([conditional_covariance(covariance, a).trace() for a in draws[:1000]])
    plain = conditional_error(singular, draws)
    difference = abs(rotated.mean() - plain.mean())
    assert difference < 4 * (rotated.var() / 1000 + plain.var() / 4000).sqrt()


def test_sampled_errors_of_the_conditional_mean_average_to_the_trace():
    generator = seeded(3)
    singular = SPECTRA["polynomial"][:6]
    matrix = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    x = singular * torch.randn(20000, 6, generator=generator, dtype=torch.float64)
    covariance = torch.diag(singular.square())
    gain = covariance @ matrix.T @ torch.linalg.inv(matrix @ covariance @ matrix.T)
    errors = (x - x @ matrix.T @ gain.T).square().sum(-1)
    trace = conditional_error(singular, matrix)
    assert abs(errors.mean() - trace) < 4 * errors.std() / 20000**0.5


def test_the_standard_error_falls_with_the_root_of_the_draws():
    few = expected_error(SPECTRA["polynomial"], 10, 100, seeded(4))
    many = expected_error(SPECTRA["polynomial"], 10, 1600, seeded(5))
    assert 0.15 < many.se / few.se < 0.4
    assert abs(many.mean - few.mean) < 4 * (many.se**2 + few.se**2) ** 0.5


def test_no_bound_holds_for_a_single_measurement_and_no_error_is_left_at_n():
    singular = torch.tensor([3.0, 2.0, 1.0])
    assert bounds(singular, 1) == (5.0, float("inf"), float("inf"))
    assert bounds(singular, 3)[0] == 0.0
    assert bounds(singular, 2)[1] == 28.0  # 2 (9 + 4 + 1)


@pytest.mark.parametrize(("m", "draws"), [(0, 5), (4, 5), (2, 1)])
def test_sizes_out_of_range_are_refused(m, draws):
    with pytest.raises(UserError, match="expected 1 <= m <= 3 and at least 2 draws"):
        expected_error(torch.ones(3), m, draws, seeded())
