import pytest
import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.datasets.dequantise import dequantise
from lu_net.batches import SELECT_NOISE, TRAIN_NOISE, Items, noise

CPU = torch.device("cpu")


def images(counts: tuple[int, ...], levels: int | None = 17) -> Dataset:
    """Images (N, 1, 2, 2) whose first pixel is their class and whose second tells them apart."""
    y = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    x = torch.zeros(len(y), 1, 2, 2, dtype=torch.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = y.byte(), torch.arange(len(y)).byte()
    split = Split(x, y)
    return Dataset("made up", split, split, split, levels, len(counts))


def everything(items: Items) -> Tensor:
    return torch.arange(items.x.shape[1]).expand(len(items.sizes), -1)


def test_items_are_sorted_by_class_and_each_counts_once():
    data = images((3, 5, 2))
    items = Items.of(data, data.train, per_class=True, device=CPU)
    assert items.sizes == (3, 5, 2)
    assert items.x.shape == (3, 5, 1, 2, 2)
    assert items.x.dtype == torch.uint8
    assert items.weights.sum(-1).tolist() == [3, 5, 2]
    for k in range(3):
        own = items.x[k][items.weights[k] == 1]
        assert torch.equal(own, data.train.x[data.train.y == k])
        assert (items.x[k, :, 0, 0, 0] == k).all()  # padding repeats items of the same class


def test_one_model_takes_all_items_in_their_order():
    data = images((3, 5, 2))
    items = Items.of(data, data.train, per_class=False, device=CPU)
    assert items.sizes == (10,)
    assert torch.equal(items.x[0], data.train.x)
    assert torch.equal(items.weights, torch.ones(1, 10))


def test_taken_items_are_those_of_the_index_with_noise_below_one():
    data = images((3, 5, 2))
    items = Items.of(data, data.train, per_class=True, device=CPU)
    index = torch.tensor([[2, 0], [4, 1], [1, 1]])
    x = items.take(index, torch.float64, noise(CPU, 0, TRAIN_NOISE, 0))
    assert x.shape == (3, 2, 1, 2, 2)
    for k in range(3):
        assert torch.equal(x[k].floor().byte(), items.x[k][index[k]])


def test_the_noise_of_every_draw_is_uniform_and_independent_of_the_pixel():
    zeros = torch.zeros(3, 20_000)
    u = dequantise(zeros, 17, noise(CPU, 0, TRAIN_NOISE, 0)).double()
    assert (u >= 0).all()
    assert (u < 1).all()
    # Four standard errors of the mean and of the second moment of 60,000 uniforms.
    assert u.mean().item() == pytest.approx(1 / 2, abs=4 * (1 / 12 / 60_000) ** 0.5)
    assert u.square().mean().item() == pytest.approx(1 / 3, abs=4 * (4 / 45 / 60_000) ** 0.5)


def test_noise_is_a_function_of_seed_stream_and_step():
    zeros = torch.zeros(100)

    def draw(*counters: int) -> Tensor:
        return dequantise(zeros, 17, noise(CPU, *counters))

    assert torch.equal(draw(0, TRAIN_NOISE, 5), draw(0, TRAIN_NOISE, 5))
    for other in ((1, TRAIN_NOISE, 5), (0, SELECT_NOISE, 5), (0, TRAIN_NOISE, 6)):
        assert not torch.equal(draw(0, TRAIN_NOISE, 5), draw(*other))


def test_each_model_has_noise_of_its_own():
    data = images((4, 4))
    items = Items.of(data, data.train, per_class=True, device=CPU)
    x = items.take(everything(items), torch.float64, noise(CPU, 0, TRAIN_NOISE, 0))
    u = x - x.floor()
    assert not torch.equal(u[0], u[1])
    assert len(u.unique()) == u.numel()
