"""Read images that were packed side by side into lossless tiles."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.source import Unfit


def read_tiles(path: Path, side: int) -> NDArray[np.uint8]:
    """Return the images of a zip archive of WebP tiles, uint8 (N, 3, side, side).

    Each tile is a grid of RGB images, read row by row, tiles in the order of their names. Where
    the archive holds index.csv it has a line for each image; what follows is padding.

    Raises:
        Unfit: the archive is damaged, or a tile is no whole grid of such images.
        OSError: it cannot be read.
    """
    from PIL import Image

    grids = []
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in sorted(name for name in names if name.endswith(".webp")):
                with Image.open(io.BytesIO(archive.read(name)), formats=["WEBP"]) as image:
                    grids.append(_cut(np.asarray(image.convert("RGB")), side))
            count = None
            if "index.csv" in names:
                count = len(archive.read("index.csv").decode().splitlines())
    except Unfit:
        raise
    except Exception as error:  # a damaged archive or image fails in many ways
        raise Unfit(f"is not a readable archive of tiles ({type(error).__name__})") from error
    if not grids:
        raise Unfit("holds no tiles")
    return np.concatenate(grids)[:count]


def _cut(tile: NDArray[Any], side: int) -> NDArray[np.uint8]:
    """Return the images of a tile (rows * side, columns * side, 3), row by row."""
    height, width, channels = tile.shape
    if height % side or width % side:
        raise Unfit(f"holds a tile of {height} x {width} pixels, no grid of {side} x {side}")
    grid = tile.reshape(height // side, side, width // side, side, channels)
    return grid.transpose(0, 2, 4, 1, 3).reshape(-1, channels, side, side)
