"""Draw the two-dimensional toys of the spline flow: rings, and the points of a picture.

Imported by the registry: nothing here loads torch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RADII = (0.75, 1.5, 2.25, 3.0)
RING_STD = 0.08
RING_SIZES = {"train": 300_000, "valid": 20_000, "test": 20_000}
PICTURE_SIDE = 512
PICTURE_SIZES = {"train": 1_000_000, "valid": 20_000, "test": 20_000}
_SEEDS = {"train": 0, "valid": 1, "test": 2}
# No pixel is black: the true log-density is finite on the whole square.
_DARKEST = 4


def ring_points(n: int, seed: int) -> NDArray[np.float64]:
    """Return n points of four concentric circles with Gaussian noise, (n, 2), in random order.

    Every circle gets a quarter of the points at equally spaced angles. Source: Dolatabadi, Erfani
    and Leckie, "Invertible Generative Modeling using Linear Rational Splines", 2020,
    https://arxiv.org/abs/2001.05168, experiment on 2-D densities, and the code published with it.

    Raises:
        ValueError: n is not a multiple of four.
    """
    if n % len(RADII):
        raise ValueError(f"ring_points: expected a multiple of {len(RADII)} points, got {n}")
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, n // len(RADII), endpoint=False)
    circle = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    x = np.concatenate([radius * circle for radius in RADII])
    return rng.permutation(x + RING_STD * rng.standard_normal((n, 2)))


def rings() -> dict[str, NDArray[Any]]:
    """Return the points of each split of the rings."""
    return {f"{split}_x": ring_points(n, _SEEDS[split]) for split, n in RING_SIZES.items()}


def draw_picture(side: int = PICTURE_SIDE) -> NDArray[np.uint8]:
    """Return a grey picture (side, side), first row on top: a spiral galaxy above a ridge.

    It is computed, so nobody holds rights in it. Soft parts are the glow of the core and of the
    arms; sharp ones are the ridge, the stars and a ringed moon.
    """
    axis = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(axis, axis)  # y grows downwards

    # The galaxy's own plane: turned by 0.5 and seen at a slant.
    u, v = x - 0.52, y - 0.42
    cos, sin = np.cos(0.5), np.sin(0.5)
    u, v = cos * u + sin * v, (cos * v - sin * u) / 0.55
    radius = np.hypot(u, v) + 1e-9
    phase = np.arctan2(v, u) - np.log(radius / 0.03) / 0.32
    arms = np.exp(2.5 * (np.cos(2 * phase) - 1)) * np.exp(-radius / 0.22)
    light = 0.05 + 0.75 * np.exp(-((radius / 0.055) ** 2)) + 0.95 * arms
    light += 0.18 * np.exp(-radius / 0.2)
    # Dust lies along the inner edge of the arms.
    light *= 1 - 0.5 * np.exp(-(((np.cos(2 * (phase + 0.35)) - 1) / 0.15) ** 2)) * (radius > 0.04)

    for cx, cy, size in ((0.12, 0.1, 0.006), (0.86, 0.09, 0.008), (0.9, 0.62, 0.005)):
        light += np.where(np.hypot(x - cx, y - cy) < size, 0.9, 0.0)
    moon = np.hypot(x - 0.17, y - 0.6)
    light = np.where(moon < 0.06, 0.25 + 0.5 * (moon < 0.045), light)
    ring = np.hypot((x - 0.17) / 0.11, (y - 0.6 + 0.3 * (x - 0.17)) / 0.025)
    light = np.where(np.abs(ring - 1) < 0.13, 0.85, light)

    ridge = 0.84 + 0.05 * np.sin(7 * x + 1) - 0.06 * np.abs((5.3 * x + 0.2) % 1 - 0.5)
    light = np.where(y > ridge, 0.04 + 0.1 * (y - ridge) / (1 - ridge), light)
    return np.clip(np.rint(255 * light), _DARKEST, 255).astype(np.uint8)


def picture_points(picture: NDArray[np.uint8], n: int, seed: int) -> NDArray[np.float64]:
    """Return n points of the unit square (n, 2), as dense as the picture is bright.

    A pixel is drawn in proportion to its grey level, the place inside it uniformly. The first
    coordinate runs to the right, the second upwards.
    """
    rng = np.random.default_rng(seed)
    share = np.cumsum(picture.ravel(), dtype=np.int64)
    pixel = np.searchsorted(share, rng.integers(share[-1], size=n), side="right")
    row, column = np.divmod(pixel, picture.shape[1])
    jitter = rng.random((n, 2))
    x = (column + jitter[:, 0]) / picture.shape[1]
    y = 1 - (row + jitter[:, 1]) / picture.shape[0]
    return np.stack((x, y), axis=1)


def picture() -> dict[str, NDArray[Any]]:
    """Return the picture and the points of each split."""
    image = draw_picture()
    points = {
        f"{split}_x": picture_points(image, n, _SEEDS[split]) for split, n in PICTURE_SIZES.items()
    }
    return {"picture": image, **points}
