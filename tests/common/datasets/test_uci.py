from pathlib import Path

import numpy as np
import pytest

from common.datasets.source import Unfit
from common.datasets.uci import TABLES, Table, choose, read_table

SMALL = Table("small.csv", 3, ("a", "b", "kind"), 2, header=1, labels=1)
TEXT = "a,b,kind\n1,2.5,g\n-3e-005,4,b\n0.5,6,g\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "small.csv"
    path.write_text(text)
    return path


def test_numbers_are_read_without_header_and_labels(tmp_path):
    x = read_table(write(tmp_path, TEXT), SMALL)
    assert np.array_equal(x, [[1, 2.5], [-3e-5, 4], [0.5, 6]])
    assert x.dtype == np.float64


def test_blanks_separate_as_well(tmp_path):
    table = Table("small.csv", 2, ("a", "b"), 2, delimiter=None)
    x = read_table(write(tmp_path, "  1.5   2\n\t3 4.25 \n\n"), table)
    assert np.array_equal(x, [[1.5, 2], [3, 4.25]])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEXT[: TEXT.index("0.5")], "has 2 rows of data, expected 3"),
        (TEXT[:-5], "has 1 columns in line 4, expected 3"),
        (TEXT.replace("2.5,g", "2.5,7,g"), "has 4 columns in line 2, expected 3"),
        (TEXT.replace("2.5", "nan"), "holds values that are not finite"),
        (TEXT.replace("2.5", "inf"), "holds values that are not finite"),
        (TEXT.replace("2.5", "?"), "holds something that is no number"),
        ("<html>\n<body>Sign in</body>\n</html>\n", "has 1 columns in line 2, expected 3"),
        ("", "has 0 rows of data, expected 3"),
    ],
)
def test_a_damaged_table_is_refused(text, problem, tmp_path):
    with pytest.raises(Unfit, match=problem):
        read_table(write(tmp_path, text), SMALL)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "small.csv").write_bytes(b"\xff\xfe\x00\x9d")
    with pytest.raises(Unfit, match="is not a text table"):
        read_table(tmp_path / "small.csv", SMALL)


def test_the_rules_drop_whole_numbers_then_named_then_correlated_columns():
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 300))
    x = np.stack((np.round(9 * a), a, b, c, c + 0.01 * a), axis=1)
    table = Table("", 300, ("whole", "a", "b", "c", "again"), 2, without=("b",))
    assert choose(x, table).tolist() == [1, 4]


def test_another_number_of_columns_than_published_is_refused():
    x = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises(Unfit, match="leaves 3 columns by the rules, expected 2"):
        choose(x, Table("", 50, ("a", "b", "c"), 2))


def test_dropped_names_are_columns():
    for table in TABLES.values():
        assert set(table.without) <= set(table.columns)
