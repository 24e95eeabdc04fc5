import math

import numpy as np
import pytest
import torch

from common.metrics.ssim import ssim


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(x: np.ndarray, y: np.ndarray, window: int) -> float:
    """Return the mean over all windows of the published formula, with sample covariances."""
    c1, c2 = 0.01**2, 0.03**2
    values = []
    for i in range(x.shape[0] - window + 1):
        for j in range(x.shape[1] - window + 1):
            a, b = (v[i : i + window, j : j + window].ravel() for v in (x, y))
            (va, vab), (_, vb) = np.cov(a, b)
            values.append(
                (2 * a.mean() * b.mean() + c1)
                * (2 * vab + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2))
            )
    return float(np.mean(values))


@pytest.mark.parametrize(("side", "window"), [(8, 7), (28, 7), (6, 5), (5, 5), (3, 3)])
def test_it_is_the_published_formula_at_any_size(side, window):
    x, y = images(2, 1, side, side), images(2, 1, side, side, seed=1)
    expected = [
        by_hand(a, b, window) for a, b in zip(x[:, 0].numpy(), y[:, 0].numpy(), strict=True)
    ]
    assert ssim(x, y).tolist() == pytest.approx(expected, rel=1e-12)


def test_channels_are_averaged_and_batches_keep_their_shape():
    x, y = images(2, 2, 3, 8, 8), images(2, 2, 3, 8, 8, seed=1)
    single = torch.stack([ssim(x[:, :, c : c + 1], y[:, :, c : c + 1]) for c in range(3)])
    torch.testing.assert_close(ssim(x, y), single.mean(0), rtol=1e-12, atol=0)


def test_the_same_image_has_one_and_a_noisy_one_less():
    x = images(3, 1, 8, 8)
    assert ssim(x, x).tolist() == pytest.approx([1, 1, 1], abs=1e-12)
    small, large = (ssim(x + s * images(3, 1, 8, 8, seed=2), x) for s in (0.05, 0.5))
    assert (large < small).all()
    assert (small < 1).all()


def test_what_leaves_the_range_is_clamped_first():
    y = images(1, 1, 8, 8)
    x = y * 3 - 1
    torch.testing.assert_close(ssim(x, y), ssim(x.clamp(0, 1), y))


def test_a_failed_image_has_no_value():
    x = images(2, 1, 8, 8)
    spoilt = x.clone()
    spoilt[0, 0, 3, 3] = math.nan
    found = ssim(spoilt, x)
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="at least 3 x 3 pixels"):
        ssim(images(1, 1, 2, 8), images(1, 1, 2, 8))
    with pytest.raises(ValueError, match="of one shape"):
        ssim(images(2, 1, 8, 8), images(1, 1, 8, 8))
