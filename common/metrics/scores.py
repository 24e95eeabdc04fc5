"""The two files an evaluation leaves: numbers as JSON, arrays as a compressed archive."""

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from common.errors import UserError
from common.training import atomic


def write_scores(folder: Path, metrics: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> None:
    """Write metrics.json and arrays.npz, each atomically; equal content gives equal bytes.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror})") from None
    packed = io.BytesIO()
    plain: dict[str, Any] = {name: array.cpu().numpy() for name, array in arrays.items()}
    np.savez_compressed(packed, **plain)
    atomic.write_bytes(folder / "arrays.npz", packed.getbuffer())
    text = json.dumps(finite(metrics), indent=2, sort_keys=True, allow_nan=False) + "\n"
    atomic.write_bytes(folder / "metrics.json", text.encode())


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return the numbers of an evaluation.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / "metrics.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run the evaluation first") from None
    except (TypeError, ValueError):  # no mapping, or no JSON
        raise UserError(f"{path}: not readable as JSON; run the evaluation again") from None


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an evaluation by name.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / "arrays.npz"
    try:
        # Opened here, because numpy leaves a damaged archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run the evaluation first") from None
    except Exception as error:  # a damaged archive fails in many ways
        raise UserError(f"{path}: damaged ({error}); run the evaluation again") from error


def finite(value: Any) -> Any:
    """Return the metrics with numbers that are not finite as text, which JSON can hold."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "not finite"
    return value
