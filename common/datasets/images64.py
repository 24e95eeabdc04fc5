"""Read photographs of 64 x 64 pixels that recoveries are tried on.

Sources: Liu, Luo, Wang, Tang, "Deep learning face attributes in the wild", 2015 (CelebA, for
non-commercial research); Karras, Laine, Aila, "A style-based generator architecture for generative
adversarial networks", 2019 (FFHQ); Welinder et al., "Caltech-UCSD Birds 200", 2010; Nilsback,
Zisserman, "A visual vocabulary for flower classification", 2006.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.datasets.dataset import Split
from common.datasets.raw import RAW, read_verified
from common.datasets.tiles import read_tiles

SIDE = 64
# The first five are the published test images of Asim et al., 2020,
# https://arxiv.org/abs/1905.11672; the class of an image of ood64 is its place here.
OOD_PARTS = (
    "glowip_celeba100",
    "glowip_ffhq100",
    "glowip_birds",
    "glowip_flowers",
    "glowip_ood",
    "cub_birds",
    "flowers17",
)


def read_celeba64(name: str, raw: Path = RAW) -> tuple[Split, Split]:
    """Return 3,400 faces to train on and 300 to test, uint8 (N, 3, 64, 64); labels are zero.

    They are a sample of CelebA's train and test partitions, no person in both, the middle 148 x 148
    pixels resized. The published experiments took CelebA-HQ, framed otherwise, and eight times as
    many.

    Raises:
        DataMissing: the files are not there.
        UserError: a file is damaged.
    """
    train, test = (_read(name, f"{part}.zip", raw) for part in ("train", "test"))
    return _split([train], [0]), _split([test], [0])


def read_ood64(name: str, raw: Path = RAW) -> tuple[Split, Split]:
    """Return no image to train on and 750 to test, uint8 (N, 3, 64, 64).

    The class of an image says which part it is of, as its place in `OOD_PARTS`: faces, birds,
    flowers, and pictures in the wild.

    Raises:
        DataMissing: the files are not there.
        UserError: a file is damaged.
    """
    parts = [_read(name, f"{part}.zip", raw) for part in OOD_PARTS]
    test = _split(parts, list(range(len(parts))))
    return Split(test.x[:0], test.y[:0]), test


def _read(name: str, file: str, raw: Path) -> NDArray[np.uint8]:
    return read_verified(name, file, lambda path: read_tiles(path, SIDE), raw)


def _split(parts: list[NDArray[np.uint8]], classes: list[int]) -> Split:
    y = np.repeat(np.array(classes, dtype=np.int64), [len(part) for part in parts])
    return Split(torch.from_numpy(np.concatenate(parts)), torch.from_numpy(y))
