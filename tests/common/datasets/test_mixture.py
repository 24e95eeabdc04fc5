import math

import numpy as np
import pytest
import torch

from common.datasets import load
from common.datasets.fetch import fetch
from common.datasets.mixture import GaussianMixture
from common.errors import UserError


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    fetch("mixture", raw)
    return raw


def points(x: torch.Tensor) -> set[bytes]:
    return {point.numpy().tobytes() for point in x}


def test_centres_are_those_of_the_published_seed():
    expected = [[-1.660, 4.406], [-9.998, -3.953], [-7.065, -8.153], [-6.275, -3.089]]
    # The reference is printed with three decimals.
    torch.testing.assert_close(
        GaussianMixture.published().centres,
        torch.tensor(expected, dtype=torch.float64),
        atol=5e-4,
        rtol=0,
    )


def test_splits_have_their_sizes_and_double_precision(raw):
    data = load("mixture", raw)
    assert [len(s) for s in (data.train, data.valid, data.test)] == [9000, 1000, 1000]
    assert data.train.x.dtype == torch.float64
    assert data.train.y.dtype == torch.int64
    assert (data.shape, data.levels, data.classes) == ((2,), None, 4)
    assert len(data.digest) == 64


def test_no_point_is_in_two_splits(raw):
    data = load("mixture", raw)
    sets = [points(split.x) for split in (data.train, data.valid, data.test)]
    assert len(set.union(*sets)) == 11_000


def test_train_is_the_published_set_and_the_published_test_set_leaks(raw):
    from sklearn.datasets import make_blobs

    data = load("mixture", raw)
    x, _ = make_blobs(n_samples=9000, centers=4, cluster_std=0.2, random_state=1)
    assert np.array_equal(data.train.x.numpy(), x)
    leaky, _ = make_blobs(n_samples=1000, centers=4, cluster_std=0.2, random_state=1)
    assert len(points(data.train.x) & points(torch.from_numpy(leaky))) == 250
    assert not points(data.test.x) & points(torch.from_numpy(leaky))


def test_all_splits_follow_the_mixture(raw):
    data = load("mixture", raw)
    mixture = GaussianMixture.published()
    for split in (data.train, data.valid, data.test):
        nll = -mixture.log_prob(split.x)
        # Four standard errors; the spread of -log p is that of half a chi-square, 1 nat.
        assert nll.mean().item() == pytest.approx(1.0053, abs=4 / math.sqrt(len(split)))
        near = torch.cdist(split.x, mixture.centres).argmin(1)
        assert torch.equal(near, split.y)


def test_the_entropy_is_the_known_value():
    # Components do not meet: ln 4 plus the entropy of one Gaussian, printed as 1.0053.
    expected = math.log(4) + math.log(2 * math.pi * math.e * 0.2**2)
    assert GaussianMixture.published().entropy() == pytest.approx(expected, abs=1e-6)
    assert expected == pytest.approx(1.0053, abs=5e-5)


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5, 3.0, 4.5, 8.0])
def test_the_entropy_of_overlapping_components_is_that_of_a_fine_sum(distance):
    mixture = GaussianMixture(torch.tensor([[0.0], [distance]], dtype=torch.float64), 1.0)
    x = torch.linspace(-12, distance + 12, 40_001, dtype=torch.float64).unsqueeze(1)
    log_prob = mixture.log_prob(x)
    reference = -torch.trapezoid(log_prob.exp() * log_prob, x.squeeze(1)).item()
    # The docstring promises 1e-6; the sum over the line is exact to rounding.
    assert mixture.entropy() == pytest.approx(reference, abs=1e-6)


def test_the_density_integrates_to_one():
    mixture = GaussianMixture(torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64), 0.7)
    axis = torch.linspace(-6, 8, 561, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = mixture.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    # A sum over a grid finer than the Gaussians is exact to rounding.
    assert total.item() == pytest.approx(1.0, abs=1e-10)


def test_log_prob_keeps_batch_shape_and_dtype_and_far_points_stay_finite():
    mixture = GaussianMixture.published()
    log_prob = mixture.log_prob(torch.full((3, 5, 2), 1e3))
    assert log_prob.shape == (3, 5)
    assert log_prob.dtype == torch.float32
    assert log_prob.isfinite().all()
    assert mixture.log_prob(torch.empty(0, 2)).shape == (0,)


def test_samples_follow_the_density_and_the_generator():
    mixture = GaussianMixture.published()
    x, again = (
        mixture.sample(20_000, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(x, again)
    nll = -mixture.log_prob(x)
    error = nll.std().item() / math.sqrt(len(x))
    assert nll.mean().item() == pytest.approx(mixture.entropy(), abs=4 * error)
    share = torch.cdist(x, mixture.centres).argmin(1).bincount() / len(x)
    # Four standard errors of a share of a quarter.
    torch.testing.assert_close(share, torch.full((4,), 0.25), atol=0.0123, rtol=0)


def test_the_entropy_in_many_dimensions_is_refused():
    with pytest.raises(ValueError, match="at most 3 dimensions, got 4"):
        GaussianMixture(torch.zeros(2, 4), 1.0).entropy()


def test_a_validation_size_is_refused_for_the_mixture(raw):
    with pytest.raises(UserError, match="mixture: valid_per_class must be empty"):
        load("mixture", raw, valid_per_class=10)


def test_a_mixture_of_another_size_is_refused(raw, tmp_path):
    (tmp_path / "mixture").mkdir()
    for path in (raw / "mixture").iterdir():
        array = np.load(path)
        np.save(tmp_path / "mixture" / path.name, array[:10])
    with pytest.raises(UserError, match=r"train_x\.npy: holds float64 \(10, 2\), expected"):
        load("mixture", tmp_path)
