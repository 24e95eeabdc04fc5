import pytest
import torch

from common.bijections.splines import Quadratic
from tests.common.bijections.splines.kinds import draw


def test_the_published_boundary_has_slope_0_8815_for_equal_logits():
    spline = Quadratic(boundary="published")
    raw = torch.zeros(2, spline.parameters, dtype=torch.float64)
    y, log_slope = spline.forward(torch.tensor([-3.0, 3.0], dtype=torch.float64), raw)
    torch.testing.assert_close(y, torch.tensor([-3.0, 3.0], dtype=torch.float64))
    # By hand: end density 13/15, area 59/60, and the floor: 0.001 + 0.999 * 52/59.
    expected = torch.full((2,), 0.001 + 0.999 * 52 / 59, dtype=torch.float64)
    torch.testing.assert_close(log_slope.exp(), expected, rtol=0, atol=1e-12)
    assert round(expected[0].item(), 4) == 0.8815


def test_the_published_boundary_still_inverts():
    spline = Quadratic(boundary="published")
    x, raw = draw(spline, 1000)
    torch.testing.assert_close(
        spline.inverse(spline.forward(x, raw)[0], raw)[0], x, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("boundary", ["corrected", "published"])
def test_equal_densities_at_both_ends_of_a_bin_invert(boundary):
    spline = Quadratic(boundary=boundary)
    raw = torch.zeros(101, spline.parameters, dtype=torch.float64, requires_grad=True)
    x = torch.linspace(-3, 3, 101, dtype=torch.float64)
    back, log_back = spline.inverse(spline.forward(x, raw)[0], raw)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-14)
    assert torch.autograd.grad((back + log_back).sum(), raw)[0].isfinite().all()


def test_the_published_boundary_has_no_identity():
    with pytest.raises(ValueError, match="use 'corrected'"):
        Quadratic(boundary="published").identity()
    with pytest.raises(ValueError, match="expected corrected or published, got 'other'"):
        Quadratic(boundary="other")
    # Without tails there is no boundary to set.
    assert Quadratic(tails=False, boundary="published").identity().shape == (17,)
