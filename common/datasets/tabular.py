"""Tables and patches as splits of vectors: cross-validated folds, and published splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.datasets import bsds300, maf, maf_files
from common.datasets.dataset import Dataset, Split
from common.datasets.raw import RAW, present_form, read_verified, remedy, verified_array
from common.datasets.source import Unfit
from common.datasets.sources import find
from common.datasets.uci import TABLES, choose, read_table
from common.errors import UserError

Parts = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]

# Features and rows of train, valid and test, as Papamakarios, Pavlakou and Murray, "Masked
# Autoregressive Flow for Density Estimation", 2017, print them.
PUBLISHED_SHAPES = {
    "power": (6, (1_659_917, 184_435, 204_928)),
    "gas": (8, (852_174, 94_685, 105_206)),
    "hepmass": (21, (315_123, 35_013, 174_987)),
    "miniboone": (43, (29_556, 3_284, 3_648)),
    "bsds300": (63, (1_000_000, 50_000, 250_000)),
}


def load_fold(name: str, raw: Path = RAW, fold: int = 0, folds: int = 10, seed: int = 0) -> Dataset:
    """Read one fold of a small table: a tenth tests, a tenth of the rest validates.

    The rows are partitioned at random into `folds` test parts of equal size, up to one row; a
    partition is fixed by the seed. Mean and standard deviation of train and validation together
    are taken out of every split; no test row enters. The columns are chosen on the whole table, as
    the protocol does. Source of the protocol: Uria, Murray and Larochelle, "RNADE: The real-valued
    neural autoregressive density-estimator", 2013.

    Args:
        name: a key of `uci.TABLES`.
        raw: folder that holds <name>/.
        fold: 0 to folds - 1, which part tests.
        folds: number of parts.
        seed: of the partition.

    Returns:
        float64 vectors (N, D), all labels zero.

    Raises:
        DataMissing: the raw data are not there.
        UserError: they are damaged, the set has no folds, or there is no such fold.
    """
    find(name)
    if name not in TABLES:
        raise UserError(f"{name}: this set has no folds; expected one of {', '.join(TABLES)}")
    if folds < 2 or not 0 <= fold < folds:
        raise UserError(f"{name}: fold must be 0 to {folds - 1}, got {fold}")
    x = chosen_columns(name, raw)
    order = np.random.default_rng(seed).permutation(len(x))
    bounds = np.linspace(0, len(x), folds + 1).astype(int)
    test = order[bounds[fold] : bounds[fold + 1]]
    rest = np.concatenate((order[bounds[fold + 1] :], order[: bounds[fold]]))
    normal = maf.standardise(x, x[rest])
    tenth = len(rest) // 10
    return _dataset(name, (normal[rest[tenth:]], normal[rest[:tenth]], normal[test]))


def chosen_columns(name: str, raw: Path = RAW) -> NDArray[np.float64]:
    """Return a small table (N, D), the columns chosen by the protocol, in the file's units."""
    table = TABLES[name]
    if table.file:
        x = read_verified(name, table.file, lambda path: read_table(path, table), raw)
    else:
        x = verified_array(name, "x", raw)
    try:
        return x[:, choose(x, table)]
    except Unfit as error:
        raise UserError(f"{raw / name}: the table {error}; {remedy(name, raw)}") from error


def _power(raw: Path) -> Parts:
    (file,) = present_form("power", raw)
    whole = file.endswith(".txt")
    read = maf_files.read_power_text if whole else maf_files.read_power_npy
    return maf.power(read_verified("power", file, read, raw), whole_minutes=whole)


def _gas(raw: Path) -> Parts:
    return maf.gas(read_verified("gas", "ethylene_CO.pickle", maf_files.read_gas, raw))


def _hepmass(raw: Path) -> Parts:
    train = read_verified("hepmass", "1000_train.csv", maf_files.read_hepmass_train, raw)
    test = read_verified("hepmass", "1000_test.csv", maf_files.read_hepmass_test, raw)
    if test.shape[1] < train.shape[1]:
        raise UserError(
            f"{raw / 'hepmass'}: expected at least as many features in 1000_test.csv as in "
            f"1000_train.csv, got {test.shape[1]} and {train.shape[1]}; {remedy('hepmass', raw)}"
        )
    return maf.hepmass(train, test)


def _miniboone(raw: Path) -> Parts:
    (file,) = present_form("miniboone", raw)
    text = file.endswith(".txt")
    read = maf_files.read_miniboone_text if text else maf_files.read_miniboone_npy
    return maf.miniboone(read_verified("miniboone", file, read, raw))


def _bsds300(raw: Path) -> Parts:
    (file,) = present_form("bsds300", raw)
    parts = bsds300.splits(read_verified("bsds300", file, bsds300.read_images, raw))
    return parts["train"], parts["valid"], parts["test"]


def _miniboone_partial(raw: Path) -> Parts:
    read = maf_files.read_miniboone_partial
    return maf.miniboone_partial(
        *read_verified("miniboone-partial", "miniboone_partial.npz", read, raw)
    )


def _power_fragment(raw: Path) -> Parts:
    read = maf_files.read_power_fragment
    x = read_verified("power-fragment", "power_first_minutes.npz", read, raw)
    return maf.power(x, whole_minutes=True)


_SPLIT_SETS: dict[str, Callable[[Path], Parts]] = {
    "power": _power,
    "gas": _gas,
    "hepmass": _hepmass,
    "miniboone": _miniboone,
    "bsds300": _bsds300,
    "miniboone-partial": _miniboone_partial,
    "power-fragment": _power_fragment,
}


def load_tabular(name: str, raw: Path = RAW) -> Dataset:
    """Read a table or the patches: the published split, or fold 0 of a small table.

    Args:
        name: a key of `uci.TABLES`, or one of power, gas, hepmass, miniboone, bsds300,
            miniboone-partial, power-fragment. The last two are pieces of sets that are not public
            as a whole: nothing measured on them compares with the literature.
        raw: folder that holds <name>/.

    Returns:
        float64 vectors (N, D), for bsds300 float32; all labels zero.

    Raises:
        DataMissing: the raw data are not there.
        UserError: they are damaged, or give other sizes than published.
    """
    if name in TABLES:
        return load_fold(name, raw)
    parts = _SPLIT_SETS[name](raw)
    shape = (parts[0].shape[1], tuple(len(part) for part in parts))
    if shape != (expected := PUBLISHED_SHAPES.get(name, shape)):
        raise UserError(
            f"{raw / name}: the preprocessing gives {shape[0]} features and splits of {shape[1]}, "
            f"expected {expected[0]} and {expected[1]}; {remedy(name, raw)}"
        )
    return _dataset(name, parts)


def _dataset(name: str, parts: Parts) -> Dataset:
    train, valid, test = (
        Split(torch.from_numpy(np.ascontiguousarray(x)), torch.zeros(len(x), dtype=torch.int64))
        for x in parts
    )
    return Dataset(name=name, train=train, valid=valid, test=test, levels=None, classes=1)
