"""Read arrays from .npy and .npz files that are not trusted."""

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.source import Unfit


def read_npy(path: Path, columns: int, rows: int | None = None) -> NDArray[np.float64]:
    """Return a float64 table (rows, columns) from a .npy file; no pickle is opened.

    Args:
        path: the file.
        columns: expected number of columns.
        rows: expected number of rows, None for any.

    Raises:
        Unfit: the file is cut, no .npy file, of another size, or holds values that are not finite.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        x = _opened(file)
    if not isinstance(x, np.ndarray):
        raise Unfit("is not a readable .npy file")
    if x.ndim != 2 or x.shape[1] != columns or x.dtype.kind != "f":
        raise Unfit(f"holds {x.dtype} {x.shape}, expected a table of {columns} columns")
    if rows is not None and len(x) != rows:
        raise Unfit(f"has {len(x):,} rows, expected {rows:,}")
    if not np.isfinite(x).all():
        raise Unfit("holds values that are not finite")
    return x.astype(np.float64, copy=False)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return the named arrays of an .npz file; no pickle is opened.

    Raises:
        Unfit: the file is cut, no .npz file, or lacks an array.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        archive = _opened(file)
        if isinstance(archive, np.ndarray):
            raise Unfit("is not a readable .npz file")
        if missing := [name for name in names if name not in archive]:
            raise Unfit(f"lacks the array '{missing[0]}'")
        try:
            return {name: archive[name] for name in names}
        except Exception as error:  # a damaged member fails in many ways
            raise Unfit("is not a readable .npz file") from error


def _opened(file: IO[bytes]) -> Any:
    # Given a path, numpy would leave the file of a damaged archive open.
    try:
        return np.load(file, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a damaged header fails in many ways
        raise Unfit("is not a readable .npy or .npz file") from error
