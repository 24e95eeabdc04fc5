"""Read the small UCI tables of the RNADE protocol, and choose their columns.

Source of the protocol: Uria, Murray and Larochelle, "RNADE: The real-valued neural autoregressive
density-estimator", 2013: discrete columns go, and one of every pair with correlation above 0.98.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.columns import discrete, uncorrelated
from common.datasets.source import Unfit


@dataclass(frozen=True)
class Table:
    """Describe a text table.

    Args:
        file: its name in data/raw/<set>/; '' for a set that scikit-learn holds.
        rows: their number, without the header.
        columns: names, in the file's order; empty for a set that scikit-learn holds.
        features: number of columns that the rules leave.
        delimiter: between values, None for blanks.
        header: lines before the data.
        labels: number of trailing columns that are no numbers.
        without: columns dropped beyond the rules.
    """

    file: str
    rows: int
    columns: tuple[str, ...]
    features: int
    delimiter: str | None = ","
    header: int = 0
    labels: int = 0
    without: tuple[str, ...] = ()


_WINE = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
    "quality",
)
_PARKINSONS = (
    "subject#",
    "age",
    "sex",
    "test_time",
    "motor_UPDRS",
    "total_UPDRS",
    "Jitter(%)",
    "Jitter(Abs)",
    "Jitter:RAP",
    "Jitter:PPQ5",
    "Jitter:DDP",
    "Shimmer",
    "Shimmer(dB)",
    "Shimmer:APQ3",
    "Shimmer:APQ5",
    "Shimmer:APQ11",
    "Shimmer:DDA",
    "NHR",
    "HNR",
    "RPDE",
    "DFA",
    "PPE",
)
_BOSTON = (
    "CRIM",
    "ZN",
    "INDUS",
    "CHAS",
    "NOX",
    "RM",
    "AGE",
    "DIS",
    "RAD",
    "TAX",
    "PTRATIO",
    "B",
    "LSTAT",
    "MEDV",
)

TABLES = {
    "red-wine": Table("winequality-red.csv", 1599, _WINE, 11),
    "white-wine": Table("winequality-white.csv", 4898, _WINE, 11),
    "parkinsons": Table("parkinsons_updrs.data", 5875, _PARKINSONS, 15, header=1),
    "ionosphere": Table(
        "ionosphere.csv", 351, (*(f"pulse {k}" for k in range(34)), "class"), 32, labels=1
    ),
    # Three quarters of ZN are zero. No text lists the ten published columns; these are our choice.
    "boston-housing": Table("housing.data", 506, _BOSTON, 10, delimiter=None, without=("ZN",)),
    "wine": Table("", 178, (), 11),
    "breast-cancer": Table("", 569, (), 27),
}


def read_table(path: Path, table: Table) -> NDArray[np.float64]:
    """Return all numeric columns of a text table, (rows, columns).

    Raises:
        Unfit: the file is no such table, has another size, or holds values that are not finite.
        OSError: it cannot be read.
    """
    numeric = len(table.columns) - table.labels
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[table.header :]
    except UnicodeDecodeError as error:
        raise Unfit("is not a text table") from error
    rows = [line.split(table.delimiter) for line in lines if line.strip()]
    for number, row in enumerate(rows, table.header + 1):
        if len(row) != len(table.columns):
            raise Unfit(f"has {len(row)} columns in line {number:,}, expected {len(table.columns)}")
    if len(rows) != table.rows:
        raise Unfit(f"has {len(rows):,} rows of data, expected {table.rows:,}")
    try:
        x = np.array([row[:numeric] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise Unfit(f"holds something that is no number ({error})") from error
    if not np.isfinite(x).all():
        raise Unfit("holds values that are not finite")
    return x


def choose(x: NDArray[Any], table: Table) -> NDArray[np.intp]:
    """Return the columns that the protocol keeps, by index, ascending.

    Whole-number columns go, then `without`, then the first of every pair that is correlated.

    Raises:
        Unfit: another number is left than published.
    """
    dropped = [table.columns.index(name) for name in table.without]
    kept = np.setdiff1d(np.flatnonzero(~discrete(x)), dropped)
    kept = kept[uncorrelated(x[:, kept])]
    if len(kept) != table.features:
        raise Unfit(f"leaves {len(kept)} columns by the rules, expected {table.features}")
    return kept
