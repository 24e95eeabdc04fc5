"""Join published cells with measurements and judge each pair."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from common.errors import UserError
from common.report.cells import Cell
from common.report.digits import exact, significant
from common.report.files import csv_text, write_text

Verdict = Literal["reproduced", "not reproduced", "scaled down", "not run"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
DIVERGED = "diverged"


@dataclass(frozen=True)
class Measurement:
    """What our run says about one published cell.

    Either `measured` (the mean over `n_seeds`, in the cell's unit), or `diverged` or `not_run` with
    the reason. `scaled_down` gives the reason why a measurement does not count. `note` is appended
    to the reason the verdict writes itself.

    Raises:
        UserError: none or several of the three are given, or a number is not finite.
    """

    id: str
    stage: str
    measured: float | None = None
    measured_se: float | None = None
    n_seeds: int = 1
    measured_standard: float | None = None
    scaled_down: str = ""
    diverged: str = ""
    not_run: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        given = (self.measured is not None, bool(self.diverged), bool(self.not_run))
        if sum(given) != 1:
            raise UserError(
                f"measurement {self.id!r}: expected exactly one of a measured value, diverged or "
                f"not_run, got {sum(given)}"
            )
        for name in ("measured", "measured_se", "measured_standard"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise UserError(
                    f"measurement {self.id!r}: {name} is {value}; say diverged='reason' for a run "
                    "that left the finite numbers"
                )
        if self.measured_se is not None and self.measured_se < 0:
            raise UserError(f"measurement {self.id!r}: measured_se is {self.measured_se} < 0")
        if self.scaled_down and self.not_run:
            raise UserError(f"measurement {self.id!r}: a cell not run cannot be scaled down")


def verdict(cell: Cell, measurement: Measurement) -> tuple[Verdict, str]:
    """Judge a measurement; return the verdict and its reason in words.

    The margin is the largest of the published error, two of our standard errors and the tolerance.
    A measurement on the better side of a directed cell agrees at any distance.
    """
    if measurement.not_run:
        return "not run", _joined(measurement.not_run, measurement.note)
    if measurement.scaled_down:
        parts = measurement.scaled_down, measurement.diverged, measurement.note
        return "scaled down", _joined(*parts)
    if measurement.measured is None:
        return "not reproduced", _joined(measurement.diverged, measurement.note)
    margin, name = max(
        (cell.tolerance.value, "tolerance"),
        (cell.published_se or 0.0, "published error"),
        (2 * (measurement.measured_se or 0.0), "two standard errors"),
        key=lambda pair: pair[0],
    )
    gap = measurement.measured - cell.value
    worse = {"lower": gap, "higher": -gap, "equal": abs(gap)}[cell.direction]
    size = f"{significant(abs(gap), 3)} {cell.unit}"
    if worse < 0:
        return "reproduced", _joined(f"better by {size}", measurement.note)
    # 1.25 - 1.2 exceeds 0.05 in binary; one part in 1e9 of the numbers compared is rounding.
    rounding = 1e-9 * max(abs(cell.value), abs(measurement.measured))
    if worse <= margin + rounding:
        text = (
            "equal to the published value"
            if gap == 0
            else f"off by {size}, inside {margin:.3g} ({name})"
        )
        return "reproduced", _joined(text, measurement.note)
    how = "off" if cell.direction == "equal" else "worse"
    text = f"{how} by {size}, allowed {margin:.3g} ({name})"
    return "not reproduced", _joined(text, measurement.note)


@dataclass(frozen=True)
class LedgerRow:
    """One line of the ledger; text as it is written, numbers with ten significant digits."""

    paper: str
    table: str
    row: str
    column: str
    unit: str
    published: str
    published_se: str
    measured: str
    measured_se: str
    n_seeds: str
    verdict: str
    reason: str
    stage: str
    standard_unit: str
    published_standard: str
    measured_standard: str


COLUMNS = tuple(field.name for field in fields(LedgerRow))


def join(paper: str, cells: Sequence[Cell], measurements: Iterable[Measurement]) -> list[LedgerRow]:
    """Pair every published cell with its measurement, in the cells' order.

    Raises:
        UserError: a cell has no measurement (one that was not run must say so), or a measurement
            names no cell or one that already has a measurement.
    """
    known = {cell.id: cell for cell in cells}
    found: dict[str, Measurement] = {}
    for measurement in measurements:
        if measurement.id not in known:
            raise UserError(f"{paper}: measurement {measurement.id!r} names no published cell")
        if measurement.id in found:
            raise UserError(f"{paper}: cell {measurement.id!r} has two measurements, expected one")
        if measurement.measured_standard is not None and not known[measurement.id].like_for_like:
            raise UserError(
                f"{paper}: measurement {measurement.id!r} has a like-for-like value, but its cell "
                "defines no like_for_like unit"
            )
        found[measurement.id] = measurement
    missing = [cell.id for cell in cells if cell.id not in found]
    if missing:
        raise UserError(
            f"{paper}: no measurement for {', '.join(map(repr, missing))}; measure it or give "
            "not_run with the reason"
        )
    return [_row(paper, cell, found[cell.id]) for cell in cells]


def tally(rows: Iterable[LedgerRow]) -> dict[str, int]:
    """Count the rows per verdict; only the first two are claims that were tested."""
    counts: dict[str, int] = dict.fromkeys(VERDICTS, 0)
    for row in rows:
        counts[row.verdict] += 1
    return counts


def write_ledger(rows: Iterable[LedgerRow], path: Path) -> None:
    """Write the ledger as CSV with the columns of `COLUMNS`."""
    write_text(path, csv_text([COLUMNS, *map(astuple, rows)]))


def read_ledger(path: Path) -> list[LedgerRow]:
    """Read what `write_ledger` wrote.

    Raises:
        UserError: the file is missing, or its columns or a verdict are not a ledger's.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except FileNotFoundError:
        raise UserError(f"{path}: no such ledger; run the paper's tables stage first") from None
    if tuple(header) != COLUMNS:
        raise UserError(f"{path}: expected the columns {','.join(COLUMNS)}, got {','.join(header)}")
    rows = []
    for number, line in enumerate(lines, start=2):
        if len(line) != len(COLUMNS):
            raise UserError(f"{path}, line {number}: {len(line)} fields, expected {len(COLUMNS)}")
        row = LedgerRow(*line)
        if row.verdict not in VERDICTS:
            raise UserError(
                f"{path}, line {number}: unknown verdict {row.verdict!r}, expected one of "
                f"{', '.join(VERDICTS)}"
            )
        rows.append(row)
    return rows


def _row(paper: str, cell: Cell, measurement: Measurement) -> LedgerRow:
    word, reason = verdict(cell, measurement)
    standard = cell.like_for_like
    return LedgerRow(
        paper=paper,
        table=cell.table,
        row=cell.row,
        column=cell.column,
        unit=cell.unit,
        published=exact(cell.value),
        published_se=exact(cell.published_se),
        measured=DIVERGED if measurement.diverged else exact(measurement.measured),
        measured_se=exact(measurement.measured_se),
        n_seeds="" if measurement.not_run else str(measurement.n_seeds),
        verdict=word,
        reason=reason,
        stage=measurement.stage,
        standard_unit=standard.unit if standard else "",
        published_standard=exact(standard.value) if standard else "",
        measured_standard=exact(measurement.measured_standard),
    )


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
