import pytest
import torch
from scipy import fft

from inverse_problems.operators.cosine import CosineOperator, dct, idct
from inverse_problems.operators.gaussian import GaussianOperator


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 784])
def test_the_transform_is_scipy_s(n):
    x = torch.randn(3, n, generator=seeded(0), dtype=torch.float64)
    z = torch.from_numpy(fft.dct(x.numpy(), norm="ortho"))
    torch.testing.assert_close(dct(x), z, rtol=0, atol=1e-13)
    torch.testing.assert_close(idct(z), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("transform", [dct, idct])
def test_the_transform_has_its_gradient(transform):
    x = torch.randn(2, 5, generator=seeded(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(transform, (x,))


def test_single_precision_loses_little_on_a_long_signal():
    x = torch.randn(12288, generator=seeded(0), dtype=torch.float64)
    error = dct(x.float()).double() - dct(x)
    # The error of a fast transform grows with log n.
    assert error.norm() / x.norm() < 1e-6


def test_rows_are_orthogonal_and_entries_have_variance_one_over_m():
    operator = CosineOperator((1, 10, 12), 30, seeded(1))
    a = operator(torch.eye(120, dtype=torch.float64).unflatten(-1, (1, 10, 12))).mT
    torch.testing.assert_close(a @ a.mT, 4 * torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-13)
    assert a.square().mean().item() == pytest.approx(1 / 30, rel=1e-13)


def test_it_keeps_the_length_of_an_image_on_average():
    x = torch.zeros(1, 10, 12, dtype=torch.float64)
    x[:, 3:6, 2:9] = 1 / 21**0.5  # smooth: without the signs a few coefficients would hold it
    lengths = torch.stack(
        [CosineOperator((1, 10, 12), 20, seeded(s))(x).square().sum() for s in range(300)]
    )
    assert abs(lengths.mean() - 1) < 4 * lengths.std() / 300**0.5
    # As even as a Gaussian matrix, whose variance is 2 / m.
    assert lengths.var() < 2 / 20


def test_signs_rows_and_seed():
    one, same, other = (CosineOperator((3, 8, 8), 50, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(one.signs, same.signs)
    assert torch.equal(one.rows, same.rows)
    assert not torch.equal(one.rows, other.rows)
    assert set(one.signs.tolist()) == {-1, 1}
    assert len(set(one.rows.tolist())) == 50


def test_it_stores_far_less_than_a_matrix():
    shape, m = (3, 16, 16), 300
    bytes_of = [
        sum(b.numel() * b.element_size() for b in operator.buffers())
        for operator in (CosineOperator(shape, m, seeded(0)), GaussianOperator(shape, m, seeded(0)))
    ]
    assert bytes_of[0] * 100 < bytes_of[1]


@pytest.mark.parametrize("m", [0, 65])
def test_more_measurements_than_pixels_are_refused(m):
    with pytest.raises(ValueError, match=f"m must be 1 to 64, got {m}"):
        CosineOperator((1, 8, 8), m, seeded(0))
