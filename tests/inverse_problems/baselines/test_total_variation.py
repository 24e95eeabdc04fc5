import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from common.metrics.psnr import psnr
from inverse_problems.baselines.base import pseudo_inverse
from inverse_problems.baselines.total_variation import TotalVariation, squared_norm
from inverse_problems.operators.gaussian import GaussianOperator
from inverse_problems.operators.grouped import Grouped
from inverse_problems.operators.identity import Identity
from inverse_problems.operators.mask import Mask, centred_square
from inverse_problems.operators.separable import gaussian_blur

SHAPE = (2, 8, 9)


def squares(n: int = 2) -> torch.Tensor:
    """Return images of two grey levels a channel."""
    x = torch.full((n, *SHAPE), 0.2, dtype=torch.float64)
    for k in range(n):
        x[k, 0, 2 : 5 + k % 2, 3:8] = 0.9
        x[k, 1, :4, 2 + k % 3 :] = 0.6
    return x


def noise(shape: torch.Size, std: float) -> torch.Tensor:
    return std * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gaussian(m: int, seed: int = 0) -> GaussianOperator:
    return GaussianOperator(SHAPE, m, torch.Generator().manual_seed(seed), torch.float64)


def objective(x, y, operator, penalty):
    down = torch.zeros_like(x)
    right = torch.zeros_like(x)
    down[..., :-1, :], right[..., :-1] = x.diff(dim=-2), x.diff(dim=-1)
    variation = (down.square() + right.square()).sqrt().sum((1, 2, 3))
    return (operator(x) - y).flatten(1).square().sum(1) + penalty * variation


def test_denoising_is_scikit_image_s():
    x = squares(1)
    y = x + noise(x.shape, 0.1)
    found = TotalVariation(0.2, 1e-9, 600).minimise(y, Identity(SHAPE))
    oracle = np.stack(
        [
            denoise_tv_chambolle(one.numpy(), 0.1, eps=1e-14, max_num_iter=1000, channel_axis=0)
            for one in y
        ]
    )
    # Its iteration converges slowly: what it still lacks shows in the objective, not the pixels.
    np.testing.assert_allclose(found.numpy(), oracle, atol=2e-3)
    ours, theirs = (
        objective(z, y, Identity(SHAPE), 0.2) for z in (found, torch.from_numpy(oracle))
    )
    assert (ours <= theirs + 1e-7).all()


def test_no_image_nearby_does_better():
    operator, x = gaussian_blur(SHAPE, 0.7).double(), squares()
    y = operator(x)
    y = y + noise(y.shape, 0.02)
    found = TotalVariation(0.01, 1e-7, 1500).minimise(y, operator)
    least = objective(found, y, operator, 0.01)
    generator = torch.Generator().manual_seed(1)
    for size in (1e-1, 1e-2, 1e-3):
        for towards in (x - found, pseudo_inverse(y, operator) - found, found.mean() - found):
            assert (objective(found + size * towards, y, operator, 0.01) > least - 1e-5).all()
        for _ in range(5):
            step = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            assert (objective(found + size * step, y, operator, 0.01) > least - 1e-5).all()


def test_few_grey_levels_are_found_from_few_measurements():
    operator, x = gaussian(90), squares()
    y = operator(x)
    found = TotalVariation(0.01, max_iterations=500)(y, operator)
    assert (psnr(found, x) > psnr(pseudo_inverse(y, operator), x) + 20).all()


def test_a_hole_is_filled():
    operator, x = Mask(SHAPE, centred_square(8, 9)), squares()
    filled = TotalVariation(0.02, max_iterations=150)(operator(x), operator)
    # The corners in the hole are cut, as the least length of an edge wants it.
    assert (psnr(filled, x) > psnr(operator(x), x) + 3).all()


def test_several_measurements_are_solved_as_each_alone():
    operators = [gaussian(60), gaussian(80, 1)]
    grouped, x = Grouped(operators), squares(4)
    y = grouped(x)
    method = TotalVariation(0.01, max_iterations=50)
    found = method(y, grouped)
    for g, operator in enumerate(operators):
        rows = slice(2 * g, 2 * g + 2)
        torch.testing.assert_close(found[rows], method(operator(x[rows]), operator))


def test_the_norm_is_that_of_the_singular_values():
    operator = gaussian(50)
    largest = float(torch.linalg.matrix_norm(operator.matrix, 2)) ** 2
    found = squared_norm(operator, squares())
    assert largest <= found <= 1.03 * largest


def test_what_comes_out_has_the_dtype_and_the_range():
    y = torch.full((1, *SHAPE), 1.5)
    found = TotalVariation(0.1)(y, Identity(SHAPE))
    assert found.dtype == torch.float32
    assert found.max() == 1
    assert TotalVariation(0.1)(y[:0], Identity(SHAPE)).shape == (0, *SHAPE)


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the penalty must be positive, got 0"):
        TotalVariation(0.0)(torch.zeros(1, *SHAPE), Identity(SHAPE))
