import math

import pytest
import torch

from common.solvers import NotConverged
from monotone_flow.toys import TOYS, pinwheel


def forward(f, arm):
    """x of the published code at features (N, 2) and arms (N,)."""
    angle = 2 * math.pi / 5 * arm + 0.25 * f[:, 0].exp()
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    return 2 * torch.einsum("ti,tij->tj", f, turn)


def log_normal(f):
    standard = (f - f.new_tensor([1, 0])) / f.new_tensor([0.3, 0.1])
    return -0.5 * standard.square().sum(1) - math.log(2 * math.pi * 0.3 * 0.1)


def by_search(x, nodes=400_001):
    """The log-density at one point, from all f of its length whose arms pass within a cell of x.

    The angle of forward(f) - angle(x) as a function of the angle of f changes sign at a preimage.
    """
    u = torch.linspace(-math.pi, math.pi, nodes, dtype=torch.float64)
    length = x.norm() / 2

    def features(angle):
        return length * torch.stack((angle.cos(), angle.sin()), 1)

    terms = []
    for arm in range(5):

        def gap(angle, arm=arm):
            y = forward(features(angle), torch.full_like(angle, arm))
            cross, dot = y[:, 1] * x[0] - y[:, 0] * x[1], y @ x
            return torch.atan2(cross, dot)

        value = gap(u)
        # A jump between -pi and pi is the opposite point, no preimage.
        change = (value[:-1] * value[1:] <= 0) & ((value[:-1] - value[1:]).abs() < math.pi)
        low, high = u[:-1][change], u[1:][change]
        rising = gap(high) > gap(low)
        for _ in range(60):
            middle = 0.5 * (low + high)
            beyond = (gap(middle) > 0) == rising
            low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
        f = features(low).requires_grad_()
        y = forward(f, torch.full_like(low, arm))
        J = torch.stack(
            [torch.autograd.grad(y[:, i].sum(), f, retain_graph=True)[0] for i in (0, 1)]
        )
        terms.append(log_normal(f.detach()) - torch.linalg.det(J.transpose(0, 1)).abs().log())
    return torch.cat(terms).logsumexp(0) - math.log(5)


@pytest.mark.parametrize("reach", [1.0, 2.5, 5.0, 7.0])
def test_it_is_the_sum_over_all_preimages_that_a_search_finds(reach):
    generator = torch.Generator().manual_seed(0)
    x = reach * (2 * torch.rand(4, 2, generator=generator, dtype=torch.float64) - 1)
    expected = torch.stack([by_search(point) for point in x])
    # The preimages of the search are exact to rounding; slopes of h up to 100 multiply that.
    torch.testing.assert_close(TOYS["pinwheel"].log_prob(x), expected, rtol=0, atol=1e-9)


def test_every_draw_is_a_preimage_of_its_point():
    generator = torch.Generator().manual_seed(0)
    f = torch.randn(10_000, 2, generator=generator, dtype=torch.float64)
    f = f * f.new_tensor([0.3, 0.1]) + f.new_tensor([1, 0])
    x = forward(f, torch.randint(5, (10_000,), generator=generator).double())
    determinant = 4 * (1 + 0.25 * f[:, 0].exp() * f[:, 1])
    alone = log_normal(f) - determinant.abs().log() - math.log(5)
    # Other preimages can only add; most points have no other within reach.
    gain = TOYS["pinwheel"].log_prob(x) - alone
    assert gain.min() > -1e-9
    assert gain.median() < 1e-9


def test_at_the_centre_all_arms_meet():
    centre = torch.zeros(1, 2, dtype=torch.float64)
    expected = log_normal(centre) - math.log(4)
    torch.testing.assert_close(TOYS["pinwheel"].log_prob(centre), expected)


def test_the_density_has_the_symmetry_of_five_arms():
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(1000, 2, generator=generator, dtype=torch.float64)
    angle = torch.tensor(2 * math.pi / 5, dtype=torch.float64)
    cos, sin = angle.cos(), angle.sin()
    turned = x @ torch.stack((torch.stack((cos, sin)), torch.stack((-sin, cos))))
    log_prob = TOYS["pinwheel"].log_prob
    torch.testing.assert_close(log_prob(turned), log_prob(x), rtol=0, atol=1e-7)


def test_more_preimages_of_far_points_change_nothing(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    radius = torch.linspace(6, 2 * pinwheel.FAR, 500, dtype=torch.float64)[:, None]
    x = 0.999 * radius * direction / direction.norm(dim=1, keepdim=True)
    few = TOYS["pinwheel"].log_prob(x)
    monkeypatch.setattr(pinwheel, "LEVELS", 4 * pinwheel.LEVELS)
    torch.testing.assert_close(TOYS["pinwheel"].log_prob(x), few, rtol=0, atol=1e-9)
    assert few[-1] < -250


def test_a_solve_that_may_not_end_says_so(monkeypatch):
    monkeypatch.setattr(pinwheel, "_LIMIT", 2)
    with pytest.raises(NotConverged, match=r"preimages with residuals up to .* after 2 steps"):
        TOYS["pinwheel"].log_prob(torch.ones(1, 2))
