import math

import pytest
import torch
from torch import Tensor

from common.bijections.elementwise import (
    LeakySoftplus,
    Logit,
    Rescale,
    _LeakySoftplus,
    _LeakySoftplusInverse,
)
from common.solvers import NotConverged

DTYPES = [torch.float32, torch.float64]


def spread(dtype: torch.dtype) -> Tensor:
    """Both signs, from the smallest to 1e4, dense around 0."""
    sizes = torch.logspace(-8, 4, 2001, dtype=torch.float64)
    return torch.cat([-sizes, torch.linspace(-40, 40, 4001).double(), sizes]).to(dtype)


def test_the_leaky_softplus_is_the_formula():
    x = torch.linspace(-20, 20, 401, dtype=torch.float64)
    z, logdet = LeakySoftplus(0.1)(x[:, None])
    torch.testing.assert_close(z[:, 0], 0.1 * x + 0.9 * torch.log1p(torch.exp(x)))
    torch.testing.assert_close(logdet, torch.log(0.1 + 0.9 / (1 + torch.exp(-x))))


def test_float64_keeps_the_digits_of_the_formula_far_from_zero():
    x = torch.linspace(-60, 60, 1201, dtype=torch.float64)
    z, logdet = LeakySoftplus(0.1)(x[:, None])
    # Without overflow: ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
    exact = 0.1 * x + 0.9 * (x.clamp(min=0) + torch.log1p(torch.exp(-x.abs())))
    # A few units in the last place.
    eps = torch.finfo(torch.float64).eps
    torch.testing.assert_close(z[:, 0], exact, rtol=8 * eps, atol=eps)
    torch.testing.assert_close(logdet, torch.log(0.1 + 0.9 * torch.sigmoid(x)), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.05, 0.1, 0.5, 0.9])
def test_newton_reaches_the_rounding_floor_up_to_ten_thousand(dtype, slope):
    y = spread(dtype)
    x = LeakySoftplus(slope).inverse_and_logdet(y[:, None])[0][:, 0]
    assert x.dtype == dtype
    # The forward map in float64, so that only the inverse is measured.
    back = LeakySoftplus(slope)(x.double()[:, None])[0][:, 0]
    error = (back - y.double()).abs() / y.double().abs().clamp(min=1)
    # A few units in the last place: x itself is rounded once, and Newton's last step once more.
    assert error.max() < 8 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
def test_newton_starts_on_the_right_of_the_root(dtype):
    y = spread(dtype)
    x = LeakySoftplus(0.1).inverse_and_logdet(y[:, None])[0][:, 0]
    start = torch.minimum(y, y / 0.1)
    # To rounding: far out the start is the root.
    assert (x <= start + 4 * torch.finfo(dtype).eps * start.abs().clamp(min=1)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_inverse_of_what_is_not_finite_raises(dtype, bad):
    z = torch.tensor([[0.0, bad], [1.0, 2.0]], dtype=dtype)
    with pytest.raises(NotConverged, match="Newton steps; expected finite input"):
        LeakySoftplus().inverse_and_logdet(z)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_inverse_beyond_the_largest_number_raises(dtype):
    z = torch.tensor([[1.0, -torch.finfo(dtype).max]], dtype=dtype)
    with pytest.raises(NotConverged, match="expected finite input"):
        LeakySoftplus(0.1).inverse_and_logdet(z)
    z = torch.tensor([[1.0, torch.finfo(dtype).max]], dtype=dtype)
    torch.testing.assert_close(LeakySoftplus(0.1).inverse(z)[0, 1], z[0, 1])


def test_the_forward_map_passes_on_what_is_not_finite():
    z, logdet = LeakySoftplus()(torch.tensor([[math.nan], [math.inf], [1.0]]))
    assert z.isfinite().flatten().tolist() == [False, False, True]
    assert logdet.isnan().tolist() == [True, False, False]


def test_the_custom_functions_pass_gradcheck():
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(3, 4, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    for function in (_LeakySoftplus, _LeakySoftplusInverse):
        assert torch.autograd.gradcheck(lambda v, f=function: f.apply(v, 0.1), (x,))
        assert torch.autograd.gradgradcheck(lambda v, f=function: f.apply(v, 0.1), (x,))


def test_the_custom_function_maps_over_samples_with_torch_func():
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(4, 3)
    softplus = LeakySoftplus(0.3)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: softplus(v[None])[0][0]))(x)
    expected = (0.3 + 0.7 * torch.sigmoid(x)).diag_embed()
    torch.testing.assert_close(jacobian, expected)


def test_gradients_far_from_zero_stay_finite():
    x = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    z, logdet = LeakySoftplus()(x)
    (z.sum() + logdet.sum()).backward()
    torch.testing.assert_close(x.grad[0, :2], torch.tensor([0.1, 1.0]))
    z = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    x, logdet = LeakySoftplus().inverse_and_logdet(z)
    (x.sum() + logdet.sum()).backward()
    torch.testing.assert_close(z.grad[0, :2], torch.tensor([10.0, 1.0]))


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.1, math.nan])
def test_a_slope_that_is_none_is_refused(slope):
    with pytest.raises(ValueError, match="slope between 0 and 1"):
        LeakySoftplus(slope)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_logit_is_finite_and_symmetric_at_exactly_zero_and_one(dtype):
    x = torch.tensor([[0.0], [1.0]], dtype=dtype)
    z, logdet = Logit(1e-5)(x)
    end = math.log((1 - 0.5e-5) / 0.5e-5)
    # float32 rounds 1 - margin / 2 to 6e-8, seen through a logarithm of slope 1.
    torch.testing.assert_close(z, torch.tensor([[-end], [end]], dtype=dtype))
    torch.testing.assert_close(logdet[0], logdet[1])
    # The way back is as exact as the dtype near 1.
    back = Logit(1e-5).inverse_and_logdet(z)[0]
    torch.testing.assert_close(back, x, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_float32_keeps_the_tail_of_the_logit_near_one():
    # 1 - 2^-24 and its neighbour differ in the logit, though 1 - s of a float32 s would not.
    x = torch.tensor([[1 - 2**-23], [1 - 2**-24]], dtype=torch.float32)
    exact = Logit(1e-7)(x.double())[0]
    torch.testing.assert_close(Logit(1e-7)(x)[0].double(), exact, rtol=1e-6, atol=0)


def test_a_logit_without_margin_is_the_plain_one():
    x = torch.tensor([[0.1, 0.5], [0.25, 0.9]], dtype=torch.float64)
    z, logdet = Logit(0.0)(x)
    torch.testing.assert_close(z, torch.logit(x))
    torch.testing.assert_close(logdet, -(x * (1 - x)).log().sum(-1))


@pytest.mark.parametrize("margin", [1.0, -0.1, math.nan])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(ValueError, match="margin in"):
        Logit(margin)


def test_the_logdet_of_a_rescaling_counts_every_entry_of_the_event():
    x = torch.full((5, 1, 4, 4), 8.5)
    z, logdet = Rescale(17, event_dims=3)(x)
    torch.testing.assert_close(z, torch.full_like(x, 0.5))
    torch.testing.assert_close(logdet, torch.full((5,), -16 * math.log(17)))
    logdet = Rescale(17).inverse_and_logdet(z)[1]
    assert logdet.shape == (5, 1, 4)
    torch.testing.assert_close(logdet, torch.full((5, 1, 4), 4 * math.log(17)))


@pytest.mark.parametrize("divisor", [0, -1])
def test_a_divisor_that_is_not_positive_is_refused(divisor):
    with pytest.raises(ValueError, match="positive divisor"):
        Rescale(divisor)


def test_preprocessed_pixels_have_the_published_jacobian():
    # log2 256 + log2 s (1 - s) - log2 (1 - margin), in bits, of one pixel of value 100.3.
    margin, x = 1e-5, torch.tensor([[100.3]], dtype=torch.float64)
    z, first = Rescale(256)(x)
    second = Logit(margin)(z)[1]
    s = (1 - margin) * 100.3 / 256 + margin / 2
    expected = 8 + math.log2(s) + math.log2(1 - s) - math.log2(1 - margin)
    assert -(first + second).item() / math.log(2) == pytest.approx(expected, rel=1e-12)
