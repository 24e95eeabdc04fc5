"""Read CIFAR-10 from its authors' archive.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
"""

import io
import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.datasets import unpickle
from common.datasets.source import Unfit

OFFICIAL = "cifar-10-python.tar.gz"
SIDE = 32
_FOLDER = "cifar-10-batches-py"
_BATCHES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]


def read_batches(path: Path) -> dict[str, Pair]:
    """Return images and labels of 'train' and 'test' from the authors' archive.

    Its members are pickles; `unpickle` admits arrays and containers only.

    Raises:
        Unfit: the archive is damaged, lacks a batch, or a batch is something else.
        OSError: it cannot be read.
    """
    members = {f"{_FOLDER}/{name}" for names in _BATCHES.values() for name in names}
    batches: dict[str, Pair] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for info in archive:
                if info.isreg() and info.name in members:
                    content = archive.extractfile(info)
                    assert content is not None
                    batches[info.name.split("/")[1]] = _batch(content.read(), info.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise Unfit(f"is not a readable tar.gz archive ({error or 'cut short'})") from error
    if missing := [n for names in _BATCHES.values() for n in names if n not in batches]:
        raise Unfit(f"lacks {missing[0]}")
    return {
        part: (
            np.concatenate([batches[name][0] for name in names]),
            np.concatenate([batches[name][1] for name in names]),
        )
        for part, names in _BATCHES.items()
    }


def _batch(content: bytes, name: str) -> Pair:
    batch = unpickle.load(io.BytesIO(content))
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        raise Unfit(f"holds {name}, which has no data and labels")
    x, y = np.asarray(batch["data"]), np.asarray(batch["labels"])
    if x.dtype != np.uint8 or x.shape != (len(y), 3 * SIDE * SIDE) or y.dtype.kind != "i":
        raise Unfit(f"holds {name} with {x.dtype} {x.shape} and {len(y)} labels")
    return x.reshape(-1, 3, SIDE, SIDE), y.astype(np.int64)
