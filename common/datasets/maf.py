"""Preprocess POWER, GAS, HEPMASS and MINIBOONE as the density literature does.

Arrays in, three splits out; reading files is the task of `maf_files`. Every step, its order and
its order of random draws follows the code published with Papamakarios, Pavlakou and Murray,
"Masked Autoregressive Flow for Density Estimation", 2017, https://arxiv.org/abs/1705.07057.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.datasets.columns import rare_minimum, uncorrelated

Array = NDArray[np.float64]
Splits = tuple[Array, Array, Array]

POWER_SEED = 42
# Order in data.npy and in the UCI file: power, reactive power, voltage, intensity, three
# sub-meterings, time of day.
_REACTIVE, _INTENSITY = 1, 3
MINIBOONE_MISSING = -100.0


def split_tail(x: Array) -> Splits:
    """Return (train, valid, test): the last tenth tests, the last tenth of the rest validates."""
    rest, test = _cut(x)
    train, valid = _cut(rest)
    return train, valid, test


def _cut(x: Array) -> tuple[Array, Array]:
    n = len(x) - len(x) // 10
    return x[:n], x[n:]


def standardise(x: Array, reference: Array, ddof: int = 0) -> Array:
    """Return x with the mean and standard deviation (over N - ddof) of `reference` taken out."""
    return (x - reference.mean(0)) / reference.std(0, ddof=ddof)


def power(x: Array, *, whole_minutes: bool = False) -> Splits:
    """Preprocess POWER: shuffle, drop two columns, add noise, split, standardise.

    Noise is uniform on [0, a): a = 0.01 for the voltage, 0.001 for the power and 1 for the
    sub-meterings, drawn in this order after the shuffle by one generator.

    Args:
        x: (N, 8), rows with missing values already dropped; it is not changed.
        whole_minutes: the time of day is an integer: noise on [0, 1) is added to it too, drawn
            last. The published loader adds none to its own file; to whole minutes it must be
            added, or the density in that direction is a comb.

    Returns:
        splits with 6 columns: power, voltage, the three sub-meterings, time.
    """
    rng = np.random.RandomState(POWER_SEED)
    # Shuffling indices draws the same numbers as shuffling the rows in place.
    order = np.arange(len(x))
    rng.shuffle(order)
    x = np.delete(x[order], (_REACTIVE, _INTENSITY), axis=1)
    n = len(x)
    x[:, 1:2] += 0.01 * rng.rand(n, 1)
    x[:, 0:1] += 0.001 * rng.rand(n, 1)
    x[:, 2:5] += rng.rand(n, 3)
    if whole_minutes:
        x[:, 5:6] += rng.rand(n, 1)
    return _standardised_by_rest(split_tail(x))


def gas(x: Array) -> Splits:
    """Preprocess GAS: drop correlated sensors, standardise by all rows (N - 1), split.

    Args:
        x: (N, 16), the sensors, in the published file's order of rows.

    Returns:
        splits with 8 columns. Test rows enter mean and standard deviation, as published.
    """
    x = x[:, uncorrelated(x)]
    return split_tail(standardise(x, x, ddof=1))


def hepmass(train: Array, test: Array) -> Splits:
    """Preprocess HEPMASS: standardise by the training file (N - 1), drop columns, split that file.

    Args:
        train: signal rows of the training file, (N, D).
        test: signal rows of the test file, (M, D) or more columns, of which the first D count.

    Returns:
        splits with 21 columns: those whose smallest value in train occurs at most five times.
    """
    test = test[:, : train.shape[1]]
    rest = standardise(train, train, ddof=1)
    kept = rare_minimum(rest)
    new_train, valid = _cut(rest[:, kept])
    return new_train, valid, standardise(test, train, ddof=1)[:, kept]


def miniboone_rows(x: Array) -> Array:
    """Return the rows and columns of MINIBOONE from all signal rows of the UCI file.

    Rows whose first feature is below -100 are missing measurements; of the 50 columns those stay
    whose smallest value occurs at most five times, 43 as published.
    """
    x = x[x[:, 0] >= MINIBOONE_MISSING]
    return x[:, rare_minimum(x)]


def miniboone(x: Array) -> Splits:
    """Preprocess MINIBOONE, (N, 43) in the file's order: split, standardise by train and valid."""
    return _standardised_by_rest(split_tail(x))


def _standardised_by_rest(splits: Splits) -> Splits:
    train, valid, test = splits
    rest = np.concatenate((train, valid))
    return standardise(train, rest), standardise(valid, rest), standardise(test, rest)


def miniboone_partial(valid: Array, test: Array, head: Array, seed: int = 0) -> Splits:
    """Return the splits of what is public of MINIBOONE in pieces.

    Train is the published validation rows and the first rows of the published train split, less a
    tenth that validates; test is the published test split.

    Args:
        valid: the published validation split, (3284, 43), standardised by its authors.
        test: the published test split, (3648, 43), likewise.
        head: the first rows of the published train split in raw units, (1523, 43). The mean and
            deviation that the others were standardised by are not public: these rows take their
            own, which are off by about 0.026 standard deviations.
        seed: decides which tenth validates.
    """
    rest = np.concatenate((valid, standardise(head, head)))
    rest = rest[np.random.default_rng(seed).permutation(len(rest))]
    train, new_valid = _cut(rest)
    return train, new_valid, test


def drop_missing(x: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of a table (N, D) without NaN."""
    return x[~np.isnan(x).any(1)]
