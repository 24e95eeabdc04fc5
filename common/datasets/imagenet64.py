"""Read ImageNet at 64 x 64 pixels, in either of the two forms it was published in.

Sources: Chrabaszcz, Loshchilov and Hutter, "A Downsampled Variant of ImageNet as an Alternative to
the CIFAR datasets", 2017 (npz files); van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel Recurrent
Neural Networks", 2016 (tar archives of PNG images, which the density literature uses). The two are
resampled differently: their likelihoods do not compare. Neither can be fetched without an account
at image-net.org.
"""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.npz import read_npz
from common.datasets.source import Unfit

SIDE = 64
TARS = ("train_64x64.tar", "valid_64x64.tar")
# The last one is the official validation set, which the literature tests on.
BATCHES = (*(f"train_data_batch_{k}.npz" for k in range(1, 11)), "val_data.npz")


def read_batch(path: Path) -> NDArray[np.uint8]:
    """Return the images of one npz file, uint8 (N, 3, 64, 64).

    Raises:
        Unfit: the file is damaged, or its array `data` is not uint8 (N, 12288).
        OSError: it cannot be read.
    """
    data = read_npz(path, ("data",))["data"]
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise Unfit(f"holds {data.dtype} {data.shape}, expected uint8 (N, {3 * SIDE * SIDE})")
    return data.reshape(-1, 3, SIDE, SIDE)


def read_pngs(path: Path) -> NDArray[np.uint8]:
    """Return the images of a tar archive of PNG files, by name, uint8 (N, 3, 64, 64).

    Raises:
        Unfit: the archive is damaged, holds no PNG file, or one of another size.
        OSError: it cannot be read.
    """
    from PIL import Image

    images: dict[str, NDArray[Any]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for info in archive:
                if not (info.isreg() and info.name.endswith(".png")):
                    continue
                content = archive.extractfile(info)
                assert content is not None
                with Image.open(io.BytesIO(content.read()), formats=["PNG"]) as image:
                    pixels = np.asarray(image.convert("RGB"))
                if pixels.shape != (SIDE, SIDE, 3):
                    raise Unfit(f"holds {info.name} of {pixels.shape} values, expected 64 x 64 x 3")
                images[info.name] = pixels.transpose(2, 0, 1)
    except Unfit:
        raise
    except Exception as error:  # a damaged archive or image fails in many ways
        raise Unfit(f"is not a readable tar archive of PNG images ({error})") from error
    if not images:
        raise Unfit("holds no PNG image")
    return np.stack([images[name] for name in sorted(images)])
