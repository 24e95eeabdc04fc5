"""Cut natural image patches out of the Berkeley segmentation images.

Source of the recipe: Uria, Murray and Larochelle, "RNADE: The real-valued neural autoregressive
density-estimator", 2013, section on natural image patches, taken over by Papamakarios, Pavlakou
and Murray, "Masked Autoregressive Flow for Density Estimation", 2017. The published patches are
not available; these are other patches of the same images.
"""

import io
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from common.datasets.source import Unfit

Image = NDArray[np.uint8]

SIDE = 8
FEATURES = SIDE * SIDE - 1
IMAGES = {"train": 200, "test": 100}
SIZES = {(321, 481), (481, 321)}
VALID_IMAGES = 20
PATCHES = {"train": 1_000_000, "valid": 50_000, "test": 250_000}
# Luma of ITU-R BT.601, what the usual conversion to grey takes.
_LUMA = np.array([0.299, 0.587, 0.114])


def read_images(path: Path) -> dict[str, list[Image]]:
    """Return the grey images of both parts, in the order of their numbers.

    Args:
        path: a zip archive with train/<number>.jpg and test/<number>.jpg, or the Berkeley tgz
            archive, which holds the same below BSDS300/images/.

    Returns:
        'train' (200 images) and 'test' (100), each uint8 (321, 481) or (481, 321).

    Raises:
        Unfit: the archive is damaged, or an image is missing or of another size.
        OSError: it cannot be read.
    """
    try:
        members = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path)
        images = {part: [_grey(members[part][k]) for k in sorted(members[part])] for part in IMAGES}
    except (OSError, Unfit):
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise Unfit(f"is not a readable archive of images ({type(error).__name__})") from error
    for part, count in IMAGES.items():
        if len(images[part]) != count:
            raise Unfit(f"holds {len(images[part])} images of '{part}', expected {count}")
        for image in images[part]:
            if image.shape not in SIZES:
                raise Unfit(f"holds an image of {image.shape} pixels, expected 321 x 481")
    return images


def _key(name: str) -> tuple[str, int] | None:
    """Return part and number of an image, None for another member."""
    file = PurePosixPath(name)
    if file.suffix != ".jpg" or file.parent.name not in IMAGES or not file.stem.isdecimal():
        return None
    return file.parent.name, int(file.stem)


def _zip_members(path: Path) -> dict[str, dict[int, bytes]]:
    members: dict[str, dict[int, bytes]] = {part: {} for part in IMAGES}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if key := _key(name):
                members[key[0]][key[1]] = archive.read(name)
    return members


def _tar_members(path: Path) -> dict[str, dict[int, bytes]]:
    members: dict[str, dict[int, bytes]] = {part: {} for part in IMAGES}
    with tarfile.open(path, "r:*") as archive:
        for info in archive:
            if info.isreg() and (key := _key(info.name)):
                content = archive.extractfile(info)
                assert content is not None
                members[key[0]][key[1]] = content.read()
    return members


def _grey(jpeg: bytes) -> Image:
    """Return the luma of a JPEG image, rounded to whole grey levels."""
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            colours = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise Unfit("holds a damaged image") from error
    return np.rint(colours @ _LUMA).astype(np.uint8)


def patches(images: list[Image], n: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw patches of 8 x 8 pixels and return them as (n, 63), float32.

    Image and position are uniform. Uniform noise on [0, 1) is added to the grey levels, they are
    divided by 256, the patch's own mean is taken off, and the last pixel, minus the sum of the
    others, is dropped. Single precision keeps a million patches at 252 MB; it rounds at 3e-8, and
    the noise alone is 4e-3 wide.
    """
    out = np.empty((n, FEATURES), dtype=np.float32)
    which = rng.integers(len(images), size=n)
    place = rng.random((n, 2))
    for k, image in enumerate(images):
        rows = np.flatnonzero(which == k)
        windows = sliding_window_view(image, (SIDE, SIDE))
        i, j = (place[rows] * windows.shape[:2]).astype(np.intp).T
        x = windows[i, j].reshape(len(rows), -1) + rng.random((len(rows), SIDE * SIDE))
        x /= 256
        x -= x.mean(1, keepdims=True)
        out[rows] = x[:, :-1]
    return out


def splits(
    images: dict[str, list[Image]], seed: int = 0, sizes: dict[str, int] = PATCHES
) -> dict[str, NDArray[Any]]:
    """Return the patches of 'train', 'valid' and 'test', each (n, 63) float32.

    Twenty of the training images validate, the others train. All draws are a function of the seed.
    Twenty images are few: the likelihood of the validation patches moves by several nats with the
    choice; compare models on it, never with other work.

    Args:
        images: what `read_images` returns.
        seed: of all draws.
        sizes: number of patches of each split.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images["train"]))
    parts = {
        "train": [images["train"][k] for k in order[VALID_IMAGES:]],
        "valid": [images["train"][k] for k in order[:VALID_IMAGES]],
        "test": images["test"],
    }
    return {name: patches(part, sizes[name], rng) for name, part in parts.items()}
