import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from common.metrics.psnr import decibels, mean_psnr, mean_squared_error, psnr


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_scikit_image_s():
    x, y = images(4, 3, 8, 9), images(4, 3, 8, 9, seed=1)
    expected = [
        peak_signal_noise_ratio(b, a, data_range=1)
        for a, b in zip(x.numpy(), y.numpy(), strict=True)
    ]
    assert psnr(x, y).tolist() == pytest.approx(expected, rel=1e-13)


def test_an_error_of_a_tenth_is_twenty_decibels():
    y = torch.full((2, 3, 1, 4, 4), 0.5)
    found = psnr(y + 0.1, y)
    assert found.shape == (2, 3)
    assert found.dtype == torch.float64
    # The inputs are rounded to single precision.
    torch.testing.assert_close(found, torch.full_like(found, 20.0), rtol=1e-6, atol=0)


def test_what_leaves_the_range_is_clamped_first():
    y = torch.zeros(1, 1, 2, 2)
    x = torch.tensor([[[[-5.0, 0.0], [0.0, 3.0]]]])
    assert mean_squared_error(x, y).item() == 0.25
    assert psnr(x, y).item() == pytest.approx(-10 * math.log10(0.25))


def test_the_mean_is_that_of_the_images_and_not_of_their_errors():
    y = torch.zeros(2, 1, 1, 1, dtype=torch.float64)
    values = psnr(torch.tensor([0.1, 0.001], dtype=torch.float64).view(2, 1, 1, 1), y)
    mean, error = mean_psnr(values)
    assert mean == pytest.approx(40)
    assert error == pytest.approx(20)  # 20 and 60: their spread 28.3, over the root of two


def test_an_exact_image_is_infinite_and_shown_as_such():
    y = images(2, 1, 4, 4)
    x = y.clone()
    x[1] = 1 - y[1]
    values = psnr(x, y)
    assert values[0] == math.inf
    assert math.isfinite(values[1])
    mean, error = mean_psnr(values)
    assert mean == math.inf
    assert math.isnan(error)
    assert [decibels(v) for v in (mean, error, 31.5)] == ["exact", "not finite", 31.5]


def test_a_failed_image_is_not_left_out():
    y = images(2, 1, 4, 4)
    x = y.flip(0).clone()
    x[0, 0, 0, 0] = math.nan
    values = psnr(x, y)
    assert math.isnan(values[0])
    assert math.isnan(mean_psnr(values)[0])


def test_an_empty_batch_has_no_values():
    assert psnr(torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4)).shape == (0,)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"of one shape, got \(2, 1, 4, 4\) and \(1, 1, 4, 4\)"):
        psnr(images(2, 1, 4, 4), images(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"originals in \[0, 1\], got values from 0 to 255"):
        psnr(images(1, 1, 1, 2), torch.tensor([[[[0.0, 255.0]]]]))
