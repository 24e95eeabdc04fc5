import math

import pytest
import torch

from common.solvers import NotConverged, anderson, damped, fixed_point, solve
from tests.common.solvers.maps import Counted, normal, rotation


@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0, 3.0])
def test_averaging_solves_a_rotation_that_plain_iteration_cannot(angle):
    t, turn = normal(20, 2), rotation(angle)

    def f(w):
        return t - w @ turn

    with pytest.raises(NotConverged):
        fixed_point(f, t, tol=1e-9, limit=10_000)
    found = damped(f, t, tol=1e-9, limit=10_000)
    eye = torch.eye(2, dtype=torch.float64)
    exact = torch.linalg.solve(eye + turn, t, left=False)
    # |(I + R)^-1| = 1 / (2 cos(angle / 2)) < 8, times tol * (1 + max |t|) * sqrt(2).
    torch.testing.assert_close(found.x, exact, rtol=0, atol=1e-7)


def test_averaging_beats_plain_iteration_where_that_turns_in_a_slow_spiral():
    t, turn = normal(20, 2), 0.99 * rotation(1.5)
    plain = fixed_point(lambda w: t - w @ turn, t, tol=1e-9, limit=5000)
    found = damped(lambda w: t - w @ turn, t, tol=1e-9, limit=5000)
    # |1/2 + i L / 2| = 0.70 per step against L = 0.99.
    assert found.evaluations < plain.evaluations / 20


def test_alpha_shrinks_for_the_sample_that_needs_it_alone():
    # |1 - a + a L i| < 1 asks for a < 2 / (1 + L^2): at L = 2, a = 1/2 grows and a = 0.35 shrinks.
    t = normal(2, 2)
    stretch = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
    turn = rotation(torch.pi / 2)
    f = Counted(lambda w: t + stretch * (w @ turn))
    found = damped(f, t, tol=1e-9, limit=5000)
    assert (found.residual <= 1e-9).all()
    alone = Counted(lambda w: t[:1] + w @ turn)
    damped(alone, t[:1], tol=1e-9, limit=5000)
    paths = torch.stack(f.seen)[: alone.calls, 0], torch.stack(alone.seen)[:, 0]
    # Products of another shape round differently.
    torch.testing.assert_close(*paths, rtol=1e-12, atol=1e-12)


def test_a_map_without_a_fixed_point_raises():
    with pytest.raises(NotConverged, match="no longer falls"):
        damped(lambda w: w + 1, normal(3, 2), tol=1e-9, limit=10**6)


def test_a_long_way_at_constant_residual_keeps_alpha():
    # f is a translation by 1 for the first 40 steps of 1/2; with a smaller alpha they were more.
    x0 = torch.full((1, 1), 20.0, dtype=torch.float64)
    found = damped(lambda w: w - w.clamp(-1, 1), x0, tol=1e-9, limit=1000)
    # 38 steps to 1, then halvings from 1 to 1e-9 (1 + 20).
    assert found.evaluations == pytest.approx(38 + math.log2(1e9 / 21), abs=3)


def test_the_combination_does_not_average_where_acceleration_converges():
    t, turn = normal(20, 2), rotation(1.0)
    both = solve(lambda w: t - 0.9 * w @ turn, t, tol=1e-9, limit=1000)
    alone = anderson(lambda w: t - 0.9 * w @ turn, t, tol=1e-9, limit=1000)
    assert both.evaluations == alone.evaluations
    assert torch.equal(both.x, alone.x)


def test_the_combination_averages_the_samples_for_which_acceleration_stagnates():
    # Eight rotations by different angles. Acceleration solves them halved, but not three times
    # expansive.
    turn = torch.block_diag(*map(rotation, torch.linspace(0.2, 1.55, 8).tolist()))
    t = normal(20, 16)
    half = torch.full((20, 1), 0.5, dtype=torch.float64)
    strength = half.clone()
    strength[10:] = 3
    f = Counted(lambda w: t - strength * (w @ turn))
    with pytest.raises(NotConverged, match=r"anderson: .* no longer falls .* in 10 of 20"):
        anderson(f, t, tol=1e-9, limit=10_000)
    f = Counted(f.f)
    found = solve(f, t, tol=1e-9, limit=10_000)
    assert (found.residual <= 1e-9).all()
    assert found.evaluations == f.calls
    accelerated = anderson(lambda w: t - half * (w @ turn), t, tol=1e-9, limit=100)
    assert torch.equal(found.x[:10], accelerated.x[:10])
    with pytest.raises(
        NotConverged, match=r"solve: accelerated \d+ times, then averaged: .* limit"
    ):
        solve(f, t, tol=1e-9, limit=200)
