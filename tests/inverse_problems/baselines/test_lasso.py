import numpy as np
import pytest
import pywt
import sklearn.linear_model
import torch
from scipy import fft

from common.metrics.psnr import psnr
from inverse_problems.baselines.base import pseudo_inverse
from inverse_problems.baselines.bases import HaarBasis
from inverse_problems.baselines.lasso import Lasso
from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.operators.grouped import Grouped
from inverse_problems.operators.mask import Mask, centred_square

SHAPE = (2, 8, 8)


def pictures(n: int = 3) -> torch.Tensor:
    """Return smooth pictures of two channels with an edge."""
    generator = torch.Generator().manual_seed(0)
    phase = 6 * torch.rand(n, 2, 1, 1, generator=generator, dtype=torch.float64)
    across = torch.arange(8.0, dtype=torch.float64)
    smooth = 0.4 + 0.3 * torch.sin(0.7 * across[:, None] + 0.4 * across + phase)
    return smooth + 0.2 * (across > 3)


def gaussian(m: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> GaussianOperator:
    return GaussianOperator(shape, m, torch.Generator().manual_seed(seed), torch.float64)


def published(a: np.ndarray, y: np.ndarray, basis: str) -> np.ndarray:
    """Recover one image as the published code does, but to a small gap."""
    m = len(a)
    rows = a.reshape(m, *SHAPE)
    if basis == "dct":
        dictionary = fft.dctn(rows, axes=(2, 3), norm="ortho")
    else:
        dictionary = np.stack([[wavelets(c) for c in row] for row in rows])
    fit = sklearn.linear_model.Lasso(alpha=0.01, tol=1e-10, max_iter=200_000)
    scale = np.sqrt(2 * m)
    w = fit.fit(scale * dictionary.reshape(m, -1), scale * y).coef_.reshape(SHAPE)
    if basis == "dct":
        x = fft.idctn(w, axes=(1, 2), norm="ortho").clip(-1, 1)
    else:
        x = HaarBasis(SHAPE).synthesise(torch.from_numpy(in_our_order(w))).numpy()
        x = x / np.abs(x).max()
    return x.clip(0, 1)


def wavelets(channel: np.ndarray) -> np.ndarray:
    coarse, *details = pywt.wavedec2(channel, "db1", "periodization")
    return np.concatenate([coarse.ravel(), *(p.ravel() for level in details for p in level)])


def in_our_order(w: np.ndarray) -> np.ndarray:
    """Return coefficients of (channel, part) by (part, channel)."""
    ends = np.cumsum([1, *(4**level for level in range(3) for _ in range(3))])[:-1]
    return np.concatenate([p.ravel() for p in np.split(w.reshape(2, -1), ends, axis=1)])


@pytest.mark.parametrize("basis", ["dct", "haar"])
def test_as_published_it_is_the_published_baseline(basis):
    operator = gaussian(50)
    x = pictures()
    y = operator(x)
    found = Lasso(basis, as_published=True, tolerance=1e-10, max_iterations=20_000)(y, operator)
    expected = np.stack([published(operator.matrix.numpy(), one.numpy(), basis) for one in y])
    # Where a gap of 1e-10 leaves pixels.
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_the_published_handicaps_are_off_by_default():
    operator = gaussian(100)
    x = 0.5 * pictures()
    y = operator(x)
    plain, handicapped = (Lasso("haar", as_published=p)(y, operator) for p in (False, True))
    torch.testing.assert_close(handicapped.amax((1, 2, 3)), torch.ones(3).double())
    assert (psnr(plain, x) > psnr(handicapped, x) + 3).all()


@pytest.mark.parametrize("basis", ["dct", "haar"])
def test_sparsity_beats_the_shortest_image(basis):
    operator, x = gaussian(60), pictures()
    y = operator(x)
    assert (psnr(Lasso(basis)(y, operator), x) > psnr(pseudo_inverse(y, operator), x) + 3).all()


def test_sparse_pixels_are_found_from_few_measurements():
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    x[0, 0, 2, 3], x[0, 1, 6, 1], x[0, 1, 6, 2] = 1.0, 0.7, 0.4
    operator = gaussian(40)
    found = Lasso("pixel", penalty=1e-3, tolerance=1e-7)(operator(x), operator)
    # The penalty shortens each pixel by about half of itself.
    torch.testing.assert_close(found, x, rtol=0, atol=2e-3)


def test_several_measurements_are_solved_as_each_alone():
    operators = [gaussian(30), gaussian(60, 1)]
    grouped = Grouped(operators)
    x = pictures(4)
    y = grouped(x)
    found = Lasso("dct")(y, grouped)
    for g, operator in enumerate(operators):
        rows = slice(2 * g, 2 * g + 2)
        alone = Lasso("dct")(operator(x[rows]), operator)
        torch.testing.assert_close(found[rows], alone, rtol=0, atol=1e-10)


def test_a_hole_is_filled():
    operator, x = Mask(SHAPE, centred_square(8, 8)), pictures()
    filled = Lasso("dct")(operator(x), operator)
    assert (psnr(filled, x) > psnr(operator(x), x) + 6).all()


def test_sizes_that_are_no_powers_of_two_are_recovered():
    shape = (1, 7, 5)
    operator = gaussian(35, shape=shape)
    x = torch.full((1, *shape), 0.5, dtype=torch.float64)
    assert psnr(Lasso("haar")(operator(x), operator), x) > 25


def test_precision_and_range_are_those_asked_for():
    operator = gaussian(20).float()
    found = Lasso("dct")(operator(pictures().float()), operator)
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() <= 1
