"""Write result files whole, with the same bytes on every machine."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.training import atomic


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step and make its folder; a killed run leaves the old one in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with the line ends it has; see `write_bytes`."""
    write_bytes(path, text.encode())


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    """Return the lines as CSV with plain line feeds."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
