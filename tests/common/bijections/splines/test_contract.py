import math

import pytest
import torch

from tests.common.bijections.splines.kinds import KINDS, draw

BOTH = pytest.mark.parametrize("tails", [True, False], ids=["tails", "no tails"])
EACH = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@EACH
@BOTH
def test_the_log_slope_is_that_of_autograd_in_both_directions(make, tails):
    spline = make(tails=tails)
    x, raw = draw(spline, 500)
    for direction in (spline.forward, spline.inverse):
        v = x.clone().requires_grad_()
        image, log_slope = direction(v, raw)
        (slope,) = torch.autograd.grad(image.sum(), v)
        # Slopes reach 1e3, and the knots round at 1e-15: the digits that remain.
        torch.testing.assert_close(log_slope, slope.log(), rtol=0, atol=1e-9)


@EACH
@BOTH
@pytest.mark.parametrize("bins", [2, 8, 64])
def test_the_inverse_undoes_the_map_and_the_log_slopes_cancel(make, tails, bins):
    spline = make(bins=bins, tails=tails)
    x, raw = draw(spline, 1000)
    y, log_slope = spline.forward(x, raw)
    back, log_back = spline.inverse(y, raw)
    # Rounding of y over slopes down to about 1e-4, and the change of the log slope over that.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_slope + log_back, torch.zeros_like(x), rtol=0, atol=1e-8)


@EACH
@BOTH
def test_gradients_of_argument_and_parameters_are_right_in_both_directions(make, tails):
    spline = make(bins=3, tails=tails, logit_scale=0.7)
    x, raw = draw(spline, 12)
    inputs = (x.requires_grad_(), raw.requires_grad_())
    assert torch.autograd.gradcheck(spline.forward, inputs)
    assert torch.autograd.gradcheck(spline.inverse, inputs)


@EACH
@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_values_and_gradients_inside_the_box(make, tails, dtype):
    spline = make(tails=tails)
    x, raw = draw(spline, 2000, dtype=dtype)
    raw = (raw.sign() * 1e4).requires_grad_()
    x.requires_grad_()
    for direction in (spline.forward, spline.inverse):
        image, log_slope = direction(x, raw)
        gradients = torch.autograd.grad((image + log_slope).sum(), (x, raw))
        for tensor in (image, log_slope, *gradients):
            assert tensor.isfinite().all()
        inside = (x >= spline.lower) & (x <= spline.upper)
        assert image[inside].min() >= spline.lower
        assert image[inside].max() <= spline.upper


@EACH
def test_outside_the_box_the_map_is_the_identity_even_for_a_whole_batch(make):
    spline = make()
    raw = torch.randn(4, spline.parameters, requires_grad=True)
    x = torch.tensor([-5.0, 3.5, math.inf, -math.inf])
    for direction in (spline.forward, spline.inverse):
        image, log_slope = direction(x, raw)
        assert torch.equal(image, x)
        assert torch.equal(log_slope, torch.zeros(4))
        (gradient,) = torch.autograd.grad((image + log_slope)[:2].sum(), raw)
        assert torch.equal(gradient, torch.zeros_like(raw))


@EACH
@BOTH
def test_an_empty_batch_gives_empty_results(make, tails):
    spline = make(tails=tails)
    raw = torch.zeros(0, 3, spline.parameters)
    for direction in (spline.forward, spline.inverse):
        assert [tuple(t.shape) for t in direction(torch.zeros(0, 3), raw)] == [(0, 3), (0, 3)]


@EACH
def test_value_and_slope_join_those_of_the_identity_at_both_ends(make):
    spline = make()
    raw = draw(spline, 200)[1]
    for end in (-3.0, 3.0):
        x = torch.full((200,), end, dtype=torch.float64)
        y, log_slope = spline.forward(x, raw)
        torch.testing.assert_close(y, x, rtol=0, atol=1e-14)
        torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


@EACH
def test_a_knot_has_one_value_and_one_slope_from_either_side(make):
    spline = make()
    raw = draw(spline, 100)[1]
    across = spline._tables(raw)[0]
    if make is KINDS["quadratic"]:  # whose tables are on [0, 1]
        across = 6 * across - 3
    for j in range(1, 8):
        knot = across[:, j]
        step = 1e-9
        sides = [spline.forward(knot + sign * step, raw) for sign in (-1, 0, 1)]
        for value, log_slope in sides:
            # Over a distance of 1e-9: slopes reach 1e2, and log slopes change by 1e4 a unit.
            torch.testing.assert_close(value, sides[1][0], rtol=0, atol=1e-6)
            torch.testing.assert_close(log_slope, sides[1][1], rtol=0, atol=1e-4)


@EACH
@pytest.mark.parametrize("bound", [16.0, 32.0, 64.0, 1000.0])
def test_the_ends_of_a_large_box_are_found_in_float32(make, bound):
    spline = make(bound=bound)
    raw = draw(spline, 50, dtype=torch.float32)[1]
    for end in (-bound, bound):
        x = torch.full((50,), end)
        for direction in (spline.forward, spline.inverse):
            # The quadratic spline adds up to its end: a few roundings.
            torch.testing.assert_close(direction(x, raw)[0], x, rtol=1e-6, atol=0)


@EACH
def test_a_chain_without_tails_stays_in_the_unit_interval(make):
    spline = make(tails=False)
    x, _ = draw(spline, 5000, dtype=torch.float32)
    x[:2] = torch.tensor([0.0, 1.0])
    generator = torch.Generator().manual_seed(1)
    for _ in range(10):
        raw = 3 * torch.randn(5000, spline.parameters, generator=generator)
        x = spline.forward(x, raw)[0]
        assert x.min() >= 0
        assert x.max() <= 1
    assert torch.equal(x[:2], torch.tensor([0.0, 1.0]))


@EACH
@BOTH
def test_identity_parameters_give_the_identity(make, tails):
    spline = make(tails=tails)
    x, _ = draw(spline, 1000)
    inner = x.clamp(spline.lower, spline.upper)
    raw = spline.identity().double().expand(1000, -1)
    for direction in (spline.forward, spline.inverse):
        image, log_slope = direction(inner, raw)
        # The parameters come in float32, and the slope one with them.
        torch.testing.assert_close(image, inner, rtol=0, atol=1e-7)
        torch.testing.assert_close(log_slope, torch.zeros_like(inner), rtol=0, atol=1e-7)


@EACH
def test_half_precision_parameters_are_worked_on_in_float32(make):
    spline = make()
    x, raw = draw(spline, 100, dtype=torch.float32)
    raw = raw.bfloat16()
    y, log_slope = spline.forward(x, raw)
    assert y.dtype == log_slope.dtype == torch.float32
    assert torch.equal(y, spline.forward(x, raw.float())[0])
    low, log_low = spline.forward(x.bfloat16(), raw)
    assert low.dtype == torch.bfloat16
    assert log_low.dtype == torch.float32


@EACH
def test_parameters_may_have_any_strides_and_be_shared(make):
    spline = make()
    x = draw(spline, 24)[0].view(2, 3, 4)
    raw = torch.randn(spline.parameters, 3, 4, dtype=torch.float64)
    view = raw.movedim(0, -1).expand(2, 3, 4, -1)
    for a, b in zip(spline.forward(x, view), spline.forward(x, view.contiguous()), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@EACH
def test_the_map_vectorises(make):
    spline = make()
    x, raw = draw(spline, 7)
    batched = torch.func.vmap(torch.func.grad(lambda v, r: spline.forward(v, r)[0]))(x, raw)
    torch.testing.assert_close(batched, spline.forward(x, raw)[1].exp(), rtol=1e-9, atol=0)


@EACH
def test_wrong_arguments_are_refused(make):
    with pytest.raises(ValueError, match="expected 2 to 500 bins, got 1"):
        make(bins=1)
    with pytest.raises(ValueError, match="expected a positive bound, got 0"):
        make(bound=0)
    spline = make()
    with pytest.raises(ValueError, match=rf"expected {spline.parameters} parameters .* \(5, 7\)"):
        spline.forward(torch.zeros(5), torch.zeros(5, 7))
