"""Read what lies in data/raw, and refuse what is not what it should be."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.sources import Pin, RawArray, find
from common.errors import UserError

RAW = Path("data/raw")


def remedy(name: str, raw: Path = RAW) -> str:
    """Return the command that brings the set, as the end of an error sentence."""
    where = "" if raw == RAW else f" --raw {raw}"
    return f"run `python -m common.datasets.fetch {name}{where}`"


def fault(path: Path, pins: Sequence[Pin]) -> str:
    """Return what is wrong with a file as the predicate of a sentence, or '' if a pin fits.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if any(size == pin.size for pin in pins):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if any(digest == pin.sha256 for pin in pins):
            return ""
        problem = f"has SHA-256 {digest}"
    else:
        problem = f"has {size:,} bytes"
        if size < min(pin.size for pin in pins):
            problem += " (cut short?)"
    with path.open("rb") as file:
        head = file.read(256).lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        return "looks like a web page, not data"
    return problem


def array_fault(array: NDArray[Any], expected: RawArray) -> str:
    """Return what is wrong with an array as the predicate of a sentence, or ''."""
    if array.dtype != np.dtype(expected.dtype) or array.shape != expected.shape:
        return f"holds {array.dtype} {array.shape}"
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    if expected.sha256 and digest != expected.sha256:
        return f"holds an array with SHA-256 {digest}, expected {expected.sha256}"
    if not np.isfinite(array).all():
        return "holds values that are not finite"
    return ""


def verified_file(name: str, file_name: str, raw: Path = RAW) -> Path:
    """Return the path of a raw file whose bytes are the pinned ones.

    Raises:
        UserError: the file is missing, unreadable or damaged.
    """
    file = next(f for f in find(name).files if f.name == file_name)
    path = raw / name / file_name
    try:
        problem = fault(path, file.pins)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {remedy(name, raw)}") from error
    if problem:
        raise UserError(
            f"{path}: {problem}, expected {file.pin.size:,} bytes with SHA-256 {file.pin.sha256}; "
            f"{remedy(name, raw)}"
        )
    return path


def verified_array(name: str, array_name: str, raw: Path = RAW) -> NDArray[Any]:
    """Return a raw array, its shape, dtype and pinned digest checked.

    Raises:
        UserError: the file is missing, unreadable or damaged.
    """
    expected = next(a for a in find(name).arrays if a.name == array_name)
    path = raw / name / f"{array_name}.npy"
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: No such file or directory; {remedy(name, raw)}") from None
    except Exception as error:  # a damaged header fails in many ways
        raise UserError(f"{path}: not a readable .npy file; {remedy(name, raw)}") from error
    if problem := array_fault(array, expected):
        raise UserError(
            f"{path}: {problem}, expected {expected.dtype} {expected.shape}; {remedy(name, raw)}"
        )
    return array
