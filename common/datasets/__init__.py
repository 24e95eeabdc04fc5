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
        name: mixture, digits, mnist or fashion-mnist.
        raw: folder that holds <name>/.
        valid_per_class: items of each class that leave train for validation; None for the set's
            default, 0 for none. The mixture has a validation set of its own: only None there.
        seed: decides which items validate; the test split never changes.

    Raises:
        UserError: the name is unknown (the nearest valid one is given), raw data are missing or
            damaged, or `valid_per_class` does not fit the set.
    """
    find(name)
    if name == "mixture":
        from common.datasets.mixture import load_mixture

        if valid_per_class is not None:
            raise UserError(
                "mixture: valid_per_class must be empty, this set draws its own validation points,"
                f" got {valid_per_class}"
            )
        return load_mixture(raw)
    from common.datasets.images import load_images

    return load_images(name, raw, valid_per_class, seed)
