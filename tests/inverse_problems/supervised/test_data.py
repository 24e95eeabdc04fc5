"""Batches are a function of seed and step, and no split shares a pair with another."""

import pytest
import torch

from inverse_problems.supervised.data import PROBLEMS, TEST, TRAIN, VALID, Pairs

DTYPE = torch.float64


def pairs(points: int | None = None, seed: int = 0) -> Pairs:
    return Pairs(PROBLEMS["kinematics"], 3, 5, points, seed)


@pytest.mark.parametrize("points", [None, 40])
def test_a_batch_is_a_function_of_seed_and_step(points: int | None):
    ours, other = pairs(points), pairs(points, seed=1)
    fixed, theirs = ours.train(DTYPE), other.train(DTYPE)
    x, y = ours.at(7, fixed, DTYPE)
    assert (x.shape, y.shape) == ((3, 5, 4), (3, 5, 2))
    assert torch.equal(x, ours.at(7, fixed, DTYPE)[0])
    assert not torch.equal(x, ours.at(8, fixed, DTYPE)[0])
    assert not torch.equal(x, other.at(7, theirs, DTYPE)[0])
    assert not torch.equal(x[0], x[1])  # each model has its own
    torch.testing.assert_close(y, PROBLEMS["kinematics"].simulate(x))


def test_batches_of_a_fixed_set_hold_its_pairs_only():
    ours = pairs(6)
    fixed = ours.train(DTYPE)
    assert fixed is not None
    seen = torch.cat([ours.at(step, fixed, DTYPE)[0].flatten(0, 1) for step in range(20)])
    assert torch.equal(seen.unique(dim=0), fixed[0].unique(dim=0))


def test_splits_are_disjoint_and_fresh_pairs_need_no_set():
    ours = pairs()
    found = [ours.split(stream, 50, DTYPE)[0] for stream in (TRAIN, VALID, TEST)]
    assert len(torch.cat(found).unique(dim=0)) == 150
    assert ours.train(DTYPE) is None


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_draws_what_it_says(name: str):
    problem = PROBLEMS[name]
    x, y = problem.draw(9, torch.Generator().manual_seed(0), DTYPE)
    assert (x.shape, y.shape) == ((9, problem.x), (9, problem.y))
    assert x.dtype == y.dtype == DTYPE
    torch.testing.assert_close(problem.simulate(x), y)
