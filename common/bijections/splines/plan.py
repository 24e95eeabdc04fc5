"""What a spline kernel is made for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from common.bijections.splines.knots import MIN_SIZE

Number = TypeVar("Number", int, Tensor)


@dataclass(frozen=True)
class Plan:
    """Fix all that is known before the numbers come.

    Args:
        bins: K.
        lower: lower end of the box.
        upper: upper end of the box.
        tails: identity outside the box.
        scale: of the width and height logits.
        middle: there are K logits of a middle point between heights and slopes.
        inverse: the argument is searched among the knots in y.
        inside: the map inside a bin, of the argument, x0, x1, y0, y1, the middle point if any, and
            the slopes at both ends.
    """

    bins: int
    lower: float
    upper: float
    tails: bool
    scale: float
    middle: bool
    inverse: bool
    inside: Callable[..., tuple[Tensor, Tensor]]

    @property
    def parameters(self) -> int:
        """Return how many numbers a scalar has."""
        return (4 if self.middle else 3) * self.bins + (-1 if self.tails else 1)

    @property
    def slopes_at(self) -> int:
        """Return where the slope logits begin."""
        return (3 if self.middle else 2) * self.bins

    def edge(self, count: Number, share: Tensor) -> Tensor:
        """Return the knot after `count` bins whose softmax shares add up to `share`."""
        floored = MIN_SIZE * count + (1 - self.bins * MIN_SIZE) * share
        return self.lower + (self.upper - self.lower) * floored
