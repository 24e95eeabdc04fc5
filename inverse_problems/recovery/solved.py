"""What an optimiser is given, and what it returns: everything is per image."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, Self

from torch import Tensor


class Values(Protocol):
    """Give each image of a batch its own value, which depends on its own variables alone."""

    def __call__(self, z: Tensor, /) -> Tensor:
        """Return the values (B,) at z (B, k), with their gradient."""
        ...

    def take(self, rows: Tensor) -> Self:
        """Return the same for the images with these numbers, int64 (R,): (R, k) -> (R,)."""
        ...


class Status(IntEnum):
    """Say how the optimisation of an image ended.

    BUDGET: all steps were taken. CONVERGED: a tolerance was met. STALLED: the line search found no
    lower value, not even along the gradient. FAILED: a value or gradient was not finite.
    """

    BUDGET = 0
    CONVERGED = 1
    STALLED = 2
    FAILED = 3


@dataclass(frozen=True)
class Solved:
    """Hold the solutions of a batch of B images in k variables each, after T outer steps.

    Attributes:
        z: the point of the lowest value seen, (B, k); of a FAILED image too.
        value: its value, (B,); infinite where not even the start had a finite one.
        last: where the iteration ended, (B, k); equal to z where it FAILED.
        status: see `Status`, int64 (B,).
        evaluations: values and gradients that the image asked for, int64 (B,).
        values: value at the start and after each outer step, (T + 1, B); that of a FAILED image
            stays at its best.
        norms: Euclidean norm of the variables there, (T + 1, B).
    """

    z: Tensor
    value: Tensor
    last: Tensor
    status: Tensor
    evaluations: Tensor
    values: Tensor
    norms: Tensor

    def failed(self) -> Tensor:
        """Return which images FAILED, bool (B,)."""
        return self.status == Status.FAILED
