"""Keep a learning curve as a small CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.training import atomic


def write_curve(path: Path, columns: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    """Write the rows; numbers in full, so that equal runs give equal bytes."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    atomic.write_bytes(path, text.getvalue().encode())


def read_curve(path: Path) -> dict[str, list[float]]:
    """Return the columns by name; NaN where an entry is empty.

    Raises:
        UserError: the file is missing or holds something other than numbers.
    """
    try:
        names, *lines = csv.reader(path.read_text(encoding="utf-8").splitlines())
        rows = [[float(entry) if entry else math.nan for entry in line] for line in lines]
        if any(len(row) != len(names) for row in rows):
            raise ValueError(f"expected {len(names)} entries in each line")
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}
    except FileNotFoundError:
        raise UserError(f"{path}: no learning curve there; run the training stage first") from None
    except ValueError as error:
        raise UserError(f"{path}: not a learning curve ({error}); train again") from None
