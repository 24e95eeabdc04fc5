"""The rings as a data set, and their true density."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.datasets.raw import RAW, verified_array
from common.datasets.toys import RADII, RING_STD


@dataclass(frozen=True)
class Rings:
    """Give the density of a point on one of several circles, equally likely, plus Gaussian noise.

    Args:
        radii: of the circles around the origin.
        std: of the noise in every direction.
    """

    radii: tuple[float, ...] = RADII
    std: float = RING_STD

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density in nats: (*batch, 2) -> (*batch,), in the dtype of x.

        At distance r from the origin a circle of radius R has the density
        exp(-(r^2 + R^2) / 2 s^2) I0(r R / s^2) / (2 pi s^2), the angle integrated out.
        """
        return self._at(x.square().sum(-1).sqrt())

    def _at(self, r: Tensor) -> Tensor:
        radii = torch.tensor(self.radii).to(r)
        r, variance = r.unsqueeze(-1), self.std**2
        # i0e is I0 without its exponential growth, which the square completes.
        log_each = -0.5 * (r - radii).square() / variance
        log_each = log_each + torch.special.i0e(r * radii / variance).log()
        norm = math.log(2 * math.pi * variance) + math.log(len(self.radii))
        return torch.logsumexp(log_each, dim=-1) - norm

    def entropy(self, nodes: int = 20_001) -> float:
        """Return the differential entropy in nats, by the trapezoidal rule along the radius.

        The integrand is smooth and vanishes at both ends, so that the sum is exact to rounding
        once its step is below half a standard deviation.
        """
        end = max(self.radii) + 12 * self.std
        r = torch.linspace(0, end, nodes, dtype=torch.float64)
        log_prob = self._at(r)
        return float(torch.trapezoid(-2 * math.pi * r * log_prob.exp() * log_prob, r))


def load_rings(raw: Path = RAW) -> Dataset:
    """Read the rings: 300,000 points to train on, 20,000 each to validate and test, (N, 2).

    The splits are separate draws; the points are neither shifted nor scaled. Labels are zero.

    Raises:
        DataMissing: the raw data are not there.
        UserError: they are damaged.
    """
    return load_points("rings", raw)


def load_points(name: str, raw: Path) -> Dataset:
    """Read a set of unlabelled points whose splits are stored apart."""
    splits = {}
    for split in ("train", "valid", "test"):
        x = torch.from_numpy(verified_array(name, f"{split}_x", raw))
        splits[split] = Split(x, torch.zeros(len(x), dtype=torch.int64))
    return Dataset(name=name, **splits, levels=None, classes=1)
