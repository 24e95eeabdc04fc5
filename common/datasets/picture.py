"""The points of a picture as a data set, and their true density: the picture itself."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.datasets.raw import RAW, verified_array
from common.datasets.rings import load_points


@dataclass(frozen=True, eq=False)
class PixelDensity:
    """Give the density on the unit square that is constant on each pixel of a grey picture.

    Args:
        picture: (H, W), not negative, first row on top.
    """

    picture: Tensor

    @property
    def density(self) -> Tensor:
        """Return the density of each pixel, float64 (H, W); its mean is one."""
        light = self.picture.double()
        return light / light.mean()

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density in nats: (*batch, 2) -> (*batch,), in the dtype of x.

        The first coordinate runs to the right, the second upwards. Outside of [0, 1]^2 it is -inf.
        """
        height, width = self.picture.shape
        column = (x[..., 0] * width).long().clamp(0, width - 1)
        row = ((1 - x[..., 1]) * height).long().clamp(0, height - 1)
        inside = ((x >= 0) & (x <= 1)).all(-1)
        log_density = self.density.log().to(x)
        return torch.where(inside, log_density[row, column], -torch.inf)

    def entropy(self) -> float:
        """Return the differential entropy in nats, exactly: minus the mean of p log p."""
        return -float(torch.special.xlogy(self.density, self.density).mean())


def load_density(raw: Path = RAW) -> PixelDensity:
    """Read the picture that the points were drawn from."""
    return PixelDensity(torch.from_numpy(verified_array("picture", "picture", raw)))


def load_picture(raw: Path = RAW) -> Dataset:
    """Read the points: 1,000,000 to train on, 20,000 each to validate and test, (N, 2) in [0, 1].

    It stands in for the photograph of Dolatabadi, Erfani and Leckie, "Invertible Generative
    Modeling using Linear Rational Splines", 2020, which may not be passed on. Labels are zero.

    Raises:
        DataMissing: the raw data are not there.
        UserError: they are damaged.
    """
    return load_points("picture", raw)
