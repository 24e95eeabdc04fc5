"""Image sets as uint8 tensors, the validation split taken out of train."""

import gzip
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.datasets.colour import read_cifar10, read_imagenet64
from common.datasets.dataset import Dataset, Split
from common.datasets.images64 import read_celeba64, read_ood64
from common.datasets.raw import RAW, remedy, verified_array, verified_file
from common.datasets.sources import (
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
)
from common.datasets.splits import stratified
from common.errors import UserError

DIGITS_TEST_SHARE = 0.2
# The digits have no published split; this one is ours and no argument changes it.
DIGITS_TEST_SEED = 20230217


def read_idx(path: Path) -> Tensor:
    """Return a compressed idx file as torchvision reads it.

    Images come as uint8 (N, H, W), labels as int64 (N,), by the number of dimensions the file's
    name states (idx3 or idx1).

    Raises:
        UserError: the file is not gzip or not idx, or the temporary folder is full.
    """
    from torchvision.datasets.mnist import read_image_file, read_label_file

    read = read_image_file if "idx3" in path.name else read_label_file
    name, raw = path.parent.name, path.parent.parent
    try:
        plain = gzip.decompress(path.read_bytes())
    except Exception as error:  # a damaged stream fails in many ways
        raise UserError(f"{path}: not a readable gzip file; {remedy(name, raw)}") from error
    # The reader takes a path to a decompressed file only.
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(plain)
            file.flush()
            return read(file.name)
    except OSError as error:
        raise UserError(
            f"{tempfile.gettempdir()}: {error.strerror or error} while unpacking {path}; "
            f"{len(plain):,} bytes are needed there, or set TMPDIR to another folder"
        ) from error
    except Exception as error:  # the reader's checks are assertions and index errors
        raise UserError(f"{path}: not a readable idx file; {remedy(name, raw)}") from error


def _read_idx_set(name: str, raw: Path) -> tuple[Split, Split]:
    """Return the published train and test splits of a set in MNIST's format."""
    splits = []
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        x = read_idx(verified_file(name, images, raw))
        y = read_idx(verified_file(name, labels, raw))
        if len(x) != len(y):
            raise UserError(
                f"{raw / name}: expected a label for each of {len(x):,} images of {images}, "
                f"got {len(y):,}; {remedy(name, raw)}"
            )
        splits.append(Split(x.unsqueeze(1), y))
    return splits[0], splits[1]


def _read_digits(name: str, raw: Path) -> tuple[Split, Split]:
    """Return the digits and our test split, the same fifth of every class for any seed."""
    x = torch.from_numpy(verified_array(name, "images", raw)).unsqueeze(1)
    y = torch.from_numpy(verified_array(name, "labels", raw)).long()
    counts = (y.bincount() * DIGITS_TEST_SHARE).round().long()
    rest, test = stratified(y, counts, DIGITS_TEST_SEED)
    return Split(x[rest], y[rest]), Split(x[test], y[test])


def _read_patches(name: str, raw: Path) -> tuple[Split, Split]:
    """Return no image to train on and all patches to test."""
    x = torch.from_numpy(verified_array(name, "images", raw)).unsqueeze(1)
    y = torch.from_numpy(verified_array(name, "labels", raw)).long()
    return Split(x[:0], y[:0]), Split(x, y)


@dataclass(frozen=True)
class _ImageSet:
    """How a set is read, its number of grey levels, and its default validation size per class.

    A set whose validation size is None is for tests alone: it has no image to train on.
    """

    read: Callable[[str, Path], tuple[Split, Split]]
    levels: int
    valid_per_class: int | None


IMAGE_SETS = {
    "digits": _ImageSet(_read_digits, levels=17, valid_per_class=20),
    "patches": _ImageSet(_read_patches, levels=17, valid_per_class=None),
    "mnist": _ImageSet(_read_idx_set, levels=256, valid_per_class=500),
    "fashion-mnist": _ImageSet(_read_idx_set, levels=256, valid_per_class=500),
    # Two and one per cent of train, as the spline flows are validated.
    "cifar10": _ImageSet(read_cifar10, levels=256, valid_per_class=100),
    "imagenet64": _ImageSet(read_imagenet64, levels=256, valid_per_class=12_812),
    # All faces are of one class.
    "celeba64": _ImageSet(read_celeba64, levels=256, valid_per_class=400),
    "ood64": _ImageSet(read_ood64, levels=256, valid_per_class=None),
}


def load_images(
    name: str, raw: Path = RAW, valid_per_class: int | None = None, seed: int = 0
) -> Dataset:
    """Read an image set; the test split is the published one and no argument changes it.

    Args:
        name: a key of `IMAGE_SETS`.
        raw: folder that holds <name>/.
        valid_per_class: images of each class that leave train for validation; None for the set's
            default, 0 for the published protocol, which has no validation split. Sets that are for
            tests alone take 0 and None.
        seed: decides which images validate.

    Raises:
        UserError: raw data are missing or damaged, or a class has too few images to validate.
    """
    images = IMAGE_SETS[name]
    if images.valid_per_class is None and valid_per_class:
        raise UserError(
            f"{name}: valid_per_class must be 0 or empty, the set has no images to train on, got "
            f"{valid_per_class}"
        )
    train, test = images.read(name, raw)
    if images.valid_per_class is None:
        return Dataset(name, train, train, test, images.levels, int(test.y.max()) + 1)
    per_class = images.valid_per_class if valid_per_class is None else valid_per_class
    sizes = train.y.bincount()
    if not 0 <= per_class < sizes.min():
        raise UserError(
            f"{name}: valid_per_class must be 0 to {int(sizes.min()) - 1}, less than the smallest "
            f"class of train, got {per_class}"
        )
    rest, chosen = stratified(train.y, torch.full_like(sizes, per_class), seed)
    return Dataset(
        name=name,
        train=Split(train.x[rest], train.y[rest]),
        valid=Split(train.x[chosen], train.y[chosen]),
        test=test,
        levels=images.levels,
        classes=len(sizes),
    )
