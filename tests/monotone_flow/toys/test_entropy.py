import pytest
import torch

from monotone_flow.toys import TOYS
from monotone_flow.toys.entropy import entropy

# As computed for the reports on this experiment, to +-0.004.
FLOORS = {
    "swissroll": 2.666,
    "circles": 3.267,
    "rings": 2.621,
    "moons": 2.396,
    "8gaussians": 2.836,
    "pinwheel": 2.314,
    "2spirals": 2.642,
    "checkerboard": 3.466,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TOYS)
def test_points_and_quadrature_give_the_same_entropy(name):
    value, error = entropy(name)
    toy, generator = TOYS[name], torch.Generator().manual_seed(0)
    # Points of a batch are not independent (equal shares, negated arms); batches are.
    means = torch.stack([-toy.log_prob(toy.sample(10_000, generator)).mean() for _ in range(30)])
    assert error < 1e-5
    # Rounding where the density is constant.
    assert abs(means.mean() - value) < 4 * means.std() / 30**0.5 + 1e-9
    assert value == pytest.approx(FLOORS[name], abs=0.006)


def test_the_entropy_of_equal_squares_is_known():
    assert entropy("checkerboard") == pytest.approx((3.4657359028, 0), abs=1e-9)
