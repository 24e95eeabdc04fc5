import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets import load
from common.datasets.cifar10 import OFFICIAL, read_batches
from common.datasets.fetch import fetch
from common.datasets.imagenet64 import BATCHES, TARS, read_batch, read_pngs
from common.datasets.raw import DataMissing
from common.datasets.source import Unfit
from common.datasets.tiles import read_tiles
from common.errors import UserError

REAL_MIRROR = Path(__file__).parents[4] / "shared" / "data"


def images(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


def encoded(pixels: np.ndarray, form: str, **options) -> bytes:
    """Return an image (3, H, W) as a file."""
    content = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(content, form, **options)
    return content.getvalue()


def tile(x: np.ndarray, columns: int) -> bytes:
    rows = [np.concatenate(list(x[k : k + columns]), axis=2) for k in range(0, len(x), columns)]
    return encoded(np.concatenate(rows, axis=1), "WEBP", lossless=True)


def tiles(*parts: np.ndarray, index: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for k, part in enumerate(parts):
            archive.writestr(f"t_{k}.webp", tile(part, 3))
        if index:
            archive.writestr("index.csv", index)
    return content.getvalue()


def tarred(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


def save(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def test_tiles_are_read_row_by_row_without_loss(tmp_path):
    x = images(12, 8)
    save(tmp_path, {"t.zip": tiles(x[:6], x[6:])})
    assert np.array_equal(read_tiles(tmp_path / "t.zip", 8), x)
    save(tmp_path, {"t.zip": tiles(x[:6], x[6:], index="a\nb\n" * 5)})
    assert np.array_equal(read_tiles(tmp_path / "t.zip", 8), x[:10])


def test_damaged_tiles_are_refused(tmp_path):
    path = tmp_path / "t.zip"
    good = tiles(images(6, 8))
    for content in (good[:-30], b"", b"<html></html>", good.replace(b"VP8L", b"XXXX")):
        path.write_bytes(content)
        with pytest.raises(Unfit, match="is not a readable archive of tiles"):
            read_tiles(path, 8)
    path.write_bytes(good)
    with pytest.raises(Unfit, match="holds a tile of 16 x 24 pixels, no grid of 5 x 5"):
        read_tiles(path, 5)
    path.write_bytes(tiles())
    with pytest.raises(Unfit, match="holds no tiles"):
        read_tiles(path, 8)


@pytest.fixture
def mirrored(register, tmp_path):
    """CIFAR-10 in tiles: thirty images to train on, of which two are inexact, and six to test."""
    labels = io.BytesIO()
    arrays = {
        "y_train": np.repeat(np.arange(10, dtype=np.uint8), 3),
        "y_test": np.array([0, 1, 2, 3, 4, 9], np.uint8),
        "train_inexact": np.array([4, 29]),
        "test_inexact": np.array([1]),
    }
    np.savez(labels, **arrays)
    x = images(30, 32), images(6, 32, seed=1)
    contents = {
        "train.zip": tiles(x[0][:18], x[0][18:]),
        "test.zip": tiles(x[1]),
        "labels.npz": labels.getvalue(),
    }
    register("cifar10", contents)
    save(tmp_path / "cifar10", contents)
    return x, arrays


def test_inexact_images_of_the_mirror_are_dropped(mirrored, tmp_path):
    (train, test), labels = mirrored
    data = load("cifar10", tmp_path, valid_per_class=0)
    assert np.array_equal(data.train.x, np.delete(train, [4, 29], axis=0))
    assert np.array_equal(data.train.y, np.delete(labels["y_train"], [4, 29]))
    assert np.array_equal(data.test.x, np.delete(test, 1, axis=0))
    assert data.test.y.tolist() == [0, 2, 3, 4, 9]
    assert (data.shape, data.levels, data.classes) == ((3, 32, 32), 256, 10)


def test_validation_images_leave_train(mirrored, tmp_path):
    data = load("cifar10", tmp_path, valid_per_class=1)
    assert (len(data.train), len(data.valid)) == (18, 10)
    assert data.valid.y.tolist() == list(range(10))


def test_fewer_tiles_than_labels_are_refused(mirrored, register, tmp_path):
    contents = {p.name: p.read_bytes() for p in (tmp_path / "cifar10").iterdir()}
    contents["test.zip"] = tiles(images(3, 32))
    register("cifar10", contents)
    save(tmp_path / "cifar10", contents)
    with pytest.raises(UserError, match=r"test\.zip: expected an image for each of 6 labels"):
        load("cifar10", tmp_path)


def official(x: np.ndarray, y: np.ndarray) -> dict[str, bytes]:
    """Return the authors' files for six batches of equal size."""
    names = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]
    flat = x.reshape(6, -1, 3 * 32 * 32)
    return {
        f"cifar-10-batches-py/{name}": pickle.dumps(
            {"data": flat[k], "labels": y.reshape(6, -1)[k].tolist()}, protocol=2
        )
        for k, name in enumerate(names)
    }


def test_the_authors_archive_is_read_in_order(register, tmp_path):
    x, y = images(60, 32), np.tile(np.arange(10), 6)
    contents = {OFFICIAL: tarred(official(x, y))}
    register("cifar10", contents)
    save(tmp_path / "cifar10", contents)
    data = load("cifar10", tmp_path, valid_per_class=0)
    assert np.array_equal(data.train.x, x[:50])
    assert np.array_equal(data.test.x, x[50:])
    assert data.train.y.tolist() == y[:50].tolist()
    assert data.train.x.dtype == torch.uint8


def test_a_damaged_archive_of_the_authors_is_refused(tmp_path):
    path = tmp_path / OFFICIAL
    good = official(images(12, 32), np.arange(12) % 10)
    name = "cifar-10-batches-py/data_batch_3"
    for batch, problem in (
        (None, "lacks data_batch_3"),
        (pickle.dumps([1]), "has no data and labels"),
        (pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [1, 2]}), r"uint8 \(2, 5\)"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [1, 2]}), "float64"),
        (pickle.dumps(pytest.fail), "asks for"),
        (good[name][:100], "is not a readable pickle"),
    ):
        members = dict(good)
        if batch is None:
            del members[name]
        else:
            members[name] = batch
        path.write_bytes(tarred(members))
        with pytest.raises(Unfit, match=problem):
            read_batches(path)
    for content in (tarred(good)[:2000], b"", b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(Unfit, match=r"is not a readable tar\.gz archive|lacks"):
            read_batches(path)


def npz(x: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, data=x.reshape(len(x), -1), labels=np.arange(len(x)))
    return content.getvalue()


def test_imagenet_is_read_from_npz_files(tmp_path):
    x = images(24, 64)
    save(
        tmp_path / "imagenet64",
        {name: npz(x[2 * k : 2 * k + 2]) for k, name in enumerate(BATCHES)},
    )
    data = load("imagenet64", tmp_path, valid_per_class=3)
    assert (len(data.train), len(data.valid), len(data.test)) == (17, 3, 2)
    assert np.array_equal(data.test.x, x[20:22])
    assert (data.shape, data.levels, data.classes) == ((3, 64, 64), 256, 1)


def test_imagenet_is_read_from_archives_of_png_images(tmp_path):
    x = images(5, 64)
    train = {f"train_64x64/{k}.png": encoded(x[k], "PNG") for k in (2, 0, 1)}
    valid = {f"valid_64x64/{k}.png": encoded(x[k], "PNG") for k in (3, 4)}
    save(tmp_path / "imagenet64", {TARS[0]: tarred(train, "w"), TARS[1]: tarred(valid, "w")})
    fetch("imagenet64", tmp_path)
    data = load("imagenet64", tmp_path, valid_per_class=0)
    assert np.array_equal(data.train.x, x[:3])
    assert np.array_equal(data.test.x, x[3:])


def test_damaged_imagenet_files_are_refused(tmp_path):
    path = tmp_path / "x"
    good = encoded(images(1, 64)[0], "PNG")
    for members, problem in (
        ({"a.png": good[:500]}, "is not a readable tar archive of PNG images"),
        ({"a.png": encoded(images(1, 32)[0], "PNG")}, r"holds a\.png of \(32, 32, 3\) values"),
        ({"readme": b"x"}, "holds no PNG image"),
    ):
        path.write_bytes(tarred(members, "w"))
        with pytest.raises(Unfit, match=problem):
            read_pngs(path)
    for x, problem in (
        (images(2, 32), r"holds uint8 \(2, 3072\), expected uint8 \(N, 12288\)"),
        (images(2, 64).astype(float), "holds float64"),
    ):
        path.write_bytes(npz(x))
        with pytest.raises(Unfit, match=problem):
            read_batch(path)
    for content in (npz(images(2, 64))[:500], b"<html></html>"):
        path.write_bytes(content)
        with pytest.raises(Unfit, match="is not a readable"):
            read_batch(path)
        with pytest.raises(Unfit, match="is not a readable"):
            read_pngs(path)


@pytest.mark.parametrize("name", ["cifar10", "imagenet64"])
def test_images_that_are_not_there_are_missing(name, tmp_path):
    with pytest.raises(DataMissing, match=rf"got no such file; run `python .*fetch {name} --raw"):
        load(name, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="no mirror beside the repository")
def test_the_exact_images_of_the_mirror_have_the_known_means(tmp_path):
    fetch("cifar10", tmp_path, REAL_MIRROR)
    data = load("cifar10", tmp_path, valid_per_class=0)
    assert (len(data.train), len(data.test)) == (49_923, 9_979)
    means = data.train.x.transpose(0, 1).flatten(1).float().mean(1)
    # The reference is printed with four decimals; single precision sums add some 1e-3.
    torch.testing.assert_close(
        means, torch.tensor([125.3064, 122.9342, 113.8248]), atol=2e-3, rtol=0
    )
    data = load("cifar10", tmp_path)
    assert (len(data.train), len(data.valid)) == (48_923, 1_000)
