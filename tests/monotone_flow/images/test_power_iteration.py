import pytest
import torch

from monotone_flow.images.power_iteration import (
    Fixed,
    Pair,
    Published,
    RelativeChange,
    power_iteration,
)
from tests.monotone_flow.images.small import normal

MATRIX = normal(30, 20)
NORM = torch.linalg.matrix_norm(MATRIX, 2)


def iterate(stop, matrix=MATRIX):
    start = Pair(normal(matrix.shape[0], seed=1), normal(matrix.shape[1], seed=2))
    pair, n = power_iteration(lambda v: matrix @ v, lambda u: u @ matrix, start, stop)
    return pair.u @ matrix @ pair.v, n


def test_the_norm_is_approached_from_below():
    sigmas = [iterate(Fixed(n))[0] for n in (1, 2, 4, 8, 16, 500)]
    assert sigmas == sorted(sigmas)
    # 500 iterations shrink the error by (s2 / s1)^1000.
    torch.testing.assert_close(sigmas[-1], NORM)
    assert (torch.stack(sigmas[:3]) < NORM).all()


def test_a_tighter_tolerance_takes_more_iterations_and_comes_closer():
    found = [iterate(RelativeChange(t, 10_000)) for t in (1e-1, 1e-3, 1e-6, 1e-9)]
    errors = [NORM - sigma for sigma, _ in found]
    counts = [n for _, n in found]
    assert errors == sorted(errors, reverse=True)
    assert counts == sorted(counts)
    assert errors[-1] < 1e-6 * NORM


def test_the_published_rule_stops_earlier_where_components_are_many():
    wide = torch.diag(torch.linspace(1, 2, 4000, dtype=torch.float64))
    published, n = iterate(Published(1e-3), wide)
    ours, m = iterate(RelativeChange(1e-3), wide)
    assert n < m
    assert published < ours < 2


def test_the_limit_ends_what_does_not_settle():
    assert iterate(RelativeChange(0.0, 7))[1] == 7
    assert iterate(Fixed(7))[1] == 7


def test_the_zero_operator_leaves_the_vectors_and_makes_no_nan():
    zero = torch.zeros(3, 2, dtype=torch.float64)
    sigma, _ = iterate(Fixed(3), zero)
    assert sigma == 0


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_the_scale_of_the_operator_does_not_matter(scale):
    sigma, _ = iterate(Fixed(500), scale * MATRIX)
    torch.testing.assert_close(sigma / scale, NORM)
