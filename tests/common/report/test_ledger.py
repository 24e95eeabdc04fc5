"""Verdicts and the ledger."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.report.cells import Cell, LikeForLike, Tolerance
from common.report.ledger import (
    COLUMNS,
    VERDICTS,
    Measurement,
    join,
    read_ledger,
    tally,
    verdict,
    write_ledger,
)
from tests.common.report.demo import CELLS, measurements

CELL = Cell(
    id="t/r/c",
    table="t",
    row="r",
    column="c",
    value=10.0,
    published_se=None,
    unit="ms",
    direction="lower",
    tolerance=Tolerance(0.5, "an example"),
    protocol="an example",
    source="an example",
    like_for_like=LikeForLike(1.0, "ms/image", "an example"),
)

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e6)


def judged(cell: Cell, measured: float, se: float | None = None) -> str:
    return verdict(cell, Measurement(cell.id, "s", measured=measured, measured_se=se))[0]


@given(published=numbers, gain=positive, tolerance=st.floats(0, 1e3))
@pytest.mark.parametrize(("direction", "sign"), [("lower", -1), ("higher", 1)])
def test_better_is_always_reproduced(direction, sign, published, gain, tolerance):
    cell = replace(
        CELL, direction=direction, value=published, tolerance=Tolerance(tolerance, "any")
    )
    assert judged(cell, published + sign * gain) == "reproduced"


@given(published=numbers, gap=positive, tolerance=st.floats(0, 1e3))
@pytest.mark.parametrize("direction", ["lower", "higher", "equal"])
def test_worse_is_reproduced_just_inside_the_margin_and_not_just_outside(
    direction, published, gap, tolerance
):
    cell = replace(
        CELL, direction=direction, value=published, tolerance=Tolerance(tolerance, "any")
    )
    sign = -1 if direction == "higher" else 1
    # 1e-6 of the numbers' size is well above the rounding that the verdict forgives.
    slack = 1e-6 * (abs(published) + tolerance + gap)
    assert judged(cell, published + sign * max(0.0, tolerance - slack)) == "reproduced"
    assert judged(cell, published + sign * (tolerance + gap + slack)) == "not reproduced"


@given(measured=numbers, se=st.none() | positive, published=numbers)
def test_scaled_down_never_counts_whatever_was_measured(measured, se, published):
    cell = replace(CELL, value=published)
    row = Measurement(
        CELL.id, "s", measured=measured, measured_se=se, scaled_down="16 planes, not 64"
    )
    assert verdict(cell, row) == ("scaled down", "16 planes, not 64")
    counts = tally(join("paper", [cell], [row]))
    assert counts["reproduced"] == counts["not reproduced"] == 0


@pytest.mark.parametrize(
    ("tolerance", "published_se", "measured_se", "name"),
    [
        (0.5, None, None, "tolerance"),
        (0.1, 0.5, 0.2, "published error"),
        (0.1, 0.2, 0.25, "two standard errors"),
    ],
)
def test_the_margin_is_the_largest_of_the_three(tolerance, published_se, measured_se, name):
    cell = replace(CELL, tolerance=Tolerance(tolerance, "any"), published_se=published_se)
    inside = Measurement(cell.id, "s", measured=10.5, measured_se=measured_se)
    assert verdict(cell, inside) == ("reproduced", f"off by 0.500 ms, inside 0.5 ({name})")
    outside = replace(inside, measured=10.51)
    assert verdict(cell, outside) == ("not reproduced", f"worse by 0.510 ms, allowed 0.5 ({name})")


def test_half_a_printed_digit_is_inside_although_binary_numbers_miss_it():
    cell = replace(CELL, value=1.2, direction="equal", tolerance=Tolerance(0.05, "half a digit"))
    assert 1.25 - 1.2 > 0.05
    assert judged(cell, 1.25) == "reproduced"
    assert judged(cell, 1.2501) == "not reproduced"


def test_equal_does_not_accept_better():
    assert judged(replace(CELL, direction="equal"), 8.0) == "not reproduced"


def test_a_diverged_run_is_printed_as_such_and_not_reproduced():
    (row,) = join("p", [CELL], [Measurement(CELL.id, "s", diverged="loss not finite at step 7")])
    assert (row.measured, row.verdict) == ("diverged", "not reproduced")
    assert row.reason == "loss not finite at step 7"


def test_a_diverged_run_of_a_smaller_model_says_nothing_about_the_paper():
    row = Measurement(CELL.id, "s", diverged="loss not finite", scaled_down="16 planes")
    assert verdict(CELL, row) == ("scaled down", "16 planes; loss not finite")


def test_a_note_follows_the_reason():
    row = Measurement(CELL.id, "s", measured=10.0, note="on a CPU")
    assert verdict(CELL, row) == ("reproduced", "equal to the published value; on a CPU")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "exactly one of"),
        ({"measured": 1.0, "not_run": "no GPU"}, "exactly one of"),
        ({"measured": float("nan")}, "say diverged="),
        ({"measured": 1.0, "measured_standard": float("inf")}, "measured_standard is inf"),
        ({"measured": 1.0, "measured_se": -1.0}, "measured_se is -1.0"),
        ({"not_run": "no GPU", "scaled_down": "16 planes"}, "cannot be scaled down"),
    ],
)
def test_a_contradictory_measurement_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        Measurement(CELL.id, "s", **values)


def test_a_published_cell_without_a_measurement_is_an_error():
    with pytest.raises(UserError, match="no measurement for 'timing/realnvp/sampling_per_image'"):
        join("lu_net", CELLS, measurements()[:-1])


def test_a_measurement_of_no_published_cell_is_an_error():
    with pytest.raises(UserError, match="'t/r/d' names no published cell"):
        join("p", [CELL], [Measurement("t/r/d", "s", measured=1.0)])


def test_two_measurements_of_one_cell_are_an_error():
    with pytest.raises(UserError, match="has two measurements"):
        join("p", [CELL], [Measurement(CELL.id, "s", measured=1.0)] * 2)


def test_a_like_for_like_value_needs_a_unit():
    cell = replace(CELL, like_for_like=None)
    with pytest.raises(UserError, match="defines no like_for_like unit"):
        join("p", [cell], [Measurement(cell.id, "s", measured=1.0, measured_standard=1.0)])


def test_the_ledger_has_every_cell_in_order_and_reads_back_the_same(tmp_path: Path):
    rows = join("lu_net", CELLS, reversed(measurements()))
    assert [(r.table, r.row, r.column) for r in rows] == [cell.place for cell in CELLS]
    write_ledger(rows, tmp_path / "new" / "cells.csv")
    assert read_ledger(tmp_path / "new" / "cells.csv") == rows
    with (tmp_path / "new" / "cells.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert ",".join(lines[0]) == (
        "paper,table,row,column,unit,published,published_se,measured,measured_se,n_seeds,verdict,"
        "reason,stage,standard_unit,published_standard,measured_standard"
    )
    assert all(row.reason for row in rows)
    assert sum(tally(rows).values()) == 16
    assert all(tally(rows)[word] for word in VERDICTS)


def test_numbers_keep_ten_digits_in_the_ledger():
    (row,) = join("p", [CELL], [Measurement(CELL.id, "s", measured=0.1 + 0.2)])
    assert row.measured == "0.3"
    (row,) = join("p", [CELL], [Measurement(CELL.id, "s", measured=5388264.125)])
    assert float(row.measured) == pytest.approx(5388264.125, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n", "expected the columns"),
        ("", "expected the columns"),
        (",".join(COLUMNS) + "\nlu_net,t\n", "line 2: 2 fields"),
        (",".join(COLUMNS) + "\n" + ",".join(COLUMNS) + "\n", "unknown verdict 'verdict'"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused_with_its_name(tmp_path: Path, text, sentence):
    (tmp_path / "cells.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"cells\.csv.*{sentence}"):
        read_ledger(tmp_path / "cells.csv")
