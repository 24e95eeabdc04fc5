import math

import pytest
import torch

from common.bijections.transformer import ClampedAffine, SigmoidAffine

AFFINE = SigmoidAffine()


def numbers(seed: int = 0, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return x, spread * torch.randn(5, 3, 2, generator=generator, dtype=torch.float64)


def test_a_value_is_scaled_and_then_shifted():
    raw = torch.tensor([[0.5, -1.0]], dtype=torch.float64)
    y, log_slope = AFFINE.forward(torch.tensor([3.0], dtype=torch.float64), raw)
    scale = 1 / (1 + math.exp(-2.5)) + 0.001
    torch.testing.assert_close(y, torch.tensor([3 * scale - 1], dtype=torch.float64))
    torch.testing.assert_close(log_slope, torch.tensor([math.log(scale)], dtype=torch.float64))


def test_the_log_slope_is_that_of_autograd():
    x, raw = numbers()
    x.requires_grad_()
    y, log_slope = AFFINE.forward(x, raw)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())


def test_the_inverse_returns_and_its_log_slope_is_the_negative():
    x, raw = numbers()
    y, forward = AFFINE.forward(x, raw)
    back, backward = AFFINE.inverse(y, raw)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(backward, -forward)


def test_a_layer_hardly_expands_and_never_collapses():
    x, raw = numbers(spread=1e4)
    log_slope = AFFINE.forward(x, raw)[1]
    # The scale lies between 0.001 and 1.001; rounding may reach both ends.
    assert log_slope.max() <= math.log(1.001) + 1e-12
    assert log_slope.min() >= math.log(0.001) - 1e-12


def test_the_identity_leaves_every_value():
    x, _ = numbers()
    # The numbers come in float32, so the scale is one to its rounding.
    y, log_slope = AFFINE.forward(x, AFFINE.identity().double().expand(5, 3, 2))
    torch.testing.assert_close(y, x, rtol=1e-6, atol=0)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-6)


def test_strided_parameters_give_what_contiguous_ones_do():
    x, raw = numbers()
    strided = raw.movedim(-1, 0).contiguous().movedim(0, -1)
    assert not strided.is_contiguous()
    assert torch.equal(AFFINE.forward(x, strided)[0], AFFINE.forward(x, raw)[0])


# Clamped

CLAMPED = ClampedAffine(2.0, 4.0)


def test_a_clamped_scale_is_that_of_the_formula():
    raw = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    y, log_slope = CLAMPED.forward(torch.tensor([3.0], dtype=torch.float64), raw)
    s = 2.0 * 0.636 * math.atan(3.0 / 4.0)
    torch.testing.assert_close(y, torch.tensor([3 * math.exp(s) - 1], dtype=torch.float64))
    torch.testing.assert_close(log_slope, torch.tensor([s], dtype=torch.float64))


def test_a_clamped_map_is_inverted_and_its_log_slopes_cancel():
    x, raw = numbers(spread=3.0)
    y, forward = CLAMPED.forward(x, raw)
    back, backward = CLAMPED.inverse(y, raw)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(backward, -forward)


def test_no_input_leaves_the_clamp():
    x, raw = numbers(spread=1e30)
    log_slope = CLAMPED.forward(x, raw)[1]
    assert 1.99 < log_slope.abs().max() < 2.0


def test_zeros_are_the_identity_of_a_clamped_map():
    x, _ = numbers()
    y, log_slope = CLAMPED.forward(x, CLAMPED.identity().double().expand(5, 3, 2))
    assert torch.equal(y, x)
    assert not log_slope.any()


@pytest.mark.parametrize(("clamp", "width"), [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_clamp_and_width_are_positive(clamp: float, width: float):
    with pytest.raises(ValueError, match="expected a positive clamp and width"):
        ClampedAffine(clamp, width)
