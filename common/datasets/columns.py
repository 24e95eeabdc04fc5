"""Rules by which the density literature drops columns of a table."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.floating[Any]]


def discrete(x: Table) -> NDArray[np.bool_]:
    """Tell which columns of a table (N, D) hold whole numbers only; returns (D,)."""
    return np.all(x == np.round(x), axis=0)


def uncorrelated(x: Table, limit: float = 0.98) -> NDArray[np.intp]:
    """Return the columns left once none has a partner with correlation above `limit`.

    As long as there is such a pair, the first column that has a partner goes. The correlation is
    Pearson's with its sign: a pair at -1 stays, as in the published preprocessing.

    Args:
        x: (N, D).
        limit: of the correlation.

    Returns:
        the indices of the columns kept, ascending.
    """
    close = np.asarray(np.corrcoef(x, rowvar=False) > limit)
    np.fill_diagonal(close, False)
    kept = np.arange(x.shape[1])
    # A correlation does not depend on the other columns: nothing has to be computed again.
    while close[np.ix_(kept, kept)].any():
        kept = np.delete(kept, close[np.ix_(kept, kept)].any(1).argmax())
    return kept


def rare_minimum(x: Table, most: int = 5) -> NDArray[np.intp]:
    """Return the columns of a table (N, D) whose smallest value occurs at most `most` times.

    The published code names this the largest count of a value, but counts the smallest one; the
    rule is kept as it acts. Source: code of Papamakarios, Pavlakou and Murray, "Masked
    Autoregressive Flow for Density Estimation", 2017, HEPMASS and MINIBOONE.
    """
    return np.flatnonzero((x == x.min(0)).sum(0) <= most)
