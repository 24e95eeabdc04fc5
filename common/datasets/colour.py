"""Put the files of the colour image sets together to train and test splits."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.datasets import cifar10, imagenet64
from common.datasets.dataset import Split
from common.datasets.npz import read_npz
from common.datasets.raw import RAW, present_form, read_verified, remedy
from common.datasets.tiles import read_tiles
from common.errors import UserError

_LABELS = ("y_train", "y_test", "train_inexact", "test_inexact")


def read_cifar10(name: str, raw: Path = RAW) -> tuple[Split, Split]:
    """Return train and test of CIFAR-10, images uint8 (N, 3, 32, 32).

    From the authors' archive that is 50,000 and 10,000 images in their order. From the mirror it
    is 49,923 and 9,979: the others (77 and 21, mostly ships) were to be had only as JPEG images,
    whose pixels are not the published ones, and are dropped. Its test images are sorted by class.

    Raises:
        DataMissing: neither form lies there.
        UserError: a file is damaged.
    """
    if present_form(name, raw) == (cifar10.OFFICIAL,):
        parts = read_verified(name, cifar10.OFFICIAL, cifar10.read_batches, raw)
        return _split(*parts["train"]), _split(*parts["test"])
    labels = read_verified(name, "labels.npz", lambda path: read_npz(path, _LABELS), raw)
    splits = []
    for part in ("train", "test"):
        file = f"{part}.zip"
        x = read_verified(name, file, lambda path: read_tiles(path, cifar10.SIDE), raw)
        y = labels[f"y_{part}"].astype(np.int64)
        if len(x) != len(y):
            raise UserError(
                f"{raw / name / file}: expected an image for each of {len(y):,} labels, got "
                f"{len(x):,}; {remedy(name, raw)}"
            )
        exact = np.setdiff1d(np.arange(len(y)), labels[f"{part}_inexact"])
        splits.append(_split(x[exact], y[exact]))
    return splits[0], splits[1]


def read_imagenet64(name: str, raw: Path = RAW) -> tuple[Split, Split]:
    """Return train, and the official validation images as test: uint8 (N, 3, 64, 64).

    The labels of the npz form are left and the other form has none: all are zero. Train takes
    16 GB, and about twice that while it is read.

    Raises:
        DataMissing: neither form lies there.
        UserError: a file is damaged.
    """
    if present_form(name, raw) == imagenet64.TARS:
        train, test = (
            read_verified(name, file, imagenet64.read_pngs, raw) for file in imagenet64.TARS
        )
    else:
        *batches, test = (
            read_verified(name, file, imagenet64.read_batch, raw) for file in imagenet64.BATCHES
        )
        train = np.concatenate(batches)
    return _split(train, np.zeros(len(train))), _split(test, np.zeros(len(test)))


def _split(x: NDArray[np.uint8], y: NDArray[Any]) -> Split:
    return Split(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
