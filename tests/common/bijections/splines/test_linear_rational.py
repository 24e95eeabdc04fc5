import torch

from common.bijections.splines import LinearRational, RationalQuadratic
from common.bijections.splines.knots import UNIT_SLOPE
from tests.common.bijections.splines.kinds import draw


def published(x, x0, x1, y0, y1, middle, d0, d1):
    """Return y as published, with three weights and the value at the middle point."""
    s = (y1 - y0) / (x1 - x0)
    a, b = torch.ones_like(d0), (d0 / d1).sqrt()
    m = (middle * a * d0 + (1 - middle) * b * d1) / s
    ym = ((1 - middle) * a * y0 + middle * b * y1) / ((1 - middle) * a + middle * b)
    t = (x - x0) / (x1 - x0)
    left = (a * y0 * (middle - t) + m * ym * t) / (a * (middle - t) + m * t)
    right = (m * ym * (1 - t) + b * y1 * (t - middle)) / (m * (1 - t) + b * (t - middle))
    return torch.where(t <= middle, left, right)


def tables(spline, raw):
    across, up, middle, d = spline._tables(raw)
    return across, up, middle, d


def test_the_map_is_the_published_one():
    spline = LinearRational()
    x, raw = draw(spline, 2000)
    x = x.clamp(-3, 3)
    across, up, middle, d = tables(spline, raw)
    k = (x[:, None] >= across[:, 1:-1]).sum(1, keepdim=True)
    at = [t.gather(1, k + i)[:, 0] for t in (across, up) for i in (0, 1)]
    slopes = [d.gather(1, k + i)[:, 0] for i in (0, 1)]
    expected = published(x, *at, middle.gather(1, k)[:, 0], *slopes)
    # The published form subtracts numbers of the size of the box.
    torch.testing.assert_close(spline.forward(x, raw)[0], expected, rtol=0, atol=1e-12)


def test_both_halves_of_a_bin_join_with_equal_slopes_at_the_middle_point():
    spline = LinearRational()
    raw = draw(spline, 200)[1]
    across, up, middle, d = tables(spline, raw)
    for j in range(8):
        width = across[:, j + 1] - across[:, j]
        place = across[:, j] + middle[:, j] * width
        before, after = (spline.forward(place + sign * 1e-9, raw) for sign in (-1, 1))
        # Over a distance of 2e-9: slopes reach 2e3, and log slopes change by 1e4 a unit.
        torch.testing.assert_close(before[0], after[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(before[1], after[1], rtol=0, atol=1e-4)
        # The value there, by the published formula.
        a, b = d[:, j].rsqrt(), d[:, j + 1].rsqrt()
        weight = middle[:, j] * b / ((1 - middle[:, j]) * a + middle[:, j] * b)
        value = up[:, j] + weight * (up[:, j + 1] - up[:, j])
        torch.testing.assert_close(after[0], value, rtol=0, atol=1e-5)


def test_zero_logits_keep_the_knots_and_have_slope_0_6941_at_interior_ones():
    spline = LinearRational()
    raw = torch.zeros(9, spline.parameters, dtype=torch.float64)
    x = torch.linspace(-3, 3, 9, dtype=torch.float64)
    y, log_slope = spline.forward(x, raw)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-14)
    expected = torch.full((9,), 0.694147, dtype=torch.float64)  # ln 2 + 1e-3
    expected[[0, -1]] = 1.0
    torch.testing.assert_close(log_slope.exp(), expected, rtol=0, atol=1e-6)


def test_the_scale_acts_on_width_and_height_logits_alone():
    spline, plain = LinearRational(logit_scale=0.25), LinearRational()
    x, raw = draw(spline, 300)
    scaled = raw.clone()
    scaled[:, :16] *= 0.25
    for a, b in zip(spline.forward(x, raw), plain.forward(x, scaled), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_the_numbers_of_parameters_are_the_published_ones():
    for make, count in ((LinearRational, 4), (RationalQuadratic, 3)):
        assert make(bins=8).parameters == 8 * count - 1
        assert make(bins=8, tails=False).parameters == 8 * count + 1


def test_the_slope_logit_of_the_identity_gives_slope_one():
    slope = 1e-3 + torch.nn.functional.softplus(torch.tensor(UNIT_SLOPE, dtype=torch.float64))
    torch.testing.assert_close(slope.item(), 1.0, rtol=0, atol=1e-15)
