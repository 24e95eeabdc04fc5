"""The eight toy sets by their published names."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from monotone_flow.toys import densities, draws, pinwheel


@dataclass(frozen=True)
class Toy:
    """A distribution over the plane: its points and its density.

    Attributes:
        name: as published.
        draw: of (n, generator, dtype), points (n, 2).
        log_density: of points (N, 2) in float64, (N,).
    """

    name: str
    draw: Callable[[int, Generator, torch.dtype], Tensor]
    log_density: Callable[[Tensor], Tensor]

    def sample(self, n: int, generator: Generator, *, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw n points on the generator's device, (n, 2)."""
        return self.draw(n, generator, dtype)

    @torch.no_grad()
    def log_prob(self, x: Tensor) -> Tensor:
        """Return the true log-density in nats at points (N, 2), (N,) in float64 and without graph.

        It is NaN at points that are not finite.

        Raises:
            ValueError: x has another shape.
        """
        if x.dim() != 2 or x.shape[1] != 2:
            raise ValueError(f"{self.name}: expected points (N, 2), got {tuple(x.shape)}")
        log_prob = self.log_density(x.double())
        return log_prob.masked_fill(~x.isfinite().all(1), torch.nan)


TOYS = {
    toy.name: toy
    for toy in (
        Toy("swissroll", draws.swissroll, densities.swissroll),
        Toy("circles", draws.circles, densities.circles),
        Toy("rings", draws.rings, densities.rings),
        Toy("moons", draws.moons, densities.moons),
        Toy("8gaussians", draws.gaussians, densities.gaussians),
        Toy("pinwheel", draws.pinwheel, pinwheel.log_density),
        Toy("2spirals", draws.spirals, densities.spirals),
        Toy("checkerboard", draws.checkerboard, densities.checkerboard),
    )
}
