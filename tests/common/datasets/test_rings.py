import math

import numpy as np
import pytest
import torch

from common.datasets import load
from common.datasets.fetch import fetch
from common.datasets.raw import DataMissing
from common.datasets.rings import Rings
from common.datasets.toys import RADII, ring_points
from common.metrics.likelihood import mean_and_se


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    fetch("rings", raw)
    return raw


def test_splits_have_their_sizes_and_are_separate_draws(raw):
    data = load("rings", raw)
    assert [len(s) for s in (data.train, data.valid, data.test)] == [300_000, 20_000, 20_000]
    assert (data.shape, data.levels, data.classes) == ((2,), None, 1)
    assert data.train.x.dtype == torch.float64
    points = torch.cat((data.train.x, data.valid.x, data.test.x))
    assert len(points.unique(dim=0)) == 340_000


def test_every_circle_holds_a_quarter_of_the_points():
    x = ring_points(4000, seed=0)
    radius = np.hypot(*x.T)
    nearest = np.abs(radius[:, None] - np.array(RADII)).argmin(1)
    # Neighbours lie 9 standard deviations apart.
    assert np.bincount(nearest).tolist() == [1000] * 4
    # In random order: the first quarter is no single circle.
    assert len(set(nearest[:1000])) == 4


def test_points_are_a_function_of_the_seed():
    assert np.array_equal(ring_points(40, 3), ring_points(40, 3))
    assert not np.array_equal(ring_points(40, 3), ring_points(40, 4))
    with pytest.raises(ValueError, match="expected a multiple of 4 points, got 42"):
        ring_points(42, 0)


def test_the_density_is_that_of_a_sum_over_angles():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    # Circles of Gaussians so dense that the sum is the integral to rounding.
    angle = torch.arange(2000, dtype=torch.float64) * (2 * math.pi / 2000)
    circle = torch.stack((angle.cos(), angle.sin()), dim=1)
    centres = torch.cat([radius * circle for radius in RADII])
    squares = (x[:, None] - centres).square().sum(-1)
    reference = torch.logsumexp(-0.5 * squares / 0.08**2, dim=1)
    reference = reference - math.log(len(centres)) - math.log(2 * math.pi * 0.08**2)
    torch.testing.assert_close(Rings().log_prob(x), reference)


def test_the_density_integrates_to_one():
    axis = torch.linspace(-4, 4, 801, dtype=torch.float64)
    total = Rings().log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.01**2
    # A sum over a grid of an eighth of the noise's deviation is exact to rounding.
    assert total.item() == pytest.approx(1.0, abs=1e-9)


def test_all_splits_have_the_entropy_of_the_density(raw):
    data = load("rings", raw)
    rings = Rings()
    for split in (data.train, data.valid, data.test):
        mean, error = mean_and_se(-rings.log_prob(split.x))
        assert mean == pytest.approx(rings.entropy(), abs=4 * error)


def test_the_entropy_of_one_far_circle_is_that_of_its_parts():
    # A thin ring: the entropy of the angle's arc plus that of the noise across it.
    rings = Rings(radii=(50.0,), std=0.05)
    expected = math.log(2 * math.pi * 50) + 0.5 * math.log(2 * math.pi * math.e * 0.05**2)
    # The curvature enters at (std / radius)^2 = 1e-6.
    assert rings.entropy() == pytest.approx(expected, abs=2e-6)
    assert Rings().entropy() == pytest.approx(Rings().entropy(nodes=50_001), abs=1e-10)


def test_the_density_keeps_batch_shape_and_dtype_and_is_finite_at_the_origin_and_far_away():
    x = torch.tensor([[0.0, 0.0], [1e3, 0.0]]).expand(3, 2, 2)
    log_prob = Rings().log_prob(x)
    assert log_prob.shape == (3, 2)
    assert log_prob.dtype == torch.float32
    assert log_prob.isfinite().all()


def test_points_that_were_not_generated_are_missing(tmp_path):
    with pytest.raises(DataMissing, match=r"train_x\.npy: No such file"):
        load("rings", tmp_path)
