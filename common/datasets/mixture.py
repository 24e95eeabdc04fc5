"""LU-Net's two-dimensional toy: four Gaussians, whose true density and entropy are known."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.datasets.embedded import STD, mixture_centres
from common.datasets.raw import RAW, verified_array


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Give the density of equally likely Gaussians with one standard deviation.

    Args:
        centres: (K, D).
        std: of every component in every direction.
    """

    centres: Tensor
    std: float

    @classmethod
    def published(cls) -> "GaussianMixture":
        """Return the mixture LU-Net was shown on, in float64."""
        return cls(torch.from_numpy(mixture_centres()), STD)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density in nats: (*batch, D) -> (*batch,), in the dtype of x."""
        centres = self.centres.to(x)
        components, features = centres.shape
        squares = (x.unsqueeze(-2) - centres).square().sum(-1)
        norm = math.log(components) + 0.5 * features * math.log(2 * math.pi * self.std**2)
        return torch.logsumexp(-0.5 * squares / self.std**2, dim=-1) - norm

    def sample(self, n: int, *, generator: torch.Generator) -> Tensor:
        """Return n independent points (n, D) on the generator's device."""
        device = generator.device
        component = torch.randint(len(self.centres), (n,), generator=generator, device=device)
        centres = self.centres.to(device)[component]
        noise = torch.randn(centres.shape, generator=generator, device=device, dtype=centres.dtype)
        return centres + self.std * noise

    def entropy(self, order: int = 40) -> float:
        """Return the differential entropy in nats, by Gauss-Hermite quadrature.

        H = -1/K sum_k E[log p(x) | component k], each expectation over one Gaussian with a grid
        of `order` nodes per direction. Exact up to rounding where components do not meet, since
        -log p is then quadratic on each; where they overlap the error is below 1e-6 nats at order
        40, measured over all distances of four components. Costs K order^D densities.

        Raises:
            ValueError: in more than three dimensions, where the grid would be too large.
        """
        features = self.centres.shape[1]
        if features > 3:
            raise ValueError(f"entropy: expected at most 3 dimensions, got {features}")
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
        axes = [torch.from_numpy(nodes)] * features
        grid = torch.cartesian_prod(*axes).reshape(-1, features)
        weight = torch.from_numpy(weights / weights.sum())
        weight = torch.cartesian_prod(*[weight] * features).reshape(-1, features).prod(1)
        x = self.centres.double().unsqueeze(1) + self.std * grid
        return -float((self.log_prob(x) * weight).sum(1).mean())


def load_mixture(raw: Path = RAW) -> Dataset:
    """Read the toy: 9,000 points to train on, 1,000 to validate and 1,000 to test, float64 (N, 2).

    The training points are the published ones. The test points have a seed of their own, where
    the published test set repeats 250 training points; labels are the components.

    Raises:
        UserError: raw data are missing or damaged.
    """
    splits = {
        split: Split(
            torch.from_numpy(verified_array("mixture", f"{split}_x", raw)),
            torch.from_numpy(verified_array("mixture", f"{split}_y", raw)).long(),
        )
        for split in ("train", "valid", "test")
    }
    return Dataset(name="mixture", **splits, levels=None, classes=4)
