"""Pixels of fewer bits."""

import pytest
import torch

from common.errors import UserError
from inverse_problems.priors.pixels import Pixels, reduced_levels

CPU = torch.device("cpu")


def test_five_bits_keep_the_high_ones():
    x = torch.tensor([0, 7, 8, 255], dtype=torch.uint8).view(4, 1, 1, 1)
    pixels = Pixels.of(x, 256, 5, CPU)
    assert pixels.levels == 32
    assert pixels.x.flatten().tolist() == [0, 0, 1, 31]
    assert pixels.x.dtype == torch.uint8


def test_noise_stays_within_the_bin_and_is_a_function_of_the_generator():
    x = torch.arange(17, dtype=torch.uint8).view(17, 1, 1, 1)
    pixels = Pixels.of(x, 17, None, CPU, most=9)
    assert (len(pixels), pixels.levels) == (9, 17)
    index = torch.tensor([3, 8])
    taken = [pixels.take(index, torch.float64, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(taken[0].floor().flatten(), torch.tensor([3.0, 8.0]).double())
    assert torch.equal(taken[0], taken[1])
    assert not torch.equal(taken[0], taken[2])


def test_only_eight_bits_can_be_reduced():
    assert reduced_levels(17, None) == 17
    assert reduced_levels(256, 8) == 256
    with pytest.raises(UserError, match="this set has 17"):
        reduced_levels(17, 3)
