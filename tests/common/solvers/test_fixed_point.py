import math

import pytest
import torch

from common.solvers import NotConverged, anderson, damped, fixed_point, solve
from tests.common.solvers.maps import Counted, normal, rotation, saturated, spectrum

SOLVERS = {solver.__name__: solver for solver in (fixed_point, anderson, damped, solve)}


@pytest.fixture(params=SOLVERS.values(), ids=SOLVERS)
def solver(request):
    return request.param


@pytest.mark.parametrize("lipschitz", [0.847, 0.922, 0.951])
def test_the_worst_linear_case_takes_log_tol_over_log_lipschitz_evaluations(lipschitz):
    x0 = torch.ones(1, 1, dtype=torch.float64)
    # Relative to the first residual, so that it alone is the start of the geometric sequence.
    scale = torch.full((1,), 1 - lipschitz, dtype=torch.float64)
    found = fixed_point(lambda x: lipschitz * x, x0, tol=1e-6, limit=500, scale=scale)
    law = math.log(1e-6) / math.log(lipschitz)
    assert found.evaluations == math.ceil(law) + 1  # the start is evaluated too


def test_what_is_returned_has_the_residual_it_claims(solver):
    t = normal(7, 3)
    g = saturated(3, 0.9)

    def f(w):
        return t - g(w)

    found = solver(f, t, tol=1e-9, limit=1000)
    assert found.residual.shape == (7,)
    assert (found.residual <= 1e-9).all()
    residual = (f(found.x) - found.x).abs().amax(-1) / (1 + t.abs().amax(-1))
    assert torch.equal(residual, found.residual)


def test_every_evaluation_is_counted(solver):
    t = normal(7, 3)
    g = saturated(3, 0.9)
    f = Counted(lambda w: t - g(w))
    assert solver(f, t, tol=1e-9, limit=1000).evaluations == f.calls


def test_a_sample_that_has_converged_moves_no_more_while_others_go_on(solver):
    t = normal(2, 3)
    rates = torch.tensor([[0.1], [0.9]], dtype=torch.float64)
    g = saturated(3, 1.0)
    f = Counted(lambda w: t - rates * g(w))
    found = solver(f, t, tol=1e-9, limit=1000)
    easy, hard = torch.stack(f.seen).unbind(1)
    last_move = [int((path.diff(dim=0) != 0).any(-1).nonzero().max()) for path in (easy, hard)]
    assert last_move[0] < last_move[1]
    assert torch.equal(found.x[0], easy[last_move[0] + 1])


def test_a_sample_does_not_depend_on_the_rest_of_the_batch(solver):
    t = normal(5, 3)
    g = saturated(3, 0.9)
    together = solver(lambda w: t - g(w), t, tol=1e-9, limit=1000).x
    for i in range(5):
        alone = solver(lambda w, i=i: t[i : i + 1] - g(w), t[i : i + 1], tol=1e-9, limit=1000).x
        # Products of another shape round differently.
        torch.testing.assert_close(together[i], alone[0], rtol=1e-12, atol=1e-12)


def test_an_event_may_have_several_dimensions_and_a_batch_none(solver):
    t = normal(2, 4, 1, 2, 3)
    g = spectrum(6, 0.8)

    def f(w):
        return t - g(w.flatten(-3)).reshape(w.shape)

    found = solver(f, t, tol=1e-9, limit=1000, event_dims=3)
    assert found.residual.shape == (2, 4)
    single = solver(
        lambda w: t[0, 0] - g(w.flatten(-3)).reshape(w.shape),
        t[0, 0],
        tol=1e-9,
        limit=1000,
        event_dims=3,
    )
    assert single.residual.shape == ()
    # Two solutions within 1e-9 (1 + max |t|) / (1 - L) of the root.
    torch.testing.assert_close(single.x, found.x[0, 0], rtol=0, atol=5e-8)


def test_an_empty_batch_needs_no_evaluation(solver):
    found = solver(lambda w: 1 / 0, torch.empty(0, 3), tol=1e-6, limit=10)
    assert found.x.shape == (0, 3)
    assert found.residual.shape == (0,)
    assert found.evaluations == 0


def test_no_graph_is_recorded(solver):
    t = normal(4, 2).requires_grad_()
    found = solver(lambda w: t - 0.5 * w, t, tol=1e-9, limit=100)
    assert not found.x.requires_grad


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_residual_that_is_not_finite_is_named_at_once(solver, value):
    t = normal(4, 2)
    t[2, 1] = value
    f = Counted(lambda w: t - 0.9 * w)
    with pytest.raises(NotConverged, match=r"residual (nan|inf) .* after 1 evaluations, in 1 of 4"):
        solver(f, torch.zeros_like(t), tol=1e-9, limit=100)
    assert f.calls == 1


def test_a_limit_that_is_too_low_raises_with_residual_tolerance_and_count(solver):
    t = normal(4, 64)
    g = spectrum(64, 0.95)
    with pytest.raises(NotConverged, match=r"residual \S+ > 1.0e-09 after 20 evaluations, the lim"):
        solver(lambda w: t - g(w), t, tol=1e-9, limit=20)


def test_a_tolerance_below_the_floor_of_float32_says_what_to_ask_for(solver):
    t = normal(50, 16).float()
    g = spectrum(16, 0.9)
    f = Counted(lambda w: t - g(w.double()).float())
    with pytest.raises(NotConverged, match=r"no longer falls .*float32 .* tol >= ") as caught:
        solver(f, t, tol=1e-9, limit=10**6)
    # Up to 300 evaluations reach the floor and up to 130 notice it.
    assert f.calls < 1000
    advice = float(str(caught.value).split(">= ")[-1])
    assert 4e-7 < advice < 4e-6  # 4 to 32 times the epsilon of 1.2e-7
    assert (solver(f, t, tol=advice, limit=1000).residual <= advice).all()


def test_plain_iteration_on_a_rotation_stagnates_instead_of_turning_for_ever():
    turn = rotation(1.0)
    f = Counted(lambda w: w @ turn)
    with pytest.raises(NotConverged, match="expected a contraction"):
        fixed_point(f, normal(5, 2), tol=1e-9, limit=10**6)
    assert f.calls < 50
