import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from common.datasets import load
from common.datasets.embedded import patches
from common.datasets.fetch import fetch
from common.errors import UserError


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    fetch("patches", raw)
    return raw


def test_patches_have_the_size_and_the_levels_of_the_digits(raw):
    data = load("patches", raw)
    assert (data.shape, data.levels, data.classes) == ((1, 8, 8), 17, 2)
    assert data.test.x.dtype == torch.uint8
    assert (int(data.test.x.min()), int(data.test.x.max())) == (0, 16)
    assert data.test.y.bincount().tolist() == [200, 200]


def test_there_is_nothing_to_train_on(raw):
    data = load("patches", raw, valid_per_class=0)
    assert (len(data.train), len(data.valid), len(data.test)) == (0, 0, 400)
    with pytest.raises(UserError, match=r"valid_per_class must be 0 or empty, .* got 5"):
        load("patches", raw, valid_per_class=5)


def test_the_choice_is_the_same_every_time_and_no_patch_is_chosen_twice(raw):
    again = patches()
    assert np.array_equal(load("patches", raw).test.x.squeeze(1), again["images"])
    assert len(np.unique(again["images"].reshape(400, -1), axis=0)) == 400
    # None is of one level only.
    assert np.ptp(again["images"], (1, 2)).min() > 0


def test_a_patch_is_a_part_of_its_picture():
    made = patches()
    for picture, kept in zip(load_sample_images().images, (0, 1), strict=True):
        # Slowly, cell by cell: means of 3 x 3 pixels, then levels.
        height, width = (side // 3 * 3 for side in picture.shape[:2])
        grey = picture[:height, :width].astype(float) @ [0.299, 0.587, 0.114]
        small = sum(grey[i::3, j::3] for i in range(3) for j in range(3)) / 9
        levels = np.rint(small * 16 / 255)
        cells = {
            levels[i : i + 8, j : j + 8].astype(np.uint8).tobytes()
            for i in range(0, len(levels) - 7, 8)
            for j in range(0, levels.shape[1] - 7, 8)
        }
        chosen = made["images"][made["labels"] == kept]
        assert all(patch.tobytes() in cells for patch in chosen)
