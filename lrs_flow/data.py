"""The data of one training: one set for all its models, or one fold for each."""

from pathlib import Path

from common import datasets
from common.datasets.dataset import Dataset
from common.datasets.uci import TABLES
from common.errors import UserError

FOLDS = 10


def load_folds(name: str, raw: Path, models: int, seed: int) -> list[Dataset]:
    """Read a set: its ten folds if it is cross-validated, else one that all models share.

    Raises:
        UserError: the set cannot be read, or `models` is not its number of folds.
    """
    if name not in TABLES:  # those without a published split
        return [datasets.load(name, raw, seed=seed)]
    from common.datasets.tabular import load_fold

    if models != FOLDS:
        raise UserError(
            f"{name}: is cross-validated, so models must be {FOLDS}, one for each fold, "
            f"got {models}"
        )
    return [load_fold(name, raw, fold, FOLDS) for fold in range(FOLDS)]
