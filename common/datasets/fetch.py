"""Bring the raw files of a data set to data/raw/<name>/ and verify them.

    python -m common.datasets.fetch mnist
    python -m common.datasets.fetch mnist --mirror /media/disk/data
    python -m common.datasets.fetch power --optional

Sources are tried in this order: what already lies there, a mirror folder that holds
<name>/<file> (`--mirror`, else the environment variable DATA_MIRROR, else ../shared/data where it
exists), the official address. A file gets its name only once its bytes are the pinned ones, or
its content the expected one where nobody states the bytes, so the command may be killed at any time
and run again. With `--optional` data that cannot be had are no error: the folder then holds
missing.txt, and loading the set raises `raw.DataMissing`.
"""

import argparse
import errno
import fcntl
import hashlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from common.datasets.packed import unpack
from common.datasets.raw import RAW, DataMissing, array_fault, content_fault
from common.datasets.source import Packed, RawFile, Source, Unfit
from common.datasets.sources import SOURCES, find
from common.errors import UserError, command

MISSING = "missing.txt"
DEFAULT_MIRROR = Path("../shared/data")
PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte


class _Unavailable(Exception):
    """An origin did not give the file; the text is the predicate of a sentence."""


class _Absent(Exception):
    """No origin gave the file; the text says what each of them answered."""

    def __init__(self, file: RawFile, answers: str) -> None:
        super().__init__(answers)
        self.file = file


def fetch(name: str, raw: Path = RAW, mirror: Path | None = None) -> None:
    """Bring all raw files of a set to raw/<name>/; files that are complete stay as they are.

    Raises:
        DataMissing: a file cannot be had; those before it are kept.
        UserError: a file cannot be written, or the mirror is no folder.
    """
    source = find(name)
    mirror = _mirror(mirror)
    folder = raw / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f"{folder}: expected a folder, got a file on the way; move that away or name another "
            "folder with --raw"
        ) from error
    except OSError as error:
        raise _write_error(folder, error) from error
    with _write_errors(folder), _alone(folder):
        if source.make is not None:
            _make_arrays(source, folder)
        if source.forms:
            _bring_one_form(source, folder, mirror)
        (folder / MISSING).unlink(missing_ok=True)


def fetch_optional(name: str, raw: Path = RAW, mirror: Path | None = None) -> None:
    """Do as `fetch`, but where the data cannot be had print why and write raw/<name>/missing.txt.

    Raises:
        UserError: a file cannot be written, or the mirror is no folder.
    """
    try:
        fetch(name, raw, mirror)
    except DataMissing as error:
        note = raw / name / MISSING
        # Alike on every machine: a pipeline compares what its stages leave.
        text = f"{name}: raw data not available\n"
        with _write_errors(note):
            _settle(note, partial(_write, text.encode()), None)
        print(f"not available: {error}")


def _bring_one_form(source: Source, folder: Path, mirror: Path | None) -> None:
    """Bring the first group of files that can be had; those at hand go before a download."""
    with ExitStack() as stack:
        archives = _Archives(folder, stack)
        for online in (False, True) if len(source.forms) > 1 else (True,):
            absent = []
            for form in source.forms:
                try:
                    for file in form:
                        _bring(file, folder, mirror, archives if online else None)
                    return
                except _Absent as error:
                    absent.append(error)
    if len(absent) == 1:
        file = absent[0].file
        where, what = f"{folder / file.name}: expected {file.expected}, but {absent[0]}", "the file"
    else:
        each = (f"for {e.file.name} expected {e.file.expected}, but {e}" for e in absent)
        where, what = f"{folder}: {'; '.join(each)}", "one of these"
    holds = " or ".join(error.file.mirror for error in absent)
    raise DataMissing(
        f"{where}; put {what} there yourself, or set DATA_MIRROR to a folder that holds {holds}, "
        "and run the same command again (finished files are kept)"
    )


def _mirror(option: Path | None) -> Path | None:
    """Return the mirror folder to use; an empty DATA_MIRROR means none."""
    if option is None and "DATA_MIRROR" not in os.environ:
        return DEFAULT_MIRROR if DEFAULT_MIRROR.is_dir() else None
    text = os.environ.get("DATA_MIRROR", "") if option is None else str(option)
    if text and not Path(text).is_dir():
        raise UserError(
            f"mirror {text}: expected a folder, there is none; correct --mirror or DATA_MIRROR, or "
            "set DATA_MIRROR to nothing to use the official addresses"
        )
    return Path(text) if text else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let a second fetch of the same set wait for the first."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock a folder; then nobody waits.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make_arrays(source: Source, folder: Path) -> None:
    """Write the arrays of an embedded or generated set, each to its .npy file."""
    assert source.make is not None
    arrays = source.make()
    for expected in source.arrays:
        array = arrays[expected.name]
        path = folder / f"{expected.name}.npy"
        if problem := array_fault(array, expected):
            raise UserError(
                f"{path}: what scikit-learn gives {problem}, expected {expected.dtype} "
                f"{expected.shape}; install the versions of requirements.lock"
            )
        # .npy and not .npz: its bytes depend on the array alone.
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        with _write_errors(path):
            if path.is_file() and path.read_bytes() == content.getvalue():
                print(f"{path}: already there")
                continue
            _settle(path, partial(_write, content.getvalue()), None)
        print(f"{path}: {source.kind}")


def _bring(file: RawFile, folder: Path, mirror: Path | None, archives: "_Archives | None") -> None:
    """Bring one file from the first origin that has the expected content; no archives: offline."""
    path = folder / file.name
    tried = []
    with _write_errors(path):
        if path.exists():
            if not (problem := content_fault(path, file)):
                print(f"{path}: already there")
                return
            tried.append(f"the file there {problem}")
        origins: list[tuple[str, RawFile, Callable[[IO[bytes]], None]]] = []
        if mirror is not None:
            copy = mirror / file.mirror
            held_to = file if file.mirror_pin is None else replace(file, pin=file.mirror_pin)
            origins.append((str(copy), replace(held_to, mirror_pin=None), partial(_copy, copy)))
        for url in file.urls if archives is not None else ():
            official = replace(file, mirror_pin=None)
            if isinstance(url, Packed):
                assert archives is not None
                origins.append((url.url, official, partial(archives.take, url)))
            else:
                origins.append((url, official, partial(_download, url)))
        for name, expected, write in origins:
            try:
                problem = _settle(path, write, expected)
            except _Unavailable as error:
                problem = str(error)
            if not problem:
                print(f"{path}: from {name}")
                return
            tried.append(f"{name} {problem}")
    answers = ", ".join(tried) or ("there is none" if file.urls else "no address holds it")
    raise _Absent(file, answers)


def _settle(path: Path, write: Callable[[IO[bytes]], None], expected: RawFile | None) -> str:
    """Write to a temporary neighbour, verify that and rename it; return its fault, or ''."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        if expected is not None and (problem := content_fault(part, expected)):
            return problem
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return ""


def _write(content: bytes, out: IO[bytes]) -> None:
    out.write(content)


def _copy(source: Path, out: IO[bytes]) -> None:
    try:
        file = source.open("rb")
    except FileNotFoundError:
        raise _Unavailable("is not there") from None
    except OSError as error:
        raise _Unavailable(f"cannot be read ({error.strerror})") from error
    with file:
        shutil.copyfileobj(file, out, 1 << 20)


class _Archives:
    """Download archives to temporary neighbours, each once however many files are taken from it.

    Args:
        folder: where they lie meanwhile.
        stack: removes them at its end.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._there: dict[str, Path] = {}

    def take(self, packed: Packed, out: IO[bytes]) -> None:
        """Write the file that `packed` names to `out`."""
        if packed.url not in self._there:
            # A fixed name: what a killed fetch left is written over.
            path = self._folder / f".{hashlib.sha256(packed.url.encode()).hexdigest()[:12]}.part"
            self._stack.callback(path.unlink, missing_ok=True)
            with path.open("wb") as archive:
                _download(packed.url, archive)
            self._there[packed.url] = path
        try:
            unpack(self._there[packed.url], packed, out)
        except Unfit as error:
            raise _Unavailable(str(error)) from error


def _download(url: str, out: IO[bytes]) -> None:
    """Download with pooch, again after a pause where the network failed."""
    import pooch
    import requests

    download = pooch.HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=1 << 16,
        timeout=TIMEOUT,
        # Else a server may send the file decompressed, or packed once more.
        headers={"Accept-Encoding": "identity"},
    )
    for pause in (*PAUSES, None):
        out.seek(0)
        out.truncate()
        try:
            download(url, out, None)
            return
        except requests.HTTPError as error:
            status = 0 if error.response is None else error.response.status_code
            problem = f"answers with HTTP status {status}"
            if status < 500:  # asking again would not change the answer
                pause = None
        except requests.exceptions.ChunkedEncodingError:
            problem = "was cut off during the download"
        except requests.Timeout:
            problem = "does not answer in time"
        except requests.ConnectionError:
            problem = "cannot be reached"
        except requests.RequestException as error:
            problem = f"fails with {type(error).__name__}"
        if pause is None:
            raise _Unavailable(problem)
        time.sleep(pause)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Turn a refusal of the system into one sentence."""
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"{path}: no space left on this disk; free some and run the same command again "
            "(finished files are kept)"
        )
    return UserError(
        f"{path}: cannot be written ({error.strerror or error}); check the folder and run the same "
        "command again (finished files are kept)"
    )


@command
def main(argv: Sequence[str] | None = None) -> None:
    """Fetch the set named on the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m common.datasets.fetch", description="Bring and verify raw data."
    )
    parser.add_argument("name", help=", ".join(SOURCES))
    parser.add_argument("--raw", type=Path, default=RAW, help="default: %(default)s")
    parser.add_argument("--mirror", type=Path, help="default: DATA_MIRROR, else ../shared/data")
    parser.add_argument(
        "--optional", action="store_true", help="data that cannot be had are no error"
    )
    args = parser.parse_args(argv)
    (fetch_optional if args.optional else fetch)(args.name, args.raw, args.mirror)


if __name__ == "__main__":
    main()
