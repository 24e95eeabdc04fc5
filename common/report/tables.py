"""Write one table as Markdown, LaTeX and CSV from the same rows."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from common.errors import UserError
from common.report.digits import significant, with_error
from common.report.files import csv_text, write_text
from common.report.ledger import DIVERGED, VERDICTS

NOT_FINITE = "not finite"
MISSING = "—"

Kind = Literal["text", "integer", "number", "verdict"]


@dataclass(frozen=True)
class Column:
    """What a column shows and how.

    Attributes:
        key: the key of the rows, and the header in CSV.
        header: the header people read; `unit` follows it in brackets.
        kind: `text`; `integer`, with thousands grouped; `number`; or `verdict`.
        digits: significant digits of a number without a standard error.
        decimals: fixed decimals in place of significant digits.
        error: the key of the standard error, which then stands behind the number as ± in Markdown
            and LaTeX and in a column of its own in CSV.
    """

    key: str
    header: str
    kind: Kind = "text"
    unit: str = ""
    digits: int = 4
    decimals: int | None = None
    error: str | None = None

    @property
    def title(self) -> str:
        """Return the header with its unit."""
        return f"{self.header} [{self.unit}]" if self.unit else self.header


@dataclass(frozen=True)
class Table:
    """A table: rows keyed by column, and the words around them.

    A value of None, NaN or pandas' NA is missing and prints as an em dash. A number may also be
    the word `diverged`, or be infinite, which prints as `not finite`.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame
    note: str = ""


@dataclass(frozen=True)
class _Entry:
    """A formatted entry: the text, its standard error, and whether it is a number."""

    text: str
    error: str = ""
    is_number: bool = False


def write_tables(tables: Sequence[Table], folder: Path) -> None:
    """Write `NAME.md`, `NAME.tex` and `NAME.csv` for every table, and `index.json` in their order.

    Raises:
        UserError: a row has a key that is no column, or a value its column cannot show, or two
            tables have one name. Nothing has been written then.
    """
    names = [table.name for table in tables]
    if len(set(names)) < len(names):
        raise UserError(f"two tables have one name: {', '.join(sorted(names))}")
    grids = [_entries(table) for table in tables]
    for table, grid in zip(tables, grids, strict=True):
        write_text(folder / f"{table.name}.md", _markdown(table, grid))
        write_text(folder / f"{table.name}.tex", _latex(table, grid))
        write_text(folder / f"{table.name}.csv", _csv(table, grid))
    index = [_index_entry(table) for table in tables]
    write_text(folder / "index.json", json.dumps(index, indent=2, ensure_ascii=False) + "\n")


def _index_entry(table: Table) -> dict[str, Any]:
    columns = [
        {"key": c.key, "header": c.title, "kind": c.kind, "error": c.error} for c in table.columns
    ]
    words = {"name": table.name, "title": table.title, "caption": table.caption}
    return words | {"note": table.note, "columns": columns}


def _entries(table: Table) -> list[list[_Entry]]:
    rows: Sequence[Mapping[Any, Any]] = (
        table.rows.to_dict(orient="records") if isinstance(table.rows, pd.DataFrame) else table.rows
    )
    known = {column.key for column in table.columns}
    known |= {column.error for column in table.columns if column.error}
    grid = []
    for number, row in enumerate(rows, start=1):
        if unknown := [str(key) for key in row if key not in known]:
            raise UserError(
                f"table {table.name!r}, row {number}: unknown column {unknown[0]!r}, expected one "
                f"of {', '.join(sorted(known))}"
            )
        try:
            grid.append([_entry(column, row) for column in table.columns])
        except UserError as error:
            raise UserError(f"table {table.name!r}, row {number}: {error}") from None
    return grid


def _entry(column: Column, row: Mapping[str, Any]) -> _Entry:
    value = row.get(column.key)
    error = row.get(column.error) if column.error else None
    if _is_missing(value):
        return _Entry(MISSING)
    if column.kind == "text":
        return _Entry(str(value))
    if column.kind == "verdict":
        if value not in VERDICTS:
            raise UserError(
                f"column {column.key!r} holds {value!r}, expected one of {', '.join(VERDICTS)}"
            )
        return _Entry(str(value))
    if value in (DIVERGED, NOT_FINITE):
        return _Entry(str(value))
    number = _number(column.key, value)
    if math.isinf(number):
        return _Entry(NOT_FINITE)
    if column.kind == "integer":
        if number != round(number):
            raise UserError(f"column {column.key!r} holds {value!r}, expected an integer")
        return _Entry(f"{round(number):,}", is_number=True)
    if not _is_missing(error):
        spread = _number(str(column.error), error)
        if not 0 <= spread < math.inf:
            raise UserError(
                f"column {column.error!r} holds {error!r}, expected an error of 0 or more"
            )
        return _Entry(*with_error(number, spread), is_number=True)
    if column.decimals is not None:
        return _Entry(f"{number:.{column.decimals}f}", is_number=True)
    return _Entry(significant(number, column.digits), is_number=True)


def _is_missing(value: Any) -> bool:
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _number(key: str, value: Any) -> float:
    if isinstance(value, str | bool):
        raise UserError(f"column {key!r} holds {value!r}, expected a number or {DIVERGED!r}")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"column {key!r} holds {value!r}, expected a number") from None


def _markdown(table: Table, grid: list[list[_Entry]]) -> str:
    rule = [":--" if column.kind in ("text", "verdict") else "--:" for column in table.columns]
    lines = [[_escape_markdown(column.title) for column in table.columns], rule]
    for row in grid:
        lines.append([_escape_markdown(shown(entry.text, entry.error)) for entry in row])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    parts = [f"**{table.title}.** {table.caption}", body, table.note]
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(text: str, error: str) -> str:
    """Return a number and its standard error as people read them."""
    return f"{text} ± {error}" if error else text


def _escape_markdown(text: str) -> str:
    for character in "\\`*|<":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def _csv(table: Table, grid: list[list[_Entry]]) -> str:
    lines = [[key for c in table.columns for key in (c.key, c.error) if key]]
    for row in grid:
        line = []
        for column, entry in zip(table.columns, row, strict=True):
            text = entry.text.replace(",", "") if column.kind == "integer" else entry.text
            line.append("" if text == MISSING else text)
            if column.error:
                line.append(entry.error)
        lines.append(line)
    return csv_text(lines)


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "—": "---",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
}
_PLUS_MINUS = r" \pm "
_LATEX_TABLE = str.maketrans(_LATEX)


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it stands."""
    return " ".join(text.split()).translate(_LATEX_TABLE)


def _latex_entry(entry: _Entry) -> str:
    if not entry.is_number:
        return escape_latex(entry.text)
    parts = []
    for text in filter(None, (entry.text, entry.error)):
        mantissa, _, power = text.replace(",", "{,}").partition("e")
        parts.append(rf"{mantissa} \times 10^{{{power}}}" if power else mantissa)
    return f"${_PLUS_MINUS.join(parts)}$"


def _latex(table: Table, grid: list[list[_Entry]]) -> str:
    align = "".join("l" if c.kind in ("text", "verdict") else "r" for c in table.columns)
    head = " & ".join(escape_latex(column.title) for column in table.columns)
    body = [" & ".join(map(_latex_entry, row)) for row in grid]
    caption = " ".join(filter(None, (f"{table.title}.", table.caption, table.note)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{line} \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
