"""Data sets by name.

Nothing here imports torch before a set is loaded, so that the fetch command starts at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from common.datasets.sources import find
from common.errors import UserError

if TYPE_CHECKING:
    from common.datasets.dataset import Dataset


def load(
    name: str,
    raw: Path = Path("data/raw"),
    valid_per_class: int | None = None,
    seed: int = 0,
) -> "Dataset":
    """Read a data set by name.

    Args:
        name: a key of `sources.SOURCES`.
        raw: folder that holds <name>/.
        valid_per_class: images of each class that leave train for validation; None for the set's
            default, 0 for none. Sets that are no images have validation points of their own: only
            None there.
        seed: decides which images validate; the test split never changes, and other sets have
            fixed splits. A small table gives the first of its folds (`tabular.load_fold`).

    Raises:
        DataMissing: the raw data are not there (`raw.DataMissing`, a UserError).
        UserError: the name is unknown (the nearest valid one is given), raw data are damaged, or
            `valid_per_class` does not fit the set.
    """
    find(name)
    from common.datasets.images import IMAGE_SETS, load_images

    if name in IMAGE_SETS:
        return load_images(name, raw, valid_per_class, seed)
    if valid_per_class is not None:
        raise UserError(
            f"{name}: valid_per_class must be empty, this set has its own validation points, "
            f"got {valid_per_class}"
        )
    from common.datasets.mixture import load_mixture
    from common.datasets.picture import load_picture
    from common.datasets.rings import load_rings
    from common.datasets.tabular import load_tabular

    toys = {"mixture": load_mixture, "rings": load_rings, "picture": load_picture}
    return toys[name](raw) if name in toys else load_tabular(name, raw)
