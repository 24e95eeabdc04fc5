"""Bring the raw files of a data set to data/raw/<name>/ and verify them.

    python -m common.datasets.fetch mnist
    python -m common.datasets.fetch mnist --mirror /media/disk/data

Sources are tried in this order: what already lies there, a mirror folder that holds
<name>/<file> (`--mirror`, else the environment variable DATA_MIRROR, else ../shared/data where it
exists), the official address. A file gets its name only once its bytes are the pinned ones, so the
command may be killed at any time and run again.
"""

import argparse
import errno
import fcntl
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from common.datasets.raw import RAW, array_fault, fault
from common.datasets.sources import Pin, RawFile, Source, find
from common.errors import UserError, command

DEFAULT_MIRROR = Path("../shared/data")
PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte


class _Unavailable(Exception):
    """An origin did not give the file; the text is the predicate of a sentence."""


def fetch(name: str, raw: Path = RAW, mirror: Path | None = None) -> None:
    """Bring all raw files of a set to raw/<name>/; files that are complete stay as they are.

    Raises:
        UserError: a file cannot be had, or not be written; those before it are kept.
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
        for file in source.files:
            _bring(file, folder, mirror)


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
            _settle(path, partial(_write, content.getvalue()), ())
        print(f"{path}: {source.kind}")


def _bring(file: RawFile, folder: Path, mirror: Path | None) -> None:
    """Bring one file from the first origin that has its pinned bytes."""
    path = folder / file.name
    tried = []
    with _write_errors(path):
        if path.exists():
            if not (problem := fault(path, file.pins)):
                print(f"{path}: already there")
                return
            tried.append(f"the file there {problem}")
        origins: list[tuple[str, Pin, Callable[[IO[bytes]], None]]] = []
        if mirror is not None:
            copy = mirror / file.mirror
            origins.append((str(copy), file.mirror_pin or file.pin, partial(_copy, copy)))
        for url in file.urls:
            origins.append((url, file.pin, partial(_download, url)))
        for name, pin, write in origins:
            try:
                problem = _settle(path, write, (pin,))
            except _Unavailable as error:
                problem = str(error)
            if not problem:
                print(f"{path}: from {name}")
                return
            tried.append(f"{name} {problem}")
    raise UserError(
        f"{path}: expected {file.pin.size:,} bytes with SHA-256 {file.pin.sha256}, but "
        f"{', '.join(tried)}; put the file there yourself, or set DATA_MIRROR to a folder that "
        f"holds {file.mirror}, and run the same command again (finished files are kept)"
    )


def _settle(path: Path, write: Callable[[IO[bytes]], None], pins: Sequence[Pin]) -> str:
    """Write to a temporary neighbour, verify that and rename it; return its fault, or ''."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        if pins and (problem := fault(part, pins)):
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
    parser.add_argument("name", help="mixture, digits, mnist or fashion-mnist")
    parser.add_argument("--raw", type=Path, default=RAW, help="default: %(default)s")
    parser.add_argument("--mirror", type=Path, help="default: DATA_MIRROR, else ../shared/data")
    args = parser.parse_args(argv)
    fetch(args.name, args.raw, args.mirror)


if __name__ == "__main__":
    main()
