"""Tables: three files that say the same, digit by digit."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.report.digits import significant, with_error
from common.report.tables import Column, Table, escape_latex, write_tables
from tests.common.report.demo import table


def written(made: Table, folder: Path) -> dict[str, str]:
    write_tables([made], folder)
    return {
        kind: (folder / f"{made.name}.{kind}").read_text(encoding="utf-8")
        for kind in ("md", "tex", "csv")
    }


def one(kind: str, value: object, **column: object) -> Table:
    return Table("t", "T", "", [Column("a", "A", kind, **column)], [{"a": value}])


def from_csv(text: str) -> list[list[str]]:
    header, *lines = list(csv.reader(text.splitlines()))
    merged = []
    for line in lines:
        entry = dict(zip(header, line, strict=True))
        error = entry.pop("nll_se")
        entry["nll"] += f" ± {error}" if error else ""
        merged.append([text or "—" for text in entry.values()])
    return merged


def from_markdown(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    return [[part.strip().replace("\\", "") for part in line[1:-1].split("|")] for line in lines]


def from_latex(text: str) -> list[list[str]]:
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    for mark, plain in ((r"\pm", "±"), (r"\_", "_"), ("{,}", ","), ("$", ""), ("---", "—")):
        body = body.replace(mark, plain)
    body = re.sub(r" \\times 10\^\{(-?\d+)\}", r"e\1", body)
    return [[part.strip() for part in line[:-2].split("&")] for line in body.splitlines()]


def test_the_three_writers_agree_on_every_entry(tmp_path: Path):
    texts = written(table(), tmp_path)
    rows = from_markdown(texts["md"])
    assert rows == from_latex(texts["tex"])
    plain = [
        [entry.replace(",", "") if i == 2 else entry for i, entry in enumerate(r)] for r in rows
    ]
    assert plain == from_csv(texts["csv"])
    assert rows[1] == ["LU-Net", "—", "2,461,760", "1.7763 ± 0.0042", "3.0e-6", "reproduced"]
    assert rows[2][3:5] == ["4.210", "not finite"]
    assert rows[3][3:] == ["diverged", "—", "not reproduced"]


def test_a_second_run_writes_the_same_bytes(tmp_path: Path):
    for name in ("one", "two"):
        write_tables([table()], tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["index.json", "likelihood.csv", "likelihood.md", "likelihood.tex"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_data_frame_gives_the_same_files_as_its_rows(tmp_path: Path):
    rows = [{"a": 1, "b": 0.5}, {"a": 2, "b": None}]
    columns = [Column("a", "A", "integer"), Column("b", "B", "number")]
    by_rows = written(Table("t", "T", "", columns, rows), tmp_path)
    assert by_rows == written(Table("t", "T", "", columns, pd.DataFrame(rows)), tmp_path)


@pytest.mark.parametrize("value", [None, float("nan"), np.float32("nan"), pd.NA])
@pytest.mark.parametrize("kind", ["text", "integer", "number", "verdict"])
def test_a_missing_value_is_an_em_dash_and_empty_in_csv(tmp_path: Path, kind, value):
    texts = written(one(kind, value), tmp_path)
    assert "| — |" in texts["md"]
    assert "\n--- \\\\\n" in texts["tex"]
    assert texts["csv"] == 'a\n""\n'


@pytest.mark.parametrize(
    ("kind", "value", "sentence"),
    [
        ("number", "about 3", "expected a number or 'diverged'"),
        ("number", True, "expected a number"),
        ("number", [1, 2], "expected a number"),
        ("integer", 1.5, "expected an integer"),
        ("verdict", "fine", "expected one of reproduced"),
    ],
)
def test_a_value_that_its_column_cannot_show_is_refused(tmp_path: Path, kind, value, sentence):
    with pytest.raises(UserError, match=rf"table 't', row 1: column 'a'.*{sentence}"):
        write_tables([one(kind, value)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_column_is_refused_and_nothing_is_written(tmp_path: Path):
    wrong = replace(table(), rows=[{"method": "x"}, {"nll_sd": 1.0}])
    with pytest.raises(UserError, match="row 2: unknown column 'nll_sd', expected one of"):
        write_tables([table(), replace(wrong, name="other")], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_negative_standard_error_is_refused(tmp_path: Path):
    wrong = replace(table(), rows=[{"nll": 1.0, "nll_se": -0.1}])
    with pytest.raises(UserError, match=r"'nll_se' holds -0\.1"):
        write_tables([wrong], tmp_path)


def test_two_tables_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="two tables have one name"):
        write_tables([table(), table()], tmp_path)


def test_latex_escapes_every_character_it_would_read_as_a_command():
    assert escape_latex(r"a_b & 5% $x$ #1 {c} ~ ^ \d") == (
        r"a\_b \& 5\% \$x\$ \#1 \{c\} \textasciitilde{} \textasciicircum{} \textbackslash{}d"
    )
    assert escape_latex("—±≤") == r"---$\pm$$\le$"


def test_markdown_escapes_what_would_break_the_row(tmp_path: Path):
    assert r"| a\|b \*c\* |" in written(one("text", "a|b\n*c*"), tmp_path)["md"]


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 4, "0"),
        (1.23456, 4, "1.235"),
        (9.9996, 4, "10.00"),
        (123456.7, 4, "123457"),
        (-0.4921, 3, "-0.492"),
        (0.000384, 3, "0.000384"),
        (3.04e-7, 2, "3.0e-7"),
        (1.2e8, 4, "1.20e8"),
    ],
)
def test_significant_digits(value, digits, text):
    assert significant(value, digits) == text


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (1.77634, 0.00418, ("1.7763", "0.0042")),
        (1.7, 0.00996, ("1.700", "0.010")),
        (1234.5, 123.4, ("1234", "123")),
        (2.0, 0.0, ("2.000", "0")),
        (2.0, None, ("2.000", "")),
        (1e-9, 2e-10, ("1.00e-9", "2.0e-10")),
    ],
)
def test_a_mean_has_the_digits_of_its_error(mean, error, text):
    assert with_error(mean, error) == text


@given(mean=st.floats(-1e4, 1e4), error=st.floats(1e-6, 1e3))
def test_rounding_a_mean_moves_it_by_less_than_a_tenth_of_its_error(mean, error):
    shown_mean, shown_error = with_error(mean, error)
    # Two digits of the error are kept, so half a digit is at most 1/20 of it.
    assert abs(float(shown_mean) - mean) <= 0.0501 * error + 1e-9
    assert abs(float(shown_error) - error) <= 0.0501 * error
