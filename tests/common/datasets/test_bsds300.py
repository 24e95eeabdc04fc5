import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.datasets import bsds300
from common.datasets.source import Unfit

SHAPES = [(24, 36), (36, 24)]


def jpeg(seed: int, shape=(24, 36), colour: bool = True) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    image = Image.fromarray(pixels if colour else pixels[..., 0])
    content = io.BytesIO()
    image.save(content, "JPEG")
    return content.getvalue()


@pytest.fixture
def members(monkeypatch) -> dict[str, bytes]:
    """Six small images by name; the reader is told their numbers and sizes."""
    monkeypatch.setattr(bsds300, "IMAGES", {"train": 4, "test": 2})
    monkeypatch.setattr(bsds300, "SIZES", set(SHAPES))
    monkeypatch.setattr(bsds300, "VALID_IMAGES", 1)
    names = [f"train/{k}.jpg" for k in (11, 7, 100, 2)] + ["test/5.jpg", "test/30.jpg"]
    return {name: jpeg(k, SHAPES[k % 2]) for k, name in enumerate(names)}


def zipped(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_images_come_by_number_from_either_archive(members, tmp_path):
    images = bsds300.read_images(zipped(tmp_path, members))
    with tarfile.open(tmp_path / "images.tgz", "w:gz") as archive:
        for name, content in {**members, "iids_train.txt": b"7\n"}.items():
            info = tarfile.TarInfo(f"BSDS300/images/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    official = bsds300.read_images(tmp_path / "images.tgz")
    for part, order in (("train", (2, 7, 11, 100)), ("test", (5, 30))):
        assert len(images[part]) == len(order)
        for a, b, number in zip(images[part], official[part], order, strict=True):
            assert np.array_equal(a, b)
            colours = np.asarray(Image.open(io.BytesIO(members[f"{part}/{number}.jpg"])))
            luma = 0.299 * colours[..., 0] + 0.587 * colours[..., 1] + 0.114 * colours[..., 2]
            # Rounded to whole levels; half a level up to rounding of the sum.
            assert np.abs(a - luma).max() <= 0.5 + 1e-12


def test_a_missing_or_odd_image_is_refused(members, tmp_path):
    fewer = {name: content for name, content in members.items() if name != "test/5.jpg"}
    with pytest.raises(Unfit, match="holds 1 images of 'test', expected 2"):
        bsds300.read_images(zipped(tmp_path, fewer))
    odd = {**members, "test/5.jpg": jpeg(0, (24, 24))}
    with pytest.raises(Unfit, match=r"holds an image of \(24, 24\) pixels"):
        bsds300.read_images(zipped(tmp_path, odd))
    for damaged in (members["test/5.jpg"][:300], b"", b"<html></html>"):
        with pytest.raises(Unfit, match="holds a damaged image"):
            bsds300.read_images(zipped(tmp_path, {**members, "test/5.jpg": damaged}))


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html></html>", b"\x1f\x8b\x08"])
def test_what_is_no_archive_is_refused(content, tmp_path):
    path = tmp_path / "images.zip"
    path.write_bytes(content)
    with pytest.raises(Unfit, match="is not a readable archive of images"):
        bsds300.read_images(path)


def test_a_cut_archive_is_refused(members, tmp_path):
    path = zipped(tmp_path, members)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(Unfit, match="is not a readable archive of images"):
        bsds300.read_images(path)


def test_a_patch_is_a_window_less_its_mean_with_noise_of_one_level():
    # A constant slope: every window less its mean is the same 64 numbers.
    image = (np.arange(20, dtype=np.uint8)[:, None] * 5 + np.arange(30, dtype=np.uint8) * 3).astype(
        np.uint8
    )
    x = bsds300.patches([image], 4000, np.random.default_rng(0))
    assert (x.shape, x.dtype) == ((4000, 63), np.float32)
    window = image[:8, :8].astype(float).ravel()
    expected = ((window - window.mean()) / 256)[:-1]
    # Uniform noise has standard deviation 0.289 levels: five standard errors of the mean.
    np.testing.assert_allclose(x.mean(0), expected, rtol=0, atol=5 * 0.289 / 256 / 4000**0.5)
    noise = (x - expected).std(0) * 256
    # The patch's own mean takes 1/64 of the variance; four standard errors of a deviation.
    np.testing.assert_allclose(noise, (63 / 64 / 12) ** 0.5, rtol=0.03)


def test_patches_come_from_everywhere_in_all_images_and_in_random_order():
    # Each image is flat but for its number in one pixel per window: levels tell them apart.
    ramps = [np.add.outer(np.arange(12), np.arange(9) ** 2 * k).astype(np.uint8) for k in range(3)]
    x = bsds300.patches(ramps, 3000, np.random.default_rng(1))
    slope = np.round((x[:, 1] - x[:, 0]) * 256)
    # Image k has slopes k and 3 k at its two column positions.
    assert {0, 1, 2, 3, 6} <= {int(v) for v in np.unique(slope)}
    first, second = (np.abs(part).mean() for part in np.split(slope, 2))
    assert first == pytest.approx(second, rel=0.1)


def test_splits_share_no_training_image_and_follow_the_seed(members, tmp_path):
    images = bsds300.read_images(zipped(tmp_path, members))
    sizes = {"train": 50, "valid": 20, "test": 30}
    first, again, other = (bsds300.splits(images, seed, sizes) for seed in (0, 0, 1))
    for name, n in sizes.items():
        assert first[name].shape == (n, 63)
        assert np.array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_validation_patches_come_from_their_own_images(monkeypatch):
    monkeypatch.setattr(bsds300, "VALID_IMAGES", 1)
    # Image k has slope 8 k: the slope of a patch names its image.
    images = [np.tile(np.arange(9) * 8 * k, (9, 1)).astype(np.uint8) for k in range(4)]
    parts = bsds300.splits(
        {"train": images, "test": images[:1]}, 0, {"train": 300, "valid": 100, "test": 10}
    )
    slopes = {
        name: {int(v) for v in np.round((x[:, 7] - x[:, 0]) * 256 / 56)}
        for name, x in parts.items()
    }
    assert len(slopes["valid"]) == 1
    assert slopes["train"] == {0, 1, 2, 3} - slopes["valid"]
