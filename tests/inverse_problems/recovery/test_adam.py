import dataclasses

import torch
from torch.testing import assert_close

from inverse_problems.recovery.adam import adam
from inverse_problems.recovery.budgets import Adam
from inverse_problems.recovery.solved import Status
from tests.inverse_problems.recovery.problems import Counted, Poisoned, quadratic, rosenbrock

SHORT = Adam(lr=0.05, steps=60, every=20)


def test_an_image_goes_where_torch_takes_it_alone():
    problem, z0 = rosenbrock(3)
    ours = adam(problem, z0, SHORT)
    for i in range(3):
        z = z0[i : i + 1].clone().requires_grad_()
        optimiser = torch.optim.Adam([z], lr=SHORT.lr)
        for _ in range(SHORT.steps):
            optimiser.zero_grad()
            problem.take(torch.tensor([i]))(z).sum().backward()
            optimiser.step()
        assert_close(ours.last[i], z.detach()[0], rtol=1e-10, atol=1e-12)
    assert (ours.evaluations == SHORT.steps + 1).all()
    assert (ours.status == Status.BUDGET).all()


def test_it_reaches_a_minimum_and_says_so():
    problem, z0 = quadratic(3, k=4, condition=10.0)
    budget = Adam(lr=0.05, steps=3000, every=100, tolerance_change=1e-12)
    solved = adam(problem, z0, budget)
    assert (solved.status == Status.CONVERGED).all()
    assert_close(solved.z, problem.centre, rtol=0, atol=1e-3)
    assert (solved.evaluations < budget.steps).all()


def test_images_that_ended_are_not_computed():
    problem, z0 = quadratic(6)
    z0[2:] = problem.centre[2:]
    counted = Counted(problem)
    solved = adam(counted, z0, SHORT)
    assert solved.evaluations.tolist() == [61, 61, 1, 1, 1, 1]
    assert sum(counted.tally) == solved.evaluations.sum()


def test_an_image_that_fails_keeps_its_best_point_and_spoils_no_other():
    problem, z0 = quadratic(4)
    clean = adam(problem, z0, SHORT)
    bound = torch.full((4,), torch.inf, dtype=torch.float64)
    bound[1] = problem.centre[1, 0] - 0.5
    z0[1, 0] = problem.centre[1, 0] - 1.0
    solved = adam(Poisoned(problem, bound), z0, SHORT)
    others = torch.tensor([0, 2, 3])
    assert solved.failed().tolist() == [False, True, False, False]
    assert_close(solved.last[others], clean.last[others], rtol=0, atol=0)
    assert_close(problem(solved.z)[1], solved.value[1])
    assert solved.value[1] < problem(z0)[1]


def test_the_trace_has_an_entry_each_so_many_steps():
    problem, z0 = rosenbrock(2)
    solved = adam(problem, z0, dataclasses.replace(SHORT, steps=50))
    assert solved.values.shape == (4, 2)
    assert_close(solved.values[0], problem(z0))
    assert_close(solved.values[-1], problem(solved.last))
