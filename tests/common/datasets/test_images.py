import gzip
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.datasets import images, load
from common.datasets.fetch import fetch
from common.datasets.images import load_images, read_idx
from common.datasets.sources import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from common.errors import UserError

REAL_MIRROR = Path(__file__).parents[4] / "shared" / "data"


def idx(array: np.ndarray) -> bytes:
    """Return a uint8 array in MNIST's format: magic number, big-endian sizes, bytes."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes(), mtime=0)


@pytest.fixture
def small_mnist(register, tmp_path):
    """An MNIST of ten images per class to train on and three to test on, 5x4 pixels."""
    rng = np.random.default_rng(0)
    arrays, contents = {}, {}
    for n, image_file, label_file in (
        (10, TRAIN_IMAGES, TRAIN_LABELS),
        (3, TEST_IMAGES, TEST_LABELS),
    ):
        arrays[image_file] = rng.integers(0, 256, (10 * n, 5, 4), dtype=np.uint8)
        arrays[label_file] = rng.permutation(np.repeat(np.arange(10, dtype=np.uint8), n))
    (tmp_path / "mnist").mkdir()
    for file, array in arrays.items():
        contents[file] = idx(array)
        (tmp_path / "mnist" / file).write_bytes(contents[file])
    register("mnist", contents)
    return arrays


@pytest.fixture(scope="module")
def digits_raw(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    fetch("digits", raw)
    return raw


def rows(x: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in x}


def test_idx_files_come_out_as_they_went_in(small_mnist, tmp_path):
    for file, array in small_mnist.items():
        read = read_idx(tmp_path / "mnist" / file)
        assert torch.equal(read, torch.from_numpy(array).to(read.dtype))
        assert read.dtype == (torch.uint8 if array.ndim == 3 else torch.int64)


def test_images_have_a_channel_and_stay_bytes(small_mnist, tmp_path):
    data = load("mnist", tmp_path, valid_per_class=0)
    assert data.shape == (1, 5, 4)
    assert data.train.x.dtype == torch.uint8
    assert data.train.y.dtype == torch.int64
    assert (data.levels, data.classes) == (256, 10)
    assert torch.equal(data.train.x.squeeze(1), torch.from_numpy(small_mnist[TRAIN_IMAGES]))
    assert torch.equal(data.test.y, torch.from_numpy(small_mnist[TEST_LABELS]).long())


def test_no_validation_is_the_published_protocol(small_mnist, tmp_path):
    data = load_images("mnist", tmp_path, valid_per_class=0)
    assert (len(data.train), len(data.valid), len(data.test)) == (100, 0, 30)
    assert data.valid.x.shape == (0, 1, 5, 4)


def test_validation_comes_out_of_train_and_leaves_test_alone(small_mnist, tmp_path):
    data = load_images("mnist", tmp_path, valid_per_class=2, seed=3)
    assert torch.equal(data.valid.y.bincount(), torch.full((10,), 2))
    assert torch.equal(data.train.y.bincount(), torch.full((10,), 8))
    assert not rows(data.train.x) & rows(data.valid.x)
    assert rows(data.train.x) | rows(data.valid.x) == rows(
        torch.from_numpy(small_mnist[TRAIN_IMAGES])
    )
    assert torch.equal(data.test.x.squeeze(1), torch.from_numpy(small_mnist[TEST_IMAGES]))


def test_images_keep_their_labels(small_mnist, tmp_path):
    pairs = zip(small_mnist[TRAIN_IMAGES], small_mnist[TRAIN_LABELS], strict=True)
    label = {image.tobytes(): int(y) for image, y in pairs}
    data = load_images("mnist", tmp_path, valid_per_class=2)
    for split in (data.train, data.valid):
        assert [label[image.numpy().tobytes()] for image in split.x] == split.y.tolist()


def test_the_digest_is_that_of_the_content(small_mnist, tmp_path):
    first, again, other = (
        load_images("mnist", tmp_path, valid_per_class=2, seed=s) for s in (0, 0, 1)
    )
    assert first.digest == again.digest
    assert first.digest != other.digest
    again.test.x[0, 0, 0, 0] ^= 1
    changed = replace(again)
    assert changed.digest != first.digest


@pytest.mark.parametrize("count", [-1, 10, 500])
def test_a_validation_size_that_empties_a_class_is_refused(small_mnist, tmp_path, count):
    with pytest.raises(UserError, match=f"mnist: valid_per_class must be 0 to 9, .* got {count}"):
        load_images("mnist", tmp_path, valid_per_class=count)


def test_missing_raw_data_name_the_command_that_fetches_them(tmp_path):
    with pytest.raises(UserError) as caught:
        load("mnist", tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/mnist/{TRAIN_IMAGES}: No such file or directory; "
        f"run `python -m common.datasets.fetch mnist --raw {tmp_path}`"
    )


@pytest.mark.parametrize("file", [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS])
def test_a_bit_flip_in_raw_data_is_refused_with_the_file_s_name(small_mnist, tmp_path, file):
    path = tmp_path / "mnist" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{file}: has SHA-256 .*fetch mnist"):
        load("mnist", tmp_path)


HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2])


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\0\0",
        HEADER,
        HEADER + bytes(7),
        HEADER + bytes(9),
        bytes([0, 0, 99, 3]) + HEADER[4:] + bytes(8),
        bytes([0, 0, 10, 3]) + HEADER[4:] + bytes(8),
        bytes([0, 0, 13, 3]) + HEADER[4:] + bytes(32),
        bytes([0, 0, 8, 1, 0, 0, 0, 8]) + bytes(8),
        b"<!DOCTYPE html><html></html>",
    ],
)
def test_a_corrupt_idx_file_is_one_sentence(plain, tmp_path):
    path = tmp_path / "mnist" / TRAIN_IMAGES
    path.parent.mkdir()
    path.write_bytes(gzip.compress(plain))
    with pytest.raises(UserError, match=rf"{TRAIN_IMAGES}: not a readable idx file; run `python"):
        read_idx(path)


@pytest.mark.parametrize("content", [b"", b"plain", idx(np.zeros((2, 2, 2), np.uint8))[:-9]])
def test_a_file_that_is_no_gzip_is_one_sentence(content, tmp_path):
    path = tmp_path / "mnist" / TRAIN_IMAGES
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a readable (gzip|idx) file; run `python"):
        read_idx(path)


def test_a_full_temporary_folder_is_one_sentence(small_mnist, tmp_path, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images.tempfile, "NamedTemporaryFile", full)
    with pytest.raises(UserError, match=r"No space left on device while unpacking .*TMPDIR"):
        load("mnist", tmp_path)


def test_fewer_labels_than_images_are_refused(register, tmp_path):
    contents = {
        TRAIN_IMAGES: idx(np.zeros((3, 2, 2), np.uint8)),
        TRAIN_LABELS: idx(np.zeros(2, np.uint8)),
    }
    register("mnist", contents)
    (tmp_path / "mnist").mkdir()
    for file, content in contents.items():
        (tmp_path / "mnist" / file).write_bytes(content)
    with pytest.raises(UserError, match="expected a label for each of 3 images"):
        load("mnist", tmp_path)


def test_digits_have_eight_by_eight_pixels_of_seventeen_levels(digits_raw):
    data = load("digits", digits_raw)
    assert data.shape == (1, 8, 8)
    assert (data.levels, data.classes) == (17, 10)
    assert data.train.x.dtype == torch.uint8
    assert int(data.train.x.max()) == 16
    assert (len(data.train), len(data.valid), len(data.test)) == (1238, 200, 359)


def test_the_digits_test_split_is_a_fifth_of_each_class_for_any_seed(digits_raw):
    data = load("digits", digits_raw, seed=0)
    other = load("digits", digits_raw, seed=1)
    assert torch.equal(data.test.x, other.test.x)
    assert not torch.equal(data.valid.x, other.valid.x)
    everything = torch.cat([data.train.y, data.valid.y, data.test.y]).bincount()
    share = data.test.y.bincount() / everything
    # A fifth, up to rounding to whole images of about 180.
    torch.testing.assert_close(share, torch.full((10,), 0.2), atol=0.003, rtol=0)
    assert torch.equal(data.valid.y.bincount(), torch.full((10,), 20))


def test_a_damaged_digits_array_is_refused(digits_raw, tmp_path):
    content = bytearray((digits_raw / "digits" / "images.npy").read_bytes())
    (tmp_path / "digits").mkdir()
    for damaged in (content[:1000], content[:-1] + b"\x05", b"\x93NUMPY\x01\x00", b"", b"junk"):
        (tmp_path / "digits" / "images.npy").write_bytes(damaged)
        with pytest.raises(UserError, match=r"images\.npy: .*run `python -m common"):
            load("digits", tmp_path)


def test_an_array_is_not_unpickled(tmp_path):
    (tmp_path / "digits").mkdir()
    np.save(tmp_path / "digits" / "images.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"images\.npy: not a readable"):
        load("digits", tmp_path)


def test_an_unknown_set_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UserError, match=r"unknown data set 'digit' \(did you mean 'digits'\?\)"):
        load("digit", tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="no mirror beside the repository")
@pytest.mark.parametrize(
    ("name", "mean", "std", "counts"),
    [
        (
            "mnist",
            33.318421,
            78.567490,
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        ("fashion-mnist", 72.940352, 90.021182, [6000] * 10),
    ],
)
def test_the_real_sets_have_the_known_statistics(name, mean, std, counts, tmp_path):
    fetch(name, tmp_path, REAL_MIRROR)
    data = load(name, tmp_path, valid_per_class=0)
    assert data.train.y.bincount().tolist() == counts
    values = data.train.x.flatten().bincount(minlength=256).double()
    level = torch.arange(256, dtype=torch.float64)
    measured = (values * level).sum() / values.sum()
    spread = ((values * (level - measured) ** 2).sum() / values.sum()).sqrt()
    # The reference values are printed with six decimals.
    assert measured.item() == pytest.approx(mean, abs=1e-6)
    assert spread.item() == pytest.approx(std, abs=1e-6)
    data = load(name, tmp_path)
    assert (len(data.train), len(data.valid), len(data.test)) == (55_000, 5_000, 10_000)
