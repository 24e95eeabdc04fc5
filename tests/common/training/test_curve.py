import math
from pathlib import Path

import pytest

from common.errors import UserError
from common.training.curve import read_curve, write_curve

COLUMNS = ("step", "train", "valid")


def test_numbers_come_back_in_full(tmp_path: Path):
    rows = [[1, 0.1 + 0.2, 1e-300], [2, -math.pi, math.inf], [3, 2 / 3, math.nan]]
    write_curve(tmp_path / "curve.csv", COLUMNS, rows)
    found = read_curve(tmp_path / "curve.csv")
    assert list(found) == list(COLUMNS)
    assert found["step"] == [1, 2, 3]
    assert found["train"] == [0.1 + 0.2, -math.pi, 2 / 3]
    assert found["valid"][:2] == [1e-300, math.inf]
    assert math.isnan(found["valid"][2])


def test_the_file_is_a_plain_table(tmp_path: Path):
    write_curve(tmp_path / "curve.csv", COLUMNS, [[250, 1.5, -2.0]])
    assert (tmp_path / "curve.csv").read_bytes() == b"step,train,valid\n250,1.5,-2.0\n"


def test_a_curve_of_no_steps_has_empty_columns(tmp_path: Path):
    write_curve(tmp_path / "curve.csv", COLUMNS, [])
    assert read_curve(tmp_path / "curve.csv") == {name: [] for name in COLUMNS}


def test_an_empty_entry_is_not_a_number(tmp_path: Path):
    (tmp_path / "curve.csv").write_text("step,valid\n1,\n2,0.5\n")
    found = read_curve(tmp_path / "curve.csv")
    assert math.isnan(found["valid"][0])
    assert found["valid"][1] == 0.5


def test_a_missing_curve_says_what_to_do(tmp_path: Path):
    with pytest.raises(UserError, match="no learning curve there; run the training stage first"):
        read_curve(tmp_path / "curve.csv")


@pytest.mark.parametrize(
    "content",
    [b"", b"step\nten\n", b"step,valid\n1\n", b"step\n1,2\n", b"step\n1\n\n", b"\xff\n"],
    ids=["empty", "text", "short line", "long line", "blank line", "no text"],
)
def test_a_damaged_curve_is_named_in_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "curve.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"curve\.csv: not a learning curve .*; train again") as e:
        read_curve(tmp_path / "curve.csv")
    assert "\n" not in str(e.value)
