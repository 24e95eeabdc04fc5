import numpy as np
import pytest
import torch

from monotone_flow.toys import TOYS, curves
from tests.monotone_flow.toys.published import PUBLISHED

BATCHES, BATCH = 400, 500
names = pytest.mark.parametrize("name", TOYS)


def ours(name, batches=BATCHES, n=BATCH, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([TOYS[name].sample(n, generator) for _ in range(batches)]).numpy()


def published(name, batches=BATCHES, n=BATCH, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([PUBLISHED[name](n, rng) for _ in range(batches)])


def moments(x):
    """First, second and fourth moments of each batch of (batches, n, 2)."""
    a, b = x[..., 0], x[..., 1]
    return np.stack([m.mean(1) for m in (a, b, a**2, b**2, a * b, a**4, b**4, a**3 * b)], 1)


def shares(x):
    """The share of each batch in 8 x 8 cells of [-4, 4]^2."""
    edges = np.linspace(-4, 4, 9)
    return np.stack([np.histogram2d(*batch.T, edges)[0].ravel() / len(batch) for batch in x])


def errors(a, b):
    """Differences of the means over batches, in standard errors.

    The points of a batch are not independent, so the errors come from the spread of the batches.
    """
    difference = a.mean(0) - b.mean(0)
    se = np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / len(a))
    # What is the same in all batches of both, an empty cell, is off by nothing at all.
    return np.divide(difference, se, out=1e9 * difference, where=se > 0)


def test_the_names_are_the_published_ones():
    assert TOYS.keys() == PUBLISHED.keys()
    assert all(toy.name == name for name, toy in TOYS.items())


@names
@pytest.mark.parametrize("statistic", [moments, shares])
def test_points_are_distributed_as_the_published_ones(name, statistic):
    # Of the 576 comparisons of all sets one exceeds 4 with a chance of 4 in 100.
    assert np.abs(errors(statistic(ours(name)), statistic(published(name)))).max() < 4


@names
def test_batches_are_as_even_as_the_published_ones(name):
    def spread(x):
        return np.stack((x[..., 0].mean(1), np.square(x).sum(-1).mean(1)), 1).std(0, ddof=1)

    # The logarithm of a ratio of two standard deviations has error BATCHES^-1/2; 4 of them.
    assert np.abs(np.log(spread(ours(name)) / spread(published(name)))).max() < 4 / BATCHES**0.5


@names
def test_the_start_of_a_batch_is_a_fair_sample(name):
    x = ours(name)
    assert np.abs(errors(moments(x[:, :50]), moments(ours(name, seed=1)))).max() < 4


@names
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_number_of_points_follows_the_generator_and_the_dtype(name, dtype):
    toy = TOYS[name]
    for n in (0, 1, 2, 3, 7, 500):
        x = toy.sample(n, torch.Generator().manual_seed(3), dtype=dtype)
        assert x.shape == (n, 2)
        assert x.dtype == dtype
        assert x.isfinite().all()
        assert torch.equal(x, toy.sample(n, torch.Generator().manual_seed(3), dtype=dtype))


@pytest.mark.parametrize(
    ("name", "std", "to_unit"),
    [
        ("circles", "CIRCLES_STD", lambda x: x / 1.5),
        ("rings", "RINGS_STD", lambda x: x / 0.75),
        ("moons", "MOONS_STD", lambda x: (x - moon_centre(x)) / 2),
        ("8gaussians", "GAUSSIANS_STD", lambda x: x * 1.414 / 4),
    ],
)
def test_without_noise_points_lie_on_the_curve_in_double_precision(name, std, to_unit, monkeypatch):
    monkeypatch.setattr(curves, std, 0.0)
    radius = to_unit(TOYS[name].sample(100, torch.Generator().manual_seed(0))).norm(dim=1)
    torch.testing.assert_close(radius, radius.round(), rtol=0, atol=1e-14)


def moon_centre(x):
    """The centre of the moon that a point without noise lies on."""
    upper = (x - x.new_tensor([-1, -0.2])).norm(dim=1, keepdim=True).sub(2).abs() < 1e-3
    return torch.where(upper, x.new_tensor([-1, -0.2]), x.new_tensor([1, 0.8]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@names
def test_points_lie_on_the_device_of_the_generator(name):
    x = TOYS[name].sample(50_000, torch.Generator("cuda").manual_seed(0))
    assert x.is_cuda
    # Both estimate the entropy with an error of about 1 / 50,000^1/2.
    here = TOYS[name].sample(50_000, torch.Generator().manual_seed(0))
    entropies = [TOYS[name].log_prob(points).mean().item() for points in (x, here)]
    assert entropies[0] == pytest.approx(entropies[1], abs=0.03)
