"""A number per sample that was estimated, and how far off it may be."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """Hold an estimate and its standard error, both in the units of what is estimated.

    Args:
        value: (*batch,), with its graph where there is one.
        se: (*batch,), standard error of the value, without a graph; None where a single draw shows
            no spread, and exactly zero where the value is exact.
    """

    value: Tensor
    se: Tensor | None

    @classmethod
    def exact(cls, value: Tensor) -> Self:
        """Return a value (*batch,) known without error."""
        return cls(value, value.detach().new_zeros(value.shape))

    @classmethod
    def mean(cls, draws: Tensor) -> Self:
        """Return the mean of independent draws (n, *batch), n >= 1, and the error of that mean."""
        n, value = len(draws), draws.mean(0)
        if n == 1:
            return cls(value, None)
        # Not `std`, which warns of an empty batch.
        squares = (draws - value).detach().square().sum(0)
        return cls(value, (squares / (n * (n - 1))).sqrt())
