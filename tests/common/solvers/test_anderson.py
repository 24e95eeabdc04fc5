import pytest
import torch

from common.solvers import anderson, fixed_point
from tests.common.solvers.maps import Counted, kinked, normal, saturated, spectrum


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("make", [saturated, spectrum, kinked])
@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_it_finds_the_point_of_the_plain_iteration_at_every_depth(make, depth, size):
    t = 2 * normal(20, size)
    g = make(size, 0.95)
    plain = fixed_point(lambda w: t - g(w), t, tol=1e-10, limit=1000)
    found = anderson(lambda w: t - g(w), t, tol=1e-10, limit=1000, depth=depth)
    # Both lie within 1e-10 (1 + max |t|) sqrt(16) / (1 - L) of the root.
    torch.testing.assert_close(found.x, plain.x, rtol=0, atol=1e-7)


@pytest.mark.parametrize("make", [saturated, spectrum])
@pytest.mark.parametrize("size", [2, 16, 64])
def test_acceleration_saves_two_evaluations_of_five_near_saturation(make, size):
    t = 2 * normal(50, size)
    g = make(size, 0.95)
    plain = Counted(lambda w: t - g(w))
    fast = Counted(lambda w: t - g(w))
    fixed_point(plain, t, tol=1e-9, limit=1000)
    anderson(fast, t, tol=1e-9, limit=1000)
    assert fast.calls <= 0.6 * plain.calls


def test_more_depth_needs_fewer_evaluations():
    t = 2 * normal(50, 16)
    g = spectrum(16, 0.95)
    counts = [
        anderson(lambda w: t - g(w), t, tol=1e-9, limit=1000, depth=depth).evaluations
        for depth in (1, 2, 3, 5)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 2


def test_full_depth_solves_a_linear_map_in_as_many_steps_as_dimensions():
    t = normal(20, 3)
    g = spectrum(3, 0.95)
    found = anderson(lambda w: t - g(w), t, tol=1e-9, limit=100, depth=3)
    # The start, one plain step, one mixed step per difference; one more for the ridge.
    assert found.evaluations <= 6


def test_an_undone_step_lets_the_residual_fall_every_second_evaluation():
    t = 2 * normal(500, 2)
    g = kinked(2, 0.95)
    f = Counted(lambda w: t - g(w))
    anderson(f, t, tol=1e-9, limit=1000)
    x = torch.stack(f.seen)
    norms = (t - g(x) - x).norm(dim=-1)
    moving = (x[2:] != x[1:-1]).any(-1)
    lowest = norms.cummin(0).values
    assert (norms[1:] > lowest[:-1]).any()  # steps were undone
    assert (lowest[2:] < lowest[:-2])[moving].all()


@pytest.mark.parametrize("ridge", [None, 0.0])
def test_parallel_differences_make_a_singular_gram_matrix_harmless(ridge):
    t = normal(20, 16)
    found = anderson(lambda w: t + 0.95 * w, t, tol=1e-9, limit=1000, depth=5, ridge=ridge)
    # Within 1e-9 (1 + max |t|) / (1 - L).
    torch.testing.assert_close(found.x, t / 0.05, rtol=0, atol=1e-7)


def test_a_start_at_the_fixed_point_takes_one_evaluation():
    found = anderson(lambda w: 0.5 * w, torch.zeros(3, 2), tol=1e-6, limit=10)
    assert found.evaluations == 1
    assert torch.equal(found.x, torch.zeros(3, 2))
