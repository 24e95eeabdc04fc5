import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from inverse_problems.baselines.lasso_solver import duality_gap, solve_lasso


def problem(m: int, k: int, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(m)
    dictionary = torch.randn(m, k, generator=generator, dtype=torch.float64) / m**0.5
    w = torch.randn(batch, k, generator=generator, dtype=torch.float64)
    w = w * (torch.rand(batch, k, generator=generator) < 0.2)
    return dictionary, w @ dictionary.mT


def objective(dictionary, y, w, penalty):
    return (y - w @ dictionary.mT).square().sum(1) + penalty * w.abs().sum(1)


@pytest.mark.parametrize("m", [10, 29, 30, 60, 80])
def test_it_is_scikit_learn_s(m):
    dictionary, y = problem(m, 60)
    found = solve_lasso(dictionary, y, 0.05, tolerance=1e-12, max_iterations=50_000)
    assert (found.gap <= 1e-12).all()
    scale = (2 * m) ** 0.5  # as published: the objective of both is then the same
    oracle = Lasso(alpha=0.05, fit_intercept=False, tol=1e-12, max_iter=100_000)
    w = oracle.fit((scale * dictionary).numpy(), (scale * y).mT.numpy()).coef_
    # A gap of 1e-12 is a distance of 1e-6 where the objective is quadratic; it is flatter here.
    np.testing.assert_allclose(found.w.numpy(), w, atol=1e-4)
    torch.testing.assert_close(
        objective(dictionary, y, found.w, 0.05),
        objective(dictionary, y, torch.from_numpy(w), 0.05),
        rtol=1e-9,
        atol=0,
    )


def test_the_gap_bounds_what_is_missing_to_the_minimum():
    dictionary, y = problem(20, 40)
    least = objective(dictionary, y, solve_lasso(dictionary, y, 0.1, 1e-13, 50_000).w, 0.1)
    for steps in (20, 40, 80):
        found = solve_lasso(dictionary, y, 0.1, 0.0, steps)
        missing = objective(dictionary, y, found.w, 0.1) - least
        gap = duality_gap(dictionary, y, found.w, 0.1)
        assert (missing <= gap + 1e-12).all()
        torch.testing.assert_close(gap / y.square().sum(1), found.gap)


def test_the_tolerance_is_kept_and_the_rest_says_so():
    dictionary, y = problem(20, 60)
    assert (solve_lasso(dictionary, y, 0.01, 1e-4).gap <= 1e-4).all()
    short = solve_lasso(dictionary, y, 0.01, 1e-9, max_iterations=30)
    assert (short.gap > 1e-9).all()
    assert short.iterations.tolist() == [30] * 4


def test_a_row_does_not_depend_on_the_others():
    dictionary, y = problem(20, 60, batch=6)
    together = solve_lasso(dictionary, y, 0.01)
    assert len(set(together.iterations.tolist())) > 1
    alone = solve_lasso(dictionary, y[2:3], 0.01)
    assert alone.iterations[0] == together.iterations[2]
    torch.testing.assert_close(alone.w[0], together.w[2], rtol=0, atol=1e-12)


def test_a_large_penalty_leaves_nothing():
    dictionary, y = problem(20, 30)
    steepest = float((2 * y @ dictionary).abs().max())
    assert not solve_lasso(dictionary, y, 1.01 * steepest, 1e-12).w.any()


def test_a_black_image_and_an_empty_batch_are_solved():
    dictionary, y = problem(20, 30)
    black = solve_lasso(dictionary, 0 * y, 0.1)
    assert not black.w.any()
    assert not black.gap.any()
    assert solve_lasso(dictionary, y[:0], 0.1).w.shape == (0, 30)


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the penalty must be positive, got 0"):
        solve_lasso(*problem(3, 4), penalty=0.0)
