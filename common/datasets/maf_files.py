"""Read the files of POWER, GAS, HEPMASS and MINIBOONE, as published or as UCI holds them.

No checksum of these files could be had, so that content decides: numbers of rows and columns are
the published ones and every value is finite.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.maf import drop_missing, miniboone_rows
from common.datasets.npz import read_npy, read_npz
from common.datasets.source import Unfit
from common.datasets.unpickle import load_frame

Array = NDArray[np.float64]

POWER_ROWS = 2_049_280
GAS_ROWS = 1_052_065
GAS_DROPPED = ("Meth", "Eth", "Time")
GAS_SENSORS = 16
HEPMASS_ROWS = {"1000_train.csv": 350_136, "1000_test.csv": 174_987}
MINIBOONE_SHAPE = (36_488, 43)
_MINIBOONE_FEATURES = 50
_POWER_NAMES = (
    "Global_active_power",
    "Global_reactive_power",
    "Voltage",
    "Global_intensity",
    "Sub_metering_1",
    "Sub_metering_2",
    "Sub_metering_3",
)
PARTIAL_SHAPES = {
    "val_normalised": (3284, 43),
    "test_normalised": (3648, 43),
    "train_raw_head": (1523, 43),
}
FRAGMENT_ROWS = 47_955


def read_power_npy(path: Path) -> Array:
    """Return POWER as its benchmark's file holds it, (2049280, 8)."""
    return read_npy(path, 8, POWER_ROWS)


def read_power_text(path: Path, rows: int = POWER_ROWS) -> Array:
    """Return POWER from household_power_consumption.txt, (rows, 8), rows with '?' dropped.

    The last column is the minute of the day, a whole number.

    Raises:
        Unfit: the file is no such table, or another number of rows is complete.
        OSError: it cannot be read.
    """
    frame = _read_csv(path, sep=";", na_values="?", dtype={"Date": str, "Time": str})
    if missing := [name for name in ("Time", *_POWER_NAMES) if name not in frame]:
        raise Unfit(f"lacks the column '{missing[0]}'")
    try:
        clock = frame["Time"].str.split(":", expand=True)
        minute = 60 * clock[0].astype(int) + clock[1].astype(int)
        x = np.column_stack((frame[list(_POWER_NAMES)].to_numpy(np.float64), minute))
    except (KeyError, ValueError) as error:
        raise Unfit(f"holds something that is no number ({error})") from error
    return _checked(drop_missing(x), rows)


def read_power_fragment(path: Path) -> Array:
    """Return the first minutes of POWER, (47955, 8), in the form of `read_power_text`."""
    arrays = read_npz(path, ("values", "minute_of_day"))
    values, minute = arrays["values"], arrays["minute_of_day"]
    if values.ndim != 2 or values.shape[1] != 7 or minute.shape != values.shape[:1]:
        raise Unfit(f"holds values {values.shape} and minutes {minute.shape}, expected (N, 7), N")
    return _checked(drop_missing(np.column_stack((values, minute)).astype(np.float64)))


def read_gas(path: Path, rows: int = GAS_ROWS) -> Array:
    """Return the 16 sensors of GAS from ethylene_CO.pickle, (rows, 16).

    The published file is a pickled data frame, and unpickling can run any code. `unpickle` admits
    the constructors of arrays and nothing else; a file that needs more is refused. That was tested
    on pickles made for the test in the present and in the older form, not on the published file
    itself, which could not be had.

    Raises:
        Unfit: the pickle asks for more than a data frame, or its content is another.
        OSError: it cannot be read.
    """
    columns = load_frame(path)
    if missing := [name for name in GAS_DROPPED if name not in columns]:
        raise Unfit(f"lacks the column '{missing[0]}'")
    sensors = [values for name, values in columns.items() if name not in GAS_DROPPED]
    if len(sensors) != GAS_SENSORS:
        raise Unfit(f"has {len(sensors)} sensors, expected {GAS_SENSORS}")
    return _checked(np.column_stack(sensors).astype(np.float64), rows)


def read_hepmass(path: Path, rows: int | None = None) -> Array:
    """Return the signal rows of a HEPMASS file, (rows, D): first column 1, which is dropped.

    Columns count by position, since the test file has one more than the other, behind the
    features, and names would be shifted by it. Columns that are empty throughout are left.

    Raises:
        Unfit: the file is no such table, or holds another number of signal rows.
        OSError: it cannot be read.
    """
    frame = _read_csv(path, header=None, skiprows=1).dropna(axis=1, how="all")
    try:
        x = frame.to_numpy(np.float64)
    except ValueError as error:
        raise Unfit(f"holds something that is no number ({error})") from error
    if not x.size or not np.isin(x[:, 0], (0, 1)).all():
        raise Unfit("has labels other than 0 and 1 in its first column")
    return _checked(x[x[:, 0] == 1, 1:], rows)


def read_hepmass_train(path: Path) -> Array:
    """Return the signal rows of 1000_train.csv, (350136, D)."""
    return read_hepmass(path, HEPMASS_ROWS["1000_train.csv"])


def read_hepmass_test(path: Path) -> Array:
    """Return the signal rows of 1000_test.csv, (174987, D + 1)."""
    return read_hepmass(path, HEPMASS_ROWS["1000_test.csv"])


def read_miniboone_npy(path: Path) -> Array:
    """Return MINIBOONE as its benchmark's file holds it, (36488, 43), raw units."""
    return read_npy(path, MINIBOONE_SHAPE[1], MINIBOONE_SHAPE[0])


def read_miniboone_text(path: Path, shape: tuple[int, int] = MINIBOONE_SHAPE) -> Array:
    """Return the same from MiniBooNE_PID.txt: two counts, then signal rows, then background.

    Raises:
        Unfit: the file is no such table, or the published rule leaves another shape.
        OSError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            signal = int(file.readline().split()[0])
            text = io.StringIO("".join(line for line, _ in zip(file, range(signal), strict=False)))
        x = np.loadtxt(text, ndmin=2)
    except (IndexError, ValueError) as error:  # a text in another code is a ValueError too
        raise Unfit(f"is no table of particles ({error})") from error
    if x.shape != (signal, _MINIBOONE_FEATURES):
        raise Unfit(f"holds {x.shape} signal values, expected ({signal}, {_MINIBOONE_FEATURES})")
    x = miniboone_rows(_checked(x))
    if x.shape != shape:
        raise Unfit(f"leaves {x.shape} after the published rule, expected {shape}")
    return x


def read_miniboone_partial(path: Path) -> tuple[Array, Array, Array]:
    """Return the public pieces of MINIBOONE: validation, test, and the head of train."""
    arrays = read_npz(path, tuple(PARTIAL_SHAPES))
    for name, shape in PARTIAL_SHAPES.items():
        if arrays[name].shape != shape:
            raise Unfit(f"holds '{name}' {arrays[name].shape}, expected {shape}")
    valid, test, head = (_checked(arrays[name]) for name in PARTIAL_SHAPES)
    return valid, test, head


def _read_csv(path: Path, **options: Any) -> Any:
    """Return a pandas frame of a text table."""
    import pandas as pd

    try:
        return pd.read_csv(path, low_memory=False, **options)
    except OSError:
        raise
    except Exception as error:  # pandas has many ways to refuse a table
        raise Unfit(f"is not a readable table ({' '.join(str(error).split())})") from error


def _checked(x: Array, rows: int | None = None) -> Array:
    if rows is not None and len(x) != rows:
        raise Unfit(f"has {len(x):,} rows, expected {rows:,}")
    if not np.isfinite(x).all():
        raise Unfit("holds values that are not finite")
    return x
