"""Randomness is a function of integers."""

import torch

from common.training.seeding import generator, permutation


def test_equal_integers_draw_the_same():
    draws = [torch.randn(5, generator=generator(1, 2, 3)) for _ in range(2)]
    assert torch.equal(*draws)


def test_each_integer_and_its_place_matter():
    keys = [(1, 2, 3), (1, 3, 2), (1, 2, 4), (2, 2, 3), (1, 2), (1, 23), (12, 3), (-1, 2, 3)]
    draws = {tuple(torch.randn(4, generator=generator(*key)).tolist()) for key in keys}
    assert len(draws) == len(keys)


def test_neighbouring_steps_are_uncorrelated():
    draws = torch.stack([torch.randn(200, generator=generator(0, step)) for step in range(200)])
    mean = (draws[1:] * draws[:-1]).mean()
    # The mean of 39,800 products of independent normals has standard deviation 0.005.
    assert abs(mean) < 4 * 0.005


def test_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    torch.randn(3, generator=generator(0))
    permutation(10, 0, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_permutation_is_one_and_depends_on_the_epoch():
    first, again, other = (permutation(100, 0, epoch) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort().values, torch.arange(100))
