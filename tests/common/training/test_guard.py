"""A loss that is not finite stops the training, and no bad state is saved."""

import pytest
import torch

from common.training.guard import Diverged, Guard


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_the_first_bad_step_is_named_at_the_next_look(bad):
    guard = Guard("cpu", every=10)
    for step in range(19):
        guard.check(torch.tensor(bad if step >= 13 else 1.0), step)
    with pytest.raises(Diverged, match="not finite at step 13") as caught:
        guard.check(torch.tensor(1.0), 19)
    assert caught.value.step == 13


def test_a_bad_step_is_found_before_a_save():
    guard = Guard("cpu", every=1000)
    guard.check(torch.tensor(1.0), 0)
    guard.raise_if_bad()
    guard.check(torch.tensor(torch.nan), 1)
    guard.check(torch.tensor(1.0), 2)
    with pytest.raises(Diverged) as caught:
        guard.raise_if_bad()
    assert caught.value.step == 1


def test_one_bad_model_of_many_is_enough():
    guard = Guard("cpu", every=1)
    with pytest.raises(Diverged):
        guard.check(torch.tensor([1.0, torch.nan, 2.0]), 0)


def test_a_loss_with_a_graph_is_not_held():
    guard = Guard("cpu", every=2)
    weight = torch.ones((), requires_grad=True)
    guard.check(weight * 2, 0)
    guard.check(weight * 2, 1)
    assert not guard._first_bad.requires_grad


def test_a_guard_that_never_looks_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Guard("cpu", every=0)
