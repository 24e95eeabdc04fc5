import dataclasses

import pytest
import torch
from torch.testing import assert_close

from inverse_problems.recovery.budgets import LBFGS
from inverse_problems.recovery.lbfgs import lbfgs
from inverse_problems.recovery.solved import Status
from tests.inverse_problems.recovery.problems import (
    Counted,
    Poisoned,
    quadratic,
    rosenbrock,
)

MODES = ("fixed", "armijo", "strong_wolfe")
# Rosenbrock's valley is left where steps have full length, so most problems take a tenth.
SHORT = LBFGS(lr=0.1, outer=4, inner=20)


def everywhere(problem, z0):
    """Return the same numbers as one image at a time would give."""
    singles = range(len(z0))
    return [(problem.take(torch.tensor([i])), z0[i : i + 1]) for i in singles]


def published(problem, z0, budget):
    """Follow torch's own optimiser with one image: iterates after each outer step, evaluations."""
    z = z0.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [z],
        lr=budget.lr,
        max_iter=budget.inner,
        history_size=budget.memory,
        tolerance_grad=budget.tolerance_grad,
        tolerance_change=budget.tolerance_change,
    )

    def closure():
        optimiser.zero_grad()
        value = problem(z).sum()
        value.backward()
        return value

    path = []
    for _ in range(budget.outer):
        optimiser.step(closure)
        path.append(z.detach().clone())
    return path, optimiser.state[z]["func_evals"]


def benign(batch):
    """Return a quadratic of more dimensions than we take iterations.

    After as many, its pairs are linearly dependent, and rounding errors grow by 1e10 in any
    implementation of fixed steps.
    """
    return quadratic(batch, k=120, condition=1e2)


@pytest.mark.parametrize("memory", [100, 5], ids=["all pairs", "five pairs"])
@pytest.mark.parametrize("make", [rosenbrock, benign])
def test_fixed_steps_of_one_image_are_those_of_torch(make, memory):
    problem, z0 = make(1)
    for outer in (1, 4):
        budget = dataclasses.replace(SHORT, outer=outer, memory=memory)
        ours = lbfgs(problem, z0, budget)
        theirs, evaluations = published(problem, z0, budget)
        assert_close(ours.last, theirs[-1], rtol=1e-10, atol=1e-10)
        # No tolerance was met, so torch evaluated all points but the last one.
        assert ours.evaluations.item() == evaluations + 1 == 20 * outer + 1


def test_torch_is_followed_through_tolerances_and_skipped_pairs():
    # Full steps in the valley give pairs of negative curvature; later the changes become tiny.
    problem, z0 = rosenbrock(6, k=4, seed=3)
    budget = LBFGS(lr=0.5, outer=12, inner=15, memory=6, tolerance_change=1e-6)
    ours = lbfgs(problem, z0, budget)
    for i, (single, start) in enumerate(everywhere(problem, z0)):
        theirs, evaluations = published(single, start, budget)
        assert_close(ours.last[i], theirs[-1][0], rtol=0, atol=1e-9)
        assert ours.evaluations[i] < evaluations  # torch evaluates again where it rested
    assert (ours.status == Status.CONVERGED).any()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [rosenbrock, benign])
def test_an_image_goes_the_same_way_in_any_batch(make, mode):
    problem, z0 = make(7)
    budget = dataclasses.replace(SHORT, mode=mode, outer=3, lr=0.1 if mode == "fixed" else 1.0)
    whole = lbfgs(problem, z0, budget)
    some = torch.tensor([5, 1, 3])
    part = lbfgs(problem.take(some), z0[some], budget)
    assert_close(part.z, whole.z[some], rtol=0, atol=1e-9)
    for i, (single, start) in enumerate(everywhere(problem, z0)):
        alone = lbfgs(single, start, budget)
        assert_close(alone.z[0], whole.z[i], rtol=0, atol=1e-9)
        assert_close(alone.values[:, 0], whole.values[:, i], rtol=0, atol=1e-9)
        assert alone.evaluations[0] == whole.evaluations[i]
        assert alone.status[0] == whole.status[i]


@pytest.mark.parametrize("mode", ["armijo", "strong_wolfe"])
@pytest.mark.parametrize("make", [rosenbrock, quadratic])
def test_searches_reach_the_minimum(make, mode):
    problem, z0 = make(5)
    budget = LBFGS(mode=mode, outer=30, tolerance_grad=1e-8, tolerance_change=0.0)
    solved = lbfgs(problem, z0, budget)
    minimum = problem.centre if make is quadratic else torch.ones_like(z0)
    assert_close(solved.z, minimum, rtol=0, atol=1e-6)
    assert (solved.status == Status.CONVERGED).all()
    # An inverse Hessian that helps: gradient descent would need some `condition` steps.
    assert solved.evaluations.max() < 300


@pytest.mark.parametrize("mode", ["armijo", "strong_wolfe"])
def test_searches_never_raise_the_value(mode):
    problem, z0 = rosenbrock(8)
    solved = lbfgs(problem, z0, dataclasses.replace(SHORT, mode=mode, lr=1.0, inner=3))
    assert (solved.values.diff(dim=0) <= 0).all()
    assert_close(solved.value, solved.values[-1])
    assert_close(problem(solved.z), solved.value)


def test_an_image_that_fails_keeps_its_best_point_and_spoils_no_other():
    problem, z0 = quadratic(5, condition=1e2)
    budget = dataclasses.replace(SHORT, lr=0.5)
    clean = lbfgs(problem, z0, budget)
    bound = torch.full((5,), torch.inf, dtype=torch.float64)
    bound[2] = problem.centre[2, 0] - 0.5  # on the way from the start to the minimum
    z0[2, 0] = problem.centre[2, 0] - 1.5
    solved = lbfgs(Poisoned(problem, bound), z0, budget)
    others = torch.tensor([0, 1, 3, 4])
    assert solved.failed().tolist() == [False, False, True, False, False]
    assert_close(solved.last[others], clean.last[others], rtol=0, atol=0)
    assert_close(solved.evaluations[others], clean.evaluations[others])
    assert solved.value[2] < problem(z0)[2]  # it came closer first
    assert_close(problem(solved.z)[2], solved.value[2])
    assert_close(solved.last[2], solved.z[2])
    assert solved.values.isfinite().all()


def test_an_image_without_a_finite_start_is_returned_as_it_came():
    problem, z0 = quadratic(3)
    bound = torch.tensor([torch.inf, -torch.inf, torch.inf], dtype=torch.float64)
    for mode in MODES:
        solved = lbfgs(Poisoned(problem, bound), z0, dataclasses.replace(SHORT, mode=mode))
        assert solved.failed().tolist() == [False, True, False]
        assert_close(solved.z[1], z0[1])
        assert solved.value[1] == torch.inf
        assert solved.evaluations[1] == 1


@pytest.mark.parametrize("mode", ["armijo", "strong_wolfe"])
def test_a_search_goes_around_what_is_not_finite(mode):
    # The minimum lies just this side of where nothing is finite.
    problem, z0 = rosenbrock(4, k=2)
    bound = torch.full((4,), 1.001, dtype=torch.float64)
    solved = lbfgs(Poisoned(problem, bound), z0, LBFGS(mode=mode, outer=20, tolerance_grad=1e-6))
    assert not solved.failed().any()
    assert_close(solved.z, torch.ones_like(z0), rtol=0, atol=1e-4)


def test_a_maximum_of_rounding_stalls_and_does_not_fail():
    problem, z0 = quadratic(2)
    budget = LBFGS(mode="armijo", outer=30, tolerance_grad=0.0, tolerance_change=0.0)
    solved = lbfgs(problem, z0, budget)
    assert (solved.status == Status.STALLED).all() or (solved.value == 0).all()
    assert_close(solved.z, problem.centre, rtol=0, atol=1e-6)


def test_images_that_ended_are_not_computed():
    problem, z0 = quadratic(8)
    z0[1:] = problem.centre[1:]  # seven of eight are solved before they start
    counted = Counted(problem)
    solved = lbfgs(counted, z0, dataclasses.replace(SHORT, mode="strong_wolfe", lr=1.0))
    assert solved.evaluations[1:].tolist() == [1] * 7
    assert solved.evaluations[0] > 10
    assert sum(counted.tally) == solved.evaluations.sum()


def test_the_bound_on_evaluations_holds_for_each_image():
    problem, z0 = rosenbrock(4)
    budget = dataclasses.replace(SHORT, evaluations=30)
    assert (lbfgs(problem, z0, budget).evaluations == 30).all()


def test_the_trace_begins_at_the_start_and_has_one_entry_per_outer_step():
    problem, z0 = rosenbrock(3)
    solved = lbfgs(problem, z0, SHORT)
    assert solved.values.shape == solved.norms.shape == (SHORT.outer + 1, 3)
    assert_close(solved.values[0], problem(z0))
    assert_close(solved.norms[0], z0.norm(dim=-1))
    assert_close(solved.norms[-1], solved.last.norm(dim=-1))


def test_a_batch_of_none_gives_none():
    problem, z0 = rosenbrock(3)
    none = torch.tensor([], dtype=torch.int64)
    solved = lbfgs(problem.take(none), z0[none], SHORT)
    assert solved.z.shape == (0, 6)
    assert solved.values.shape == (SHORT.outer + 1, 0)


def test_half_of_the_precision_is_enough_for_a_valley():
    problem, z0 = rosenbrock(4)
    single = dataclasses.replace(problem, steepness=problem.steepness.float())
    solved = lbfgs(single, z0.float(), LBFGS(mode="strong_wolfe", outer=20))
    assert solved.z.dtype == torch.float32
    assert_close(solved.z, torch.ones(4, 6), rtol=0, atol=1e-2)
