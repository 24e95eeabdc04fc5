import math

import pytest
import torch

from monotone_flow.toys import TOYS, densities
from tests.monotone_flow.toys.plane import cells, entropy_on_grid

# Table of the true entropies, each from 16 million points or less: off by 0.004 at most.
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
names = pytest.mark.parametrize("name", TOYS)


def points(n, reach, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return reach * (2 * torch.rand(n, 2, generator=generator, dtype=torch.float64) - 1)


@names
def test_the_density_integrates_to_one(name):
    mass, _ = entropy_on_grid(name)
    # The midpoint rule of a function smooth over 1.28 cells is exact to e^-30; less than 1e-6 lies
    # outside the grid and at the poles of the pinwheel.
    assert mass == pytest.approx(1, abs=1e-6)


@names
def test_the_entropy_is_the_stated_floor(name):
    _, entropy = entropy_on_grid(name)
    assert entropy == pytest.approx(FLOORS[name], abs=0.006)


@names
def test_points_fall_into_cells_as_the_density_says(name):
    expected = cells(name)
    generator = torch.Generator().manual_seed(0)
    batches = torch.stack([count(TOYS[name].sample(1000, generator)) for _ in range(200)])
    error = batches.std(0) / 200**0.5
    # A cell that no batch hits shows no spread: two points of the 200,000 there.
    error = error.clamp(min=1e-5)
    # 800 comparisons of all sets: one exceeds 4 with a chance of 5 in 100.
    assert ((batches.mean(0) - expected).abs() / error).max() < 4


def count(x):
    inside = x[(x.abs() < 5).all(1)]
    column, row = (inside + 5).floor().long().unbind(1)
    return torch.bincount(10 * column + row, minlength=100).double() / len(x)


@pytest.mark.parametrize("name", densities.NODES)
def test_twice_the_nodes_change_nothing(name, monkeypatch):
    x = torch.cat((points(1000, 3.5), points(1000, 10)))
    coarse = TOYS[name].log_prob(x)
    monkeypatch.setitem(densities.NODES, name, 2 * densities.NODES[name])
    fine = TOYS[name].log_prob(x)
    likely = fine > -500
    torch.testing.assert_close(coarse[likely], fine[likely], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "radii", "std"),
    [("circles", (3, 1.5), 0.24), ("rings", (3, 2.25, 1.5, 0.75), 0.08)],
)
def test_circles_are_sums_of_gaussians_around_them(name, radii, std):
    angle = torch.arange(1000, dtype=torch.float64) * (2 * math.pi / 1000)
    circle = torch.stack((angle.cos(), angle.sin()), 1)
    centres = torch.cat([radius * circle for radius in radii])
    x = points(200, 4)
    square = (x[:, None] - centres).square().sum(-1)
    normal = -math.log(2 * math.pi * std**2 * len(centres))
    expected = (-0.5 * square / std**2).logsumexp(1) + normal
    # Sums that are exact to rounding: nodes 0.02 apart under a Gaussian of 0.08.
    torch.testing.assert_close(TOYS[name].log_prob(x), expected, rtol=0, atol=1e-9)


def test_the_spirals_are_negations_of_each_other():
    x = points(100, 4)
    log_prob = TOYS["2spirals"].log_prob
    torch.testing.assert_close(log_prob(x), log_prob(-x))


def test_the_board_has_eight_black_squares():
    centres = torch.cartesian_prod(*[torch.arange(-7, 8, 2, dtype=torch.float64)] * 2)
    inside = TOYS["checkerboard"].log_prob(centres).isfinite()
    assert inside.sum() == 8
    # (-3, -3) is black: x / 2 in [-2, -1) is an even column, with squares from -4 and from 0.
    assert {tuple(c) for c in centres[inside].tolist() if c[0] == -3} == {(-3, -3), (-3, 1)}
    assert {tuple(c) for c in centres[inside].tolist() if c[0] == -1} == {(-1, -1), (-1, 3)}


@names
def test_the_density_takes_any_number_and_dtype_of_points(name):
    toy = TOYS[name]
    assert toy.log_prob(torch.zeros(0, 2)).shape == (0,)
    x = points(20, 3).float().requires_grad_()
    log_prob = toy.log_prob(x)
    assert log_prob.dtype == torch.float64
    assert not log_prob.requires_grad
    assert torch.equal(log_prob, toy.log_prob(x.double()))


@names
def test_far_points_are_unlikely_and_those_that_are_no_numbers_stay_so(name):
    log_prob = TOYS[name].log_prob(torch.tensor([[1e6, 0], [math.nan, 0], [0, math.inf]]))
    assert log_prob[0] < -1e6
    assert log_prob[1:].isnan().all()


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"moons: expected points \(N, 2\), got \(3,\)"):
        TOYS["moons"].log_prob(torch.zeros(3))
