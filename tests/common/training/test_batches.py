"""An epoch visits every item of every model exactly once, in nearly equal shares."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.training.batches import EpochBatches

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(sizes=SIZES, batch=st.integers(1, 70), seed=st.integers(0, 9), epoch=st.integers(0, 3))
def test_every_item_is_visited_exactly_once_per_epoch(sizes, batch, seed, epoch):
    batches = EpochBatches(sizes, batch, seed)
    assert batches.steps_per_epoch == -(-max(sizes) // batch)
    first = epoch * batches.steps_per_epoch
    visited: list[list[int]] = [[] for _ in sizes]
    for step in range(first, first + batches.steps_per_epoch):
        assert batches.epoch(step) == epoch
        indices, weights = batches.indices(step)
        assert indices.shape == weights.shape == (len(sizes), batches.width)
        assert indices.dtype == torch.int64
        assert ((weights == 0) | (weights == 1)).all()
        for k, n in enumerate(sizes):
            assert ((indices[k] >= 0) & (indices[k] < n)).all()
            share = weights[k].sum()
            assert share <= batch
            assert abs(share - n / batches.steps_per_epoch) < 1
            visited[k] += indices[k][weights[k] == 1].tolist()
    assert [sorted(v) for v in visited] == [list(range(n)) for n in sizes]


@settings(max_examples=20, deadline=None)
@given(sizes=SIZES, batch=st.integers(1, 20), data=st.data())
def test_a_batch_is_a_function_of_seed_and_step(sizes, batch, data):
    one, two = EpochBatches(sizes, batch, 5), EpochBatches(sizes, batch, 5)
    steps = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=4))
    for step in range(max(steps) + 1):
        expected = one.indices(step)
        if step in steps:
            torch.testing.assert_close(two.indices(step), expected, rtol=0, atol=0)


def test_order_differs_between_epochs_models_and_seeds():
    batches = EpochBatches([50, 50], 50, seed=0)
    first, second = batches.indices(0)[0], batches.indices(1)[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, EpochBatches([50, 50], 50, seed=1).indices(0)[0])


def test_one_model_has_full_batches():
    batches = EpochBatches([128], 32, seed=0)
    assert all(batches.indices(step)[1].sum() == 32 for step in range(8))


@pytest.mark.parametrize(("sizes", "batch"), [([], 4), ([3, 0], 4), ([3], 0)])
def test_nothing_to_visit_is_refused(sizes, batch):
    with pytest.raises(ValueError, match="must be positive"):
        EpochBatches(sizes, batch, 0)
