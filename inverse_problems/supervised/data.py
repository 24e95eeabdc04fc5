"""The inverse problems: what is drawn, what is seen of it, and the sets to train and test on."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.training.seeding import generator
from inverse_problems.supervised.kinematics import Kinematics
from inverse_problems.supervised.mixture import LABELS, Mixture

# Streams of the seed, one for each split and one for batches.
TRAIN, VALID, TEST, BATCH = range(4)


class Problem(Protocol):
    """Quantities x of which only y can be seen, y = f(x) without noise."""

    @property
    def x(self) -> int:
        """Return the number of entries of x."""
        ...

    @property
    def y(self) -> int:
        """Return the number of entries of y."""
        ...

    def draw(
        self, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Return n pairs x (n, Dx) and y (n, Dy)."""
        ...

    def simulate(self, x: Tensor) -> Tensor:
        """Return y (n, Dy) of x (n, Dx)."""
        ...


PROBLEMS: dict[str, Problem] = {
    **{f"mixture_{name}": Mixture(labels) for name, labels in LABELS.items()},
    "kinematics": Kinematics(),
}


@dataclass(frozen=True)
class Pairs:
    """Give K models batches of their own that are a function of seed and step.

    Args:
        problem: what to draw.
        models: K.
        batch: pairs of each model in a step.
        points: size of the set that batches are drawn from with replacement, None for fresh pairs
            in every step.
        seed: of everything.
    """

    problem: Problem
    models: int
    batch: int
    points: int | None
    seed: int

    def split(self, stream: int, n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the n pairs of a split, `TRAIN`, `VALID` or `TEST`, the same for all models."""
        return self.problem.draw(n, generator(self.seed, stream), dtype)

    def train(self, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Return the fixed set to train on, or None."""
        return None if self.points is None else self.split(TRAIN, self.points, dtype)

    def at(
        self, step: int, fixed: tuple[Tensor, Tensor] | None, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Return the batch of a step, x (K, B, Dx) and y (K, B, Dy).

        Args:
            step: from 0.
            fixed: what `train` returned.
            dtype: of the pairs.
        """
        own = generator(self.seed, BATCH, step)
        count = self.models * self.batch
        if fixed is None:
            x, y = self.problem.draw(count, own, dtype)
        else:
            pick = torch.randint(len(fixed[0]), (count,), generator=own)
            x, y = fixed[0][pick], fixed[1][pick]
        shape = (self.models, self.batch)
        return x.unflatten(0, shape), y.unflatten(0, shape)
