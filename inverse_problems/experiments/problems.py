"""The images, measurements and noise of the experiments, each a function of the seed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from common import datasets
from common.training.seeding import generator, permutation
from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.gaussian import GaussianOperator

# Streams of the seed.
CHOICE, MATRIX, SENSED, PIXELS, START = range(5)


@dataclass(frozen=True)
class Pictures:
    """Hold the test images of a set: values from 0 to 1, (B, C, H, W) float32.

    Attributes:
        name: of the set.
        x: the images.
        digest: of the set's raw data.
    """

    name: str
    x: Tensor
    digest: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        channels, height, width = self.x.shape[1:]
        return channels, height, width


def pictures(name: str, raw: Path, images: int, seed: int) -> Pictures:
    """Return a seeded choice of test images of a set, all of them if it has fewer."""
    data = datasets.load(name, raw)
    test = data.test.x
    chosen = permutation(len(test), seed, CHOICE)[:images]
    assert data.levels is not None
    return Pictures(name, test[chosen].float() / (data.levels - 1), data.digest)


def slope(name: str, raw: Path, images: int = 1000) -> float:
    """Return the mean length of the gradient over pixels of training images, values from 0 to 1."""
    data = datasets.load(name, raw)
    assert data.levels is not None
    x = data.train.x[:images].float() / (data.levels - 1)
    rows = torch.nn.functional.pad(x.diff(dim=-2), (0, 0, 0, 1))
    columns = torch.nn.functional.pad(x.diff(dim=-1), (0, 1))
    return float((rows.square() + columns.square()).sqrt().mean())


def gaussian(x: Tensor, m: int, seed: int, draw: int) -> GaussianOperator:
    """Return Gaussian measurements of images like x (B, C, H, W), in their dtype.

    Each m and draw has a matrix of its own.
    """
    channels, height, width = x.shape[1:]
    noise = generator(seed, MATRIX, draw, m)
    return GaussianOperator((channels, height, width), m, noise, x.dtype).to(x.device)


def sensed(operator: LinearOperator, x: Tensor, noise: float, seed: int, draw: int) -> Tensor:
    """Measure images and add noise of standard deviation noise / sqrt(m) to each measurement."""
    y = operator(x)
    drawn = torch.randn(y.shape, generator=generator(seed, SENSED, draw, operator.m))
    return y + noise / operator.m**0.5 * drawn.to(y)


def noisy(x: Tensor, sigma: float, seed: int) -> Tensor:
    """Add N(0, sigma^2) to each pixel; for all sigma the same noise, scaled, and not clamped."""
    drawn = torch.randn(x.shape, generator=generator(seed, PIXELS))
    return x + sigma * drawn.to(x)


def measurements(ratio: float, n: int) -> int:
    """Return m for a ratio m / n, rounded, at least one."""
    return max(1, round(ratio * n))
