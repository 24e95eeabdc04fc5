"""The numbers and curves of the toy sets, as published; draws and densities both rest on them."""

import math

import torch
from torch import Tensor

# Swissroll: t runs along the roll; columns 0 and 2 of the three-dimensional one, divided by 5.
SWISSROLL_ENDS = (1.5 * math.pi, 4.5 * math.pi)
SWISSROLL_STD = 1.0 / 5

CIRCLES_RADII = (3.0, 1.5)
CIRCLES_STD = 3 * 0.08  # the noise is scaled with the circles

RINGS_RADII = (3.0, 2.25, 1.5, 0.75)
RINGS_STD = 0.08  # here it is added after scaling

MOONS_STD = 2 * 0.1

# The published code divides by 1.414, not by the root of 2.
GAUSSIANS_COUNT = 8
GAUSSIANS_RADIUS = 4 / 1.414
GAUSSIANS_STD = 0.5 / 1.414

PINWHEEL_ARMS = 5
PINWHEEL_MEAN = (1.0, 0.0)
PINWHEEL_STD = (0.3, 0.1)
PINWHEEL_TWIST = 0.25
PINWHEEL_SCALE = 2.0

SPIRALS_END = 3 * math.pi  # 540 degrees
SPIRALS_BOX = 0.5 / 3
SPIRALS_STD = 0.1


def swissroll(t: Tensor) -> Tensor:
    """Return the point of the roll at t in SWISSROLL_ENDS; t (*n), points (*n, 2)."""
    return (t / 5).unsqueeze(-1) * circle(t)


def circle(angle: Tensor) -> Tensor:
    """Return the point of the unit circle at an angle in radians; (*n) to (*n, 2)."""
    return torch.stack((angle.cos(), angle.sin()), -1)


def moon(angle: Tensor, which: Tensor) -> Tensor:
    """Return the point of the upper (which = 0) or lower (1) moon at an angle in [0, pi].

    Shapes: angle and which (*n), of one dtype; points (*n, 2).
    """
    # The lower moon is the upper one turned by half a circle and moved.
    radius = 2 - 4 * which
    x = radius * angle.cos() + (2 * which - 1)
    y = radius * angle.sin() + (which - 0.2)
    return torch.stack((x, y), -1)


def spiral(r: Tensor) -> Tensor:
    """Return the inner corner of the first arm's box at r in [0, SPIRALS_END]; (*n) to (*n, 2)."""
    return torch.stack((-r.cos() * r, r.sin() * r), -1) / 3
