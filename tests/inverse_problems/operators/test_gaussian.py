import pytest
import torch

from inverse_problems.operators.dense import DenseOperator
from inverse_problems.operators.gaussian import GaussianOperator

SHAPE = (1, 12, 10)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_same_seed_gives_the_same_matrix_in_any_precision():
    double = GaussianOperator(SHAPE, 30, seeded(4), torch.float64).matrix
    again = GaussianOperator(SHAPE, 30, seeded(4), torch.float64).matrix
    assert torch.equal(double, again)
    assert torch.equal(GaussianOperator(SHAPE, 30, seeded(4)).matrix, double.float())
    assert not torch.equal(GaussianOperator(SHAPE, 30, seeded(5), torch.float64).matrix, double)


def test_the_global_seed_plays_no_part():
    state = torch.get_rng_state()
    GaussianOperator(SHAPE, 5, seeded(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_smaller_matrix_is_the_beginning_of_a_larger_one():
    large = GaussianOperator(SHAPE, 30, seeded(1), torch.float64).matrix
    small = GaussianOperator(SHAPE, 7, seeded(1), torch.float64).matrix
    torch.testing.assert_close(small, large[:7] * (30 / 7) ** 0.5, rtol=1e-15, atol=0)


def test_entries_are_normal_with_variance_one_over_m():
    entries = GaussianOperator(SHAPE, 200, seeded(2), torch.float64).matrix.flatten() * 200**0.5
    n = len(entries)
    # Four standard errors: of a mean, of a variance, and of a fourth moment, whose variance is 96.
    assert abs(entries.mean()) < 4 * n**-0.5
    assert abs(entries.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs(entries.pow(4).mean() - 3) < 4 * (96 / n) ** 0.5


def test_it_keeps_the_length_of_an_image_on_average():
    x = torch.randn(SHAPE, generator=seeded(0), dtype=torch.float64)
    x /= x.norm()
    m = 20
    lengths = torch.stack(
        [GaussianOperator(SHAPE, m, seeded(s), torch.float64)(x).square().sum() for s in range(300)]
    )
    # ||A x||^2 is chi-square of m degrees over m, its variance 2 / m.
    assert abs(lengths.mean() - 1) < 4 * (2 / m / 300) ** 0.5


def test_the_pseudo_inverse_of_few_measurements_is_the_shortest_solution():
    operator = GaussianOperator(SHAPE, 30, seeded(3), torch.float64)
    x = torch.randn(4, *SHAPE, generator=seeded(0), dtype=torch.float64)
    found = operator.pseudo_inverse(operator(x))
    torch.testing.assert_close(operator(found), operator(x), rtol=0, atol=1e-12)
    expected = torch.linalg.lstsq(operator.matrix, operator(x).mT, driver="gelsd").solution.mT
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-12)


def test_the_pseudo_inverse_does_not_square_the_condition():
    """At condition 1e5 in single precision the normal equations lose everything."""
    u, _ = torch.linalg.qr(torch.randn(40, 40, generator=seeded(0), dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(120, 40, generator=seeded(1), dtype=torch.float64))
    matrix = (u * torch.logspace(0, -5, 40, dtype=torch.float64)) @ v.mT
    x = (v @ torch.randn(40, generator=seeded(2), dtype=torch.float64)).unflatten(0, SHAPE)
    operator = DenseOperator(SHAPE, matrix.float())
    y = matrix @ x.flatten()
    error = (operator.pseudo_inverse(y.float()).double() - x).norm() / x.norm()
    # The condition times the rounding of 40 numbers.
    assert error < 1e5 * 6e-8 * 40**0.5


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="m must be positive, got 0"):
        GaussianOperator(SHAPE, 0, seeded(0))
    with pytest.raises(ValueError, match=r"expected a matrix \(m, 120\) .* got \(3, 119\)"):
        DenseOperator(SHAPE, torch.zeros(3, 119))
