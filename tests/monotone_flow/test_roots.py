import pytest
import torch
from torch import Tensor

from common.solvers import NotConverged
from monotone_flow import roots, saturated
from monotone_flow.blocks import log_determinant
from monotone_flow.roots import (
    HARD,
    TOLERANCE_EPS,
    add_identity,
    apply,
    apply_transposed,
    invert,
    solve,
)
from monotone_flow.tape import evaluate
from tests.monotone_flow.small import normal, seeded, small_nets

L = 0.95
# Saturated and linear, with kinks, bent, nearly linear, and as drawn.
MAKERS = {
    "rotations": saturated.rotations,
    "folds": saturated.folds,
    "bends": saturated.bends,
    "sines": saturated.sines,
    "cpila": saturated.cpila,
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


@pytest.fixture(params=[1, 2, 3])
def features(request):
    return request.param


def errors(net, w: Tensor, target: Tensor) -> Tensor:
    """Return residuals (K, B) as the tolerance counts them, in float64."""
    double = net.with_tensors(tuple(tensor.double() for tensor in net.tensors()))
    w, target = w.double(), target.double()
    residual = w + evaluate(double, w, tangents=False).value - target
    return residual.abs().amax(1) / (1 + target.abs().amax(1) + w.abs().amax(1))


@pytest.fixture
def averages(monkeypatch):
    """Return a list that grows by the evaluations of each fallback."""
    found = []
    inner = roots.averaged

    def counted(*args, **kwargs):
        solution = inner(*args, **kwargs)
        found.append(solution.evaluations)
        return solution

    monkeypatch.setattr(roots, "averaged", counted)
    return found


# Solutions


@pytest.mark.parametrize("size", [1.0, 1e4])
def test_saturated_nets_are_solved_to_rounding(make, features, size):
    net = make(3, features, L, seeded(1))
    target = size * normal(3, features, 200)
    found = solve(net, target, tangents=True)
    # Products of another batch size round otherwise, by less than the tolerance.
    assert errors(net, found.w, target).max() <= 2 * TOLERANCE_EPS * torch.finfo(target.dtype).eps
    tape = evaluate(net, found.w, tangents=True)
    torch.testing.assert_close(found.tape.out, tape.out)
    assert found.evaluations >= 1


def test_learned_dense_nets_are_solved_to_rounding(features):
    for activation in ("clipswish", "crelu"):
        (net,) = small_nets(features, activation, coefficient=0.99, depth=3).nets()
        net = net.detach()
        target = 3 * normal(2, features, 100)
        assert errors(net, solve(net, target, tangents=True).w, target).max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tolerance_is_that_of_the_dtype(features, dtype):
    net = saturated.bends(2, features, L, seeded(2))
    net = net.with_tensors(tuple(tensor.to(dtype) for tensor in net.tensors()))
    target = normal(2, features, 300).to(dtype)
    found = solve(net, target, tangents=True)
    assert found.w.dtype == dtype
    # float64 sees the rounding of the net as well, which is of the tolerance's order.
    assert errors(net, found.w, target).max() <= 2 * TOLERANCE_EPS * torch.finfo(dtype).eps


def test_a_looser_tolerance_takes_less_work():
    net = saturated.bends(2, 2, L, seeded(3))
    target = normal(2, 2, 100)
    loose = solve(net, target, tangents=True, tol=1e-3)
    assert errors(net, loose.w, target).max() <= 1e-3
    assert loose.evaluations < solve(net, target, tangents=True).evaluations


def test_an_item_alone_has_the_solution_it_has_in_a_batch(make, features):
    net = make(2, features, L, seeded(4))
    target = normal(2, features, 50)
    together = solve(net, target, tangents=True)
    alone = solve(net, target[..., 7:8], tangents=True)
    # Two residuals of the tolerance, over the smallest slope 1 - L.
    close = {"rtol": 0, "atol": 4 * TOLERANCE_EPS * 2.3e-16 * 10 / (1 - L)}
    torch.testing.assert_close(alone.w, together.w[..., 7:8], **close)


def test_models_do_not_mix(make, features):
    both = make(2, features, L, seeded(5))
    target = normal(2, features, 40)
    together = solve(both, target, tangents=True).w
    for k in range(2):
        own = both.with_tensors(tuple(tensor[k : k + 1] for tensor in both.tensors()))
        alone = solve(own, target[k : k + 1], tangents=True).w
        torch.testing.assert_close(alone, together[k : k + 1], rtol=1e-11, atol=1e-12)


def test_an_empty_batch_has_an_empty_solution(features):
    net = saturated.bends(2, features, L, seeded())
    found = solve(net, normal(2, features, 0), tangents=True)
    assert found.w.shape == (2, features, 0)
    assert found.tape.jacobian.shape == (2, features, features, 0)
    assert found.evaluations == 0


# Two and more dimensions


@pytest.mark.parametrize("batch", [10, 60, 1000])
def test_hard_samples_by_themselves_end_where_all_together_end(monkeypatch, batch):
    net = saturated.folds(2, 2, L, seeded(6), depth=4)
    target = 2 * normal(2, 2, batch)
    sizes = []
    inner = roots._safe_newton

    def noted(net, w, *rest):
        sizes.append(w.shape[-1])
        return inner(net, w, *rest)

    monkeypatch.setattr(roots, "_safe_newton", noted)
    found = solve(net, target, tangents=True)
    assert sizes, "no sample was hard"
    assert all(size in (*HARD, batch) and size <= batch for size in sizes)
    w, tape, _ = inner(net, target, target, TOLERANCE_EPS * 2.3e-16)
    # Two residuals of 16 epsilon, relative to some 10 here, over the smallest slope 1 - L.
    torch.testing.assert_close(found.w, w, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.tape.value, tape.value, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.tape.jacobian, tape.jacobian)
    fresh = evaluate(net, found.w, tangents=True)
    torch.testing.assert_close(found.tape.rows, fresh.rows)
    torch.testing.assert_close(found.tape.slopes, fresh.slopes)


def test_a_few_hard_samples_among_many_cost_little():
    net = saturated.sines(1, 2, L, seeded(7))
    # Sines of period 600 bend where a sample is far out: there Newton needs more steps.
    target = 0.1 * normal(1, 2, 1000)
    easy = solve(net, target, tangents=True).evaluations
    target[..., :5] = 400 * normal(1, 2, 5, seed=1)
    found = solve(net, target, tangents=True)
    assert errors(net, found.w, target).max() < 1e-14
    # Dozens of steps of 32 samples out of a thousand.
    assert found.evaluations < easy + 6


@pytest.mark.parametrize("lipschitz", [0.95, 0.99])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kinks_that_stop_newton_are_left_to_averaged_steps(averages, lipschitz, dtype):
    # Newton may cycle between the pieces of a fold for ever.
    net = saturated.folds(8, 2, lipschitz, seeded())
    net = net.with_tensors(tuple(tensor.to(dtype) for tensor in net.tensors()))
    target = 3 * normal(8, 2, 200).to(dtype)
    found = solve(net, target, tangents=True)
    assert averages
    assert errors(net, found.w, target).max() <= 2 * TOLERANCE_EPS * torch.finfo(dtype).eps


def test_averaged_steps_alone_find_the_same_solution(averages, monkeypatch):
    net = saturated.folds(2, 2, 0.8, seeded(8))
    target = normal(2, 2, 50)
    expected = solve(net, target, tangents=True)
    monkeypatch.setattr(roots, "JOINT_STEPS", {torch.float64: 1})
    monkeypatch.setattr(roots, "LIMIT", 1)
    averages.clear()
    found = solve(net, target, tangents=True)
    assert averages
    # As above, with 1 - L of 0.2.
    torch.testing.assert_close(found.w, expected.w, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.tape.out, expected.tape.out, rtol=0, atol=1e-12)
    assert found.evaluations > averages[0]


# One dimension


def test_scalars_are_bracketed_without_tangents_as_well():
    net = saturated.folds(3, 1, L, seeded(9), depth=5)
    target = 5 * normal(3, 1, 500)
    found = solve(net, target, tangents=False)
    assert errors(net, found.w, target).max() <= 4 * TOLERANCE_EPS * 2.3e-16
    assert found.tape.out.shape == (3, 1, 500)
    again = solve(net, target, tangents=True)
    torch.testing.assert_close(again.w, found.w)
    assert again.tape.jacobian.shape == (3, 1, 1, 500)


def test_brackets_reach_wherever_the_bias_moves_the_solution():
    for slope in (0.95, -0.95):
        net = saturated.linear(torch.full((2, 1, 1), slope, dtype=torch.float64))
        bias = torch.tensor([[1e5], [-1e5]], dtype=torch.float64)
        net = net.with_tensors((*net.weights, bias))
        target = normal(2, 1, 30)
        found = solve(net, target, tangents=False)
        expected = (target - bias.unsqueeze(-1)) / (1 + slope)
        torch.testing.assert_close(found.w, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("make", "most"), [(saturated.folds, 7), (saturated.bends, 10)])
def test_scalars_take_few_evaluations_each(make, most):
    # Halving brackets to rounding would take 40, and secants with one end that never moves 16.
    net = make(3, 1, L, seeded())
    assert solve(net, 5 * normal(3, 1, 2000), tangents=False).evaluations < most


def test_equal_targets_have_equal_solutions():
    net = saturated.folds(1, 1, L, seeded(10))
    target = torch.full((1, 1, 20), 0.7, dtype=torch.float64)
    w = solve(net, target, tangents=False).w
    torch.testing.assert_close(w, w[..., :1].expand_as(w), rtol=0, atol=1e-13)


# Errors


def test_weights_that_are_not_finite_have_no_solution(features):
    net = saturated.bends(2, features, L, seeded())
    weights = [weight.clone() for weight in net.weights]
    weights[1][1] = torch.nan
    broken = net.with_tensors((*weights, *net.biases))
    with pytest.raises(NotConverged, match=r"finite weights|not finite|nan"):
        solve(broken, normal(2, features, 10), tangents=True)


def test_a_target_that_is_not_finite_has_no_solution(features):
    target = normal(2, features, 10)
    target[0, 0, 3] = torch.nan
    with pytest.raises(NotConverged):
        solve(saturated.bends(2, features, L, seeded()), target, tangents=True)


def test_an_equation_without_a_solution_is_refused(features):
    # w + g(w) = 0 w + 0.
    net = saturated.linear(-torch.eye(features, dtype=torch.float64).unsqueeze(0))
    with pytest.raises(NotConverged):
        solve(net, torch.ones(1, features, 3, dtype=torch.float64), tangents=True)


# Small matrices


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_small_matrices_are_inverted_and_applied(n):
    jacobian = 0.3 * normal(2, n, n, 5)
    matrix = add_identity(jacobian)
    eye = torch.eye(n, dtype=torch.float64)
    dense = matrix.movedim(-1, 1)
    torch.testing.assert_close(dense, eye + jacobian.movedim(-1, 1))
    torch.testing.assert_close(add_identity(jacobian, -1.0).movedim(-1, 1), 2 * eye - dense)
    torch.testing.assert_close(invert(matrix).movedim(-1, 1), torch.linalg.inv(dense))
    vector = normal(2, n, 5, seed=1)
    columns = vector.movedim(-1, 1).unsqueeze(-1)
    torch.testing.assert_close(apply(matrix, vector).movedim(-1, 1), (dense @ columns)[..., 0])
    torch.testing.assert_close(
        apply_transposed(matrix, vector).movedim(-1, 1), (dense.mT @ columns)[..., 0]
    )
    positive = add_identity(0.1 * jacobian)
    torch.testing.assert_close(
        log_determinant(positive), torch.linalg.slogdet(positive.movedim(-1, 1)).logabsdet
    )
