"""Small problems with a known answer, as `Values`."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rosenbrock:
    """Rosenbrock's valley in k dimensions, each image with its own steepness."""

    steepness: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        a, b = z[:, :-1], z[:, 1:]
        valley = self.steepness.unsqueeze(-1) * (b - a.square()).square()
        return (valley + (1 - a).square()).sum(-1)

    def take(self, rows: Tensor) -> "Rosenbrock":
        return Rosenbrock(self.steepness[rows])


@dataclass(frozen=True)
class Quadratic:
    """(z - centre)^T diag(weights) (z - centre) / 2."""

    weights: Tensor
    centre: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        return 0.5 * (self.weights * (z - self.centre).square()).sum(-1)

    def take(self, rows: Tensor) -> "Quadratic":
        return Quadratic(self.weights[rows], self.centre[rows])


@dataclass(frozen=True)
class Poisoned:
    """Another problem whose value is not a number once z_0 of some images exceeds a bound."""

    inner: Rosenbrock | Quadratic
    bound: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        bad = z[:, 0] > self.bound
        return torch.where(bad, torch.nan, 1.0) * self.inner(z)

    def take(self, rows: Tensor) -> "Poisoned":
        return Poisoned(self.inner.take(rows), self.bound[rows])


class Counted:
    """Count the rows that were really computed."""

    def __init__(self, inner, tally: list[int] | None = None) -> None:
        self.inner = inner
        self.tally = [] if tally is None else tally

    def __call__(self, z: Tensor) -> Tensor:
        self.tally.append(len(z))
        return self.inner(z)

    def take(self, rows: Tensor) -> "Counted":
        return Counted(self.inner.take(rows), self.tally)


def rosenbrock(batch: int, k: int = 6, seed: int = 0) -> tuple[Rosenbrock, Tensor]:
    """Return the problem and random starts."""
    generator = torch.Generator().manual_seed(seed)
    steepness = 1 + 4 * torch.rand(batch, generator=generator, dtype=torch.float64)
    return Rosenbrock(steepness), 0.5 * torch.randn(
        batch, k, generator=generator, dtype=torch.float64
    )


def quadratic(batch: int, k: int = 30, condition: float = 1e4) -> tuple[Quadratic, Tensor]:
    """Return an ill-conditioned problem and random starts."""
    generator = torch.Generator().manual_seed(1)
    exponents = torch.rand(batch, k, generator=generator, dtype=torch.float64)
    exponents[:, 0], exponents[:, 1] = 0.0, 1.0
    centre = torch.randn(batch, k, generator=generator, dtype=torch.float64)
    return Quadratic(condition**exponents, centre), torch.zeros_like(centre)
