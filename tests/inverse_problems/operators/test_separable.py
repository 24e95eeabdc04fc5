import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from inverse_problems.operators.separable import (
    SeparableOperator,
    average_pooling,
    every_nth,
    gaussian_blur,
)

SHAPE = (2, 8, 12)


def images(*batch: int) -> torch.Tensor:
    return torch.randn(
        *batch, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )


@pytest.mark.parametrize("std", [0.3, 1.0, 2.5])
@pytest.mark.parametrize(("boundary", "mode"), [("circular", "wrap"), ("zero", "constant")])
def test_the_blur_is_scipy_s(std, boundary, mode):
    x = images(3)
    blurred = gaussian_blur(SHAPE, std, boundary, dtype=torch.float64)(x)
    expected = ndimage.gaussian_filter(x.numpy(), std, mode=mode, axes=(-2, -1))
    torch.testing.assert_close(blurred, torch.from_numpy(expected), rtol=0, atol=1e-13)


def test_a_circular_blur_keeps_the_mean_and_a_zero_padded_one_loses_light():
    x = torch.ones(SHAPE, dtype=torch.float64)
    circular = gaussian_blur(SHAPE, 1.0, dtype=torch.float64)
    torch.testing.assert_close(circular(x), x, rtol=0, atol=1e-14)
    assert gaussian_blur(SHAPE, 1.0, "zero", dtype=torch.float64)(x).mean() < 0.9


def test_a_kernel_of_one_pixel_does_nothing():
    x = images()
    assert torch.equal(gaussian_blur(SHAPE, 1.0, radius=0, dtype=torch.float64)(x), x)


def test_pooling_is_torch_s():
    x = images(3)
    pooled = average_pooling(SHAPE, 4, torch.float64)(x)
    torch.testing.assert_close(pooled, functional.avg_pool2d(x, 4), rtol=0, atol=1e-14)
    assert torch.equal(every_nth(SHAPE, 4, torch.float64)(x), x[..., ::4, ::4])


def test_the_pseudo_inverse_of_pooling_repeats_pixels():
    y = images(2)[..., :4, :6]
    found = average_pooling(SHAPE, 2, torch.float64).pseudo_inverse(y)
    expected = np.repeat(np.repeat(y.numpy(), 2, -2), 2, -1)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-13)


def test_what_does_not_fit_is_refused():
    for make in (average_pooling, every_nth):
        for factor in (5, 0):
            with pytest.raises(ValueError, match=f"must divide 8 x 12 pixels, got {factor}"):
                make(SHAPE, factor)
    with pytest.raises(ValueError, match="expected std > 0"):
        gaussian_blur(SHAPE, 0.0)
    with pytest.raises(ValueError, match=r"expected matrices \(h, 8\) and \(w, 12\)"):
        SeparableOperator(SHAPE, torch.eye(12), torch.eye(8))
