import math

import numpy as np
import pytest
import torch

from common.datasets import load
from common.datasets.fetch import fetch
from common.datasets.picture import PixelDensity, load_density
from common.datasets.toys import draw_picture, picture_points
from common.metrics.likelihood import mean_and_se


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    fetch("picture", raw)
    return raw


def test_the_picture_is_grey_has_sharp_and_soft_parts_and_no_black():
    picture = draw_picture()
    assert (picture.shape, picture.dtype) == ((512, 512), np.uint8)
    assert 0 < picture.min() < picture.max() == 255
    steps = np.abs(np.diff(picture.astype(int), axis=1))
    assert steps.max() > 100
    assert np.mean(steps <= 2) > 0.9


def test_splits_have_their_sizes_and_lie_in_the_unit_square(raw):
    data = load("picture", raw)
    assert [len(s) for s in (data.train, data.valid, data.test)] == [1_000_000, 20_000, 20_000]
    for split in (data.train, data.valid, data.test):
        assert split.x.min() >= 0
        assert split.x.max() <= 1
    assert not torch.equal(data.valid.x, data.test.x)


def test_points_are_as_dense_as_the_picture_is_bright_and_not_turned():
    picture = np.array([[10, 20, 0], [0, 30, 40]], dtype=np.uint8)
    x = picture_points(picture, 100_000, seed=0)
    counts, *_ = np.histogram2d(x[:, 1], x[:, 0], bins=(2, 3), range=((0, 1), (0, 1)))
    share = counts[::-1] / 100_000  # the first row of the picture is on top
    # Four standard errors of a share.
    np.testing.assert_allclose(share, picture / 100, atol=4 * 0.5 / 100_000**0.5)
    assert share[0, 2] == share[1, 0] == 0
    # Inside a pixel points are uniform.
    inside = (x * (3, 2)) % 1
    np.testing.assert_allclose(inside.mean(0), 0.5, atol=4 * 0.289 / 100_000**0.5)


def test_the_density_is_constant_on_a_pixel_and_integrates_to_one():
    density = PixelDensity(torch.tensor([[1, 2, 0], [0, 3, 6]], dtype=torch.uint8))
    assert density.density.mean().item() == pytest.approx(1.0, abs=1e-15)
    x = torch.tensor([[0.1, 0.9], [0.5, 0.6], [0.9, 0.1], [0.9, 0.9], [1.0, 0.0], [0.0, 1.0]])
    expected = torch.tensor([0.5, 1.0, 3.0, 0.0, 3.0, 0.5]).log()
    torch.testing.assert_close(density.log_prob(x), expected)


def test_outside_of_the_square_there_is_nothing():
    density = PixelDensity(torch.ones(2, 2))
    x = torch.tensor([[-0.1, 0.5], [0.5, 1.1], [torch.nan, 0.5]], dtype=torch.float64)
    assert (density.log_prob(x) == -torch.inf).all()
    assert density.log_prob(torch.empty(0, 2)).shape == (0,)


def test_the_entropy_is_that_of_the_pixels():
    density = PixelDensity(torch.tensor([[1.0, 3.0], [0.0, 4.0]], dtype=torch.float64))
    share = torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64) / 8
    # Entropy of the pixel plus that of the place inside it, of area a quarter.
    expected = -(share * share.log()).sum().item() + math.log(0.25)
    assert density.entropy() == pytest.approx(expected, abs=1e-14)
    assert PixelDensity(torch.ones(3, 3)).entropy() == 0


def test_all_splits_have_the_entropy_of_the_picture(raw):
    data = load("picture", raw)
    density = load_density(raw)
    for split in (data.train, data.valid, data.test):
        mean, error = mean_and_se(-density.log_prob(split.x))
        assert mean == pytest.approx(density.entropy(), abs=4 * error)
