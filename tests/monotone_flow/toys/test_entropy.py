import pytest

from monotone_flow.toys import TOYS
from monotone_flow.toys.entropy import entropy
from tests.monotone_flow.toys.plane import entropy_on_grid


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_points_and_quadrature_give_the_same_entropy(name):
    value, error = entropy(name)
    _, exact = entropy_on_grid(name)
    assert error < 1.2e-3  # a million points whose log-densities have a deviation of 1
    # Rounding where the density is constant.
    assert abs(value - exact) < 4 * error + 1e-9


def test_the_entropy_of_equal_squares_is_known():
    assert entropy("checkerboard")[0] == pytest.approx(3.4657359028)
    assert entropy("checkerboard")[1] < 1e-12
