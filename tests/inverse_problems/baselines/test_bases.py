import numpy as np
import pytest
import pywt
import torch
from scipy import fft

from inverse_problems.baselines.bases import BASES, CosineBasis, HaarBasis

SHAPES = [(1, 8, 8), (3, 8, 16), (1, 28, 28), (2, 7, 5), (1, 1, 1)]


def images(*batch: int, shape: tuple[int, int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*batch, *shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BASES)
def test_rows_are_orthonormal(name, shape):
    basis = BASES[name](shape)
    n = torch.Size(shape).numel()
    psi = basis.analyse(torch.eye(n, dtype=torch.float64).unflatten(-1, shape))
    torch.testing.assert_close(psi @ psi.mT, torch.eye(n).double(), rtol=0, atol=1e-13)
    if all(side & (side - 1) == 0 for side in shape[1:]) or name != "haar":
        assert psi.shape == (n, n)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BASES)
def test_synthesis_is_the_adjoint_of_analysis(name, shape):
    basis = BASES[name](shape)
    x = images(2, 3, shape=shape)
    w = basis.analyse(x)
    torch.testing.assert_close(basis.synthesise(w), x, rtol=0, atol=1e-13)
    other = torch.randn(w.shape, generator=torch.Generator().manual_seed(1), dtype=w.dtype)
    left, right = (w * other).sum(), (x * basis.synthesise(other)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    assert basis.analyse(images(0, shape=shape)).shape == (0, w.shape[-1])


def test_cosines_are_scipy_s():
    x = images(3, shape=(2, 6, 5))
    expected = fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho").reshape(3, -1)
    np.testing.assert_array_equal(CosineBasis((2, 6, 5)).analyse(x).numpy(), expected)


def test_wavelets_are_those_of_pywavelets_at_full_depth():
    x = images(1, shape=(1, 8, 8))
    coarse, *details = pywt.wavedec2(x[0, 0].numpy(), "db1", "periodization")
    assert coarse.shape == (1, 1)
    expected = [coarse, *(part for level in details for part in level)]
    flat = np.concatenate([part.ravel() for part in expected])
    np.testing.assert_allclose(HaarBasis((1, 8, 8)).analyse(x)[0].numpy(), flat, atol=1e-14)


def test_a_constant_image_has_one_wavelet_coefficient():
    w = HaarBasis((1, 16, 16)).analyse(torch.ones(1, 16, 16, dtype=torch.float64))
    assert w[0].item() == pytest.approx(16)
    assert w[1:].abs().max() < 1e-13


def test_precision_is_kept():
    for name, basis in BASES.items():
        w = basis((1, 8, 8)).analyse(torch.rand(1, 8, 8))
        assert w.dtype == torch.float32, name
        assert basis((1, 8, 8)).synthesise(w).dtype == torch.float32, name
