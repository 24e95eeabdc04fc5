"""A watch on estimates that may have no variance."""

import torch
from torch import Tensor


class SecondMoment:
    """Keep the mean square of all values seen: a random series' estimates, or its weights.

    Of values with a finite variance it settles. Where it keeps jumping, a few draws carry the mean,
    and no standard error taken from a sample can be trusted.
    """

    def __init__(self) -> None:
        self._total: Tensor | float = 0.0
        self._count = 0

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Take in values of any shape. Never waits for their device."""
        self._total = self._total + values.double().square().sum()
        self._count += values.numel()

    @property
    def value(self) -> float:
        """Return the mean square so far, NaN before the first value."""
        return float(self._total) / self._count if self._count > 0 else float("nan")
