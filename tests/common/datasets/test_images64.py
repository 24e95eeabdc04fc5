import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets import load
from common.datasets.fetch import fetch, fetch_optional
from common.datasets.images64 import OOD_PARTS
from common.datasets.raw import DataMissing
from common.datasets.sources import SOURCES
from common.errors import UserError

REAL_MIRROR = Path(__file__).parents[4] / "shared" / "data"


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 64, 64), dtype=np.uint8)


def tiles(x: np.ndarray) -> bytes:
    """Return images as one tile of a single row."""
    content, tile = io.BytesIO(), io.BytesIO()
    Image.fromarray(np.concatenate(list(x), axis=2).transpose(1, 2, 0)).save(
        tile, "WEBP", lossless=True
    )
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tile_00.webp", tile.getvalue())
        archive.writestr("index.csv", "name\n" * len(x))
    return content.getvalue()


def save(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.fixture
def faces(register, tmp_path):
    x = images(6, 0), images(2, 1)
    contents = {"train.zip": tiles(x[0]), "test.zip": tiles(x[1])}
    register("celeba64", contents)
    save(tmp_path / "celeba64", contents)
    return x


def test_faces_validate_out_of_train_and_the_test_ones_stay(faces, tmp_path):
    data = load("celeba64", tmp_path, valid_per_class=2)
    assert (data.shape, data.levels, data.classes) == ((3, 64, 64), 256, 1)
    assert (len(data.train), len(data.valid), len(data.test)) == (4, 2, 2)
    assert np.array_equal(data.test.x, faces[1])
    together = torch.cat([data.train.x, data.valid.x]).flatten(1)
    assert sorted(map(tuple, together.tolist())) == sorted(
        map(tuple, faces[0].reshape(6, -1).tolist())
    )
    other = load("celeba64", tmp_path, valid_per_class=2, seed=1)
    assert not torch.equal(other.valid.x, data.valid.x)


def test_without_validation_all_faces_train(faces, tmp_path):
    assert np.array_equal(load("celeba64", tmp_path, valid_per_class=0).train.x, faces[0])


def test_four_hundred_faces_validate_by_default(faces, tmp_path):
    with pytest.raises(UserError, match=r"must be 0 to 5, .* got 400"):
        load("celeba64", tmp_path)


def test_other_images_say_which_part_they_are_of(register, tmp_path):
    parts = {f"{name}.zip": images(1 + k % 2, k) for k, name in enumerate(OOD_PARTS)}
    contents = {name: tiles(x) for name, x in parts.items()}
    register("ood64", contents)
    save(tmp_path / "ood64", contents)
    data = load("ood64", tmp_path)
    assert (len(data.train), len(data.valid)) == (0, 0)
    assert (data.shape, data.classes) == ((3, 64, 64), 7)
    assert data.test.y.tolist() == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6]
    assert np.array_equal(data.test.x, np.concatenate(list(parts.values())))


def test_the_registry_holds_every_part():
    assert [file.name for file in SOURCES["ood64"].files] == [f"{part}.zip" for part in OOD_PARTS]


def test_a_damaged_file_is_refused_with_its_name(faces, tmp_path):
    path = tmp_path / "celeba64" / "test.zip"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"test\.zip: has .* bytes .*fetch celeba64"):
        load("celeba64", tmp_path)


@pytest.mark.parametrize("name", ["celeba64", "ood64"])
def test_where_nobody_has_them_the_folder_says_so_and_loading_does(name, tmp_path):
    fetch_optional(name, tmp_path)
    assert (tmp_path / name / "missing.txt").read_text() == f"{name}: raw data not available\n"
    with pytest.raises(DataMissing, match=f"fetch {name} --raw"):
        load(name, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="no mirror beside the repository")
def test_the_images_of_the_mirror_have_the_known_numbers(tmp_path):
    for name in ("celeba64", "ood64"):
        fetch(name, tmp_path, REAL_MIRROR)
    faces = load("celeba64", tmp_path)
    assert (len(faces.train), len(faces.valid), len(faces.test)) == (3_000, 400, 300)
    whole = load("celeba64", tmp_path, valid_per_class=0).train.x
    means = whole.transpose(0, 1).flatten(1).float().mean(1)
    # The reference is printed with one decimal.
    torch.testing.assert_close(means, torch.tensor([132.1, 106.2, 92.8]), atol=0.06, rtol=0)
    counts = load("ood64", tmp_path).test.y.bincount().tolist()
    assert counts == [100, 100, 12, 12, 28, 294, 204]
