"""Replace a file in one step, so that a reader or a crash never meets half of it."""

import contextlib
import os
from pathlib import Path

from common.errors import UserError


def write_bytes(path: Path, *chunks: bytes | memoryview, keep: Path | None = None) -> None:
    """Write `chunks` to `path` through a synced temporary file in the same folder.

    The temporary name is fixed, so what a killed writer left there is overwritten by the next
    one; writers of one path must therefore exclude each other (see `lock`).

    Args:
        path: file to replace; its folder must exist.
        chunks: content, written one after the other.
        keep: where the file being replaced is moved to, if it is to be kept.

    Raises:
        UserError: the system refused (disk full, no permission); `path` is then as before.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(
                f"{path}: cannot write ({error.strerror or error}); what was saved before is kept, "
                "make room there and start the same command again"
            ) from error
        raise


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
