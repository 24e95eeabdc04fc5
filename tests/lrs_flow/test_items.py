import pytest
import torch

from common.datasets.dataset import Dataset
from lrs_flow.items import Items
from tests.lrs_flow.small import LEVELS, images, vectors

CPU = torch.device("cpu")
DOUBLE = torch.float64


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def folds() -> list[Dataset]:
    """Return three folds whose train splits have 5, 2 and 3 items."""
    return [vectors((n, 4, 1 + k), seed=k) for k, n in enumerate((5, 2, 3))]


def test_each_fold_is_padded_by_items_of_its_own():
    data = folds()
    items = Items.of(data, "train", 3, CPU, DOUBLE)
    assert items.sizes == (5, 2, 3)
    assert items.x.shape == (3, 5, 3)
    assert torch.equal(items.x[0], data[0].train.x)
    assert torch.equal(items.x[1], data[1].train.x[[0, 1, 0, 1, 0]])
    assert torch.equal(items.x[2], data[2].train.x[[0, 1, 2, 0, 1]])


def test_the_mask_tells_items_from_padding():
    items = Items.of(folds(), "train", 3, CPU, DOUBLE)
    found = items.mask(torch.tensor([1, 2, 4]))
    assert found.tolist() == [[True, True, True], [True, False, False], [True, True, False]]


def test_one_set_is_held_once_and_serves_all_models():
    data = vectors()
    items = Items.of([data], "test", 4, CPU, DOUBLE)
    assert items.x.shape == (1, 7, 3)
    assert items.sizes == (7,) * 4
    index = torch.tensor([[0, 1], [2, 3], [6, 6], [1, 0]])
    assert torch.equal(items.take(index, DOUBLE, noise()), data.test.x[index])


def test_models_take_items_of_their_own_fold():
    data = folds()
    items = Items.of(data, "train", 3, CPU, DOUBLE)
    index = torch.tensor([[4, 0], [1, 1], [0, 2]])
    expected = torch.stack([fold.train.x[i] for fold, i in zip(data, index, strict=True)])
    assert torch.equal(items.take(index, DOUBLE, noise()), expected)


def test_at_most_so_many_items_are_held_of_each():
    items = Items.of(folds(), "train", 3, CPU, DOUBLE, 3)
    assert items.sizes == (3, 2, 3)
    assert items.x.shape == (3, 3, 3)


def test_vectors_are_held_in_the_dtype_of_the_training():
    assert Items.of([vectors()], "train", 1, CPU, torch.float32).x.dtype == torch.float32


@pytest.mark.parametrize("models", [1, 3])
def test_images_are_held_as_bytes_and_get_fresh_noise_from_the_generator(models: int):
    data = images()
    items = Items.of([data], "test", models, CPU, DOUBLE)
    assert items.x.dtype == torch.uint8
    index = torch.arange(7).expand(models, -1)
    x = items.take(index, DOUBLE, noise(1))
    assert x.dtype == DOUBLE
    assert torch.equal(x.floor().to(torch.uint8), data.test.x.expand(models, -1, -1, -1, -1))
    assert bool((x < LEVELS).all())
    assert torch.equal(x, items.take(index, DOUBLE, noise(1)))
    assert not torch.equal(x, items.take(index, DOUBLE, noise(2)))
    # No two pixels share their noise, and no two models either.
    assert len((x - x.floor()).unique()) == x.numel()
