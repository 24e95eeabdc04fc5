"""What a data set is once it is read."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Hold the items of one split: x (N, *event) and their classes y (N,), int64."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold the three splits of a set.

    Args:
        name: the set's name in the registry.
        train: what parameters are fitted on.
        valid: what choices are made on; it may be empty.
        test: what is reported on.
        levels: number of values of a pixel, 0 to levels - 1, or None for continuous data.
        classes: number of classes.

    Shapes: images are uint8 (N, C, H, W), vectors float64 (N, D).
    """

    name: str
    train: Split
    valid: Split
    test: Split
    levels: int | None
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one item."""
        return tuple(self.train.x.shape[1:])

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of all splits: dtypes, shapes and bytes."""
        total = hashlib.sha256()
        for split in (self.train, self.valid, self.test):
            for tensor in (split.x, split.y):
                total.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
                total.update(tensor.cpu().contiguous().numpy().reshape(-1).data)
        return total.hexdigest()
