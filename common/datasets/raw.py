"""Read what lies in data/raw, and refuse what is not what it should be."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.datasets.source import Pin, RawArray, RawFile, Unfit
from common.datasets.sources import find
from common.errors import UserError

Content = TypeVar("Content")

RAW = Path("data/raw")
_WEB_PAGE = "looks like a web page, not data"


class DataMissing(UserError):
    """Report that raw data are not there: a pipeline can then say `not run`."""


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
    return _WEB_PAGE if _is_web_page(path) else problem


def content_fault(path: Path, file: RawFile) -> str:
    """Return what is wrong with a file that has pins, or content, to be held to; '' if nothing.

    Raises:
        OSError: the file cannot be read.
    """
    if file.pins:
        return fault(path, file.pins)
    assert file.read is not None
    if _is_web_page(path):
        return _WEB_PAGE
    try:
        file.read(path)
    except Unfit as error:
        return str(error)
    return ""


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(256).lstrip().lower()
    return head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head"))


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

    A file without pins is returned as it is: whoever reads it verifies its content.

    Raises:
        DataMissing: the file is not there.
        UserError: it is unreadable or damaged.
    """
    file = next(f for form in find(name).forms for f in form if f.name == file_name)
    path = raw / name / file_name
    try:
        problem = fault(path, file.pins) if file.pins else ""
        if not file.pins:
            path.stat()
    except FileNotFoundError as error:
        raise DataMissing(f"{path}: {error.strerror}; {remedy(name, raw)}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {remedy(name, raw)}") from error
    if problem:
        raise UserError(f"{path}: {problem}, expected {file.expected}; {remedy(name, raw)}")
    return path


def present_form(name: str, raw: Path = RAW) -> tuple[str, ...]:
    """Return the names of the files of the first form of a set that lies there completely.

    Raises:
        DataMissing: no form does.
    """
    forms = find(name).forms
    for form in forms:
        if all((raw / name / file.name).exists() for file in form):
            return tuple(file.name for file in form)
    wanted = " or ".join(" and ".join(file.name for file in form) for form in forms)
    raise DataMissing(f"{raw / name}: expected {wanted}, got no such file; {remedy(name, raw)}")


def read_verified(
    name: str, file_name: str, read: Callable[[Path], Content], raw: Path = RAW
) -> Content:
    """Return what `read` makes of a raw file, whose bytes or content are the expected ones.

    Raises:
        DataMissing: the file is not there.
        UserError: it is unreadable or damaged.
    """
    path = verified_file(name, file_name, raw)
    try:
        return read(path)
    except Unfit as error:
        raise UserError(f"{path}: {error}; {remedy(name, raw)}") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; {remedy(name, raw)}") from error


def verified_array(name: str, array_name: str, raw: Path = RAW) -> NDArray[Any]:
    """Return a raw array, its shape, dtype and pinned digest checked.

    Raises:
        DataMissing: the file is not there.
        UserError: it is unreadable or damaged.
    """
    expected = next(a for a in find(name).arrays if a.name == array_name)
    path = raw / name / f"{array_name}.npy"
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataMissing(f"{path}: No such file or directory; {remedy(name, raw)}") from None
    except Exception as error:  # a damaged header fails in many ways
        raise UserError(f"{path}: not a readable .npy file; {remedy(name, raw)}") from error
    if problem := array_fault(array, expected):
        raise UserError(
            f"{path}: {problem}, expected {expected.dtype} {expected.shape}; {remedy(name, raw)}"
        )
    return array
