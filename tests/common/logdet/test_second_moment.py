import math

import pytest
import torch

from common.logdet import SecondMoment
from tests.common.logdet.nets import normal


def test_it_is_the_mean_square_of_all_batches():
    watch, first, second = SecondMoment(), normal(5), normal(2, 3, seed=1)
    watch.update(first)
    watch.update(second.requires_grad_())
    every = torch.cat((first, second.detach().flatten()))
    assert watch.value == pytest.approx(every.square().mean().item())


def test_it_is_unknown_before_the_first_value():
    watch = SecondMoment()
    assert math.isnan(watch.value)
    watch.update(normal(0))
    assert math.isnan(watch.value)
