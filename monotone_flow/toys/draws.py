"""Draw points of the eight toy sets with torch, on the generator's device.

The published code draws them with numpy and scikit-learn. Circles, rings and moons stand at equally
spaced angles, and circles, rings, moons and arms of the pinwheel have equal shares of a batch; so
it is here, as this stratification lowers the noise of a batch's loss without changing the
distribution of a point. All sets give points in random order or with their parts alternating, so
that the start of a batch is a fair sample too.

Source: "Invertible Monotone Operators for Normalizing Flows", Ahn, Kim, Hong and Kim, 2022,
https://arxiv.org/abs/2210.08176, and the code published with it; the sets are those of "FFJORD",
Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, https://arxiv.org/abs/1810.01367.
"""

import math

import torch
from torch import Generator, Tensor

from monotone_flow.toys import curves


def swissroll(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of the noisy roll, (n, 2)."""
    start, end = curves.SWISSROLL_ENDS
    t = start + (end - start) * _uniform((n,), generator, dtype)
    return curves.swissroll(t).add_(_normal(n, generator, dtype), alpha=curves.SWISSROLL_STD)


def circles(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of two circles, (n, 2)."""
    return _on_circles(n, curves.CIRCLES_RADII, curves.CIRCLES_STD, generator, dtype)


def rings(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of four circles, (n, 2)."""
    return _on_circles(n, curves.RINGS_RADII, curves.RINGS_STD, generator, dtype)


def moons(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of two half circles, (n, 2); both ends of a half circle are points of it."""
    which, place, size = _strata(n, 2, generator)
    angle = math.pi * place.to(dtype) / (size - 1).clamp(min=1)
    centres = curves.moon(angle, which.to(dtype))
    return centres.add_(_normal(n, generator, dtype), alpha=curves.MOONS_STD)


def gaussians(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of eight Gaussians on a circle, (n, 2)."""
    which = torch.randint(
        curves.GAUSSIANS_COUNT, (n,), generator=generator, device=generator.device
    )
    centres = curves.circle(which.to(dtype) * (2 * math.pi / curves.GAUSSIANS_COUNT))
    noise = _normal(n, generator, dtype)
    return centres.mul_(curves.GAUSSIANS_RADIUS).add_(noise, alpha=curves.GAUSSIANS_STD)


def pinwheel(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of five twisted arms, (n, 2)."""
    arm, _, _ = _strata(n, curves.PINWHEEL_ARMS, generator)
    noise = _normal(n, generator, dtype)
    radial = curves.PINWHEEL_MEAN[0] + curves.PINWHEEL_STD[0] * noise[:, 0]
    tangential = curves.PINWHEEL_MEAN[1] + curves.PINWHEEL_STD[1] * noise[:, 1]
    angle = arm.to(dtype) * (2 * math.pi / curves.PINWHEEL_ARMS)
    angle = angle + curves.PINWHEEL_TWIST * radial.exp()
    cos, sin = angle.cos(), angle.sin()
    # A row times [[cos, -sin], [sin, cos]]: turned clockwise.
    x = torch.stack((radial * cos + tangential * sin, tangential * cos - radial * sin), -1)
    return x.mul_(curves.PINWHEEL_SCALE)


def spirals(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of two spiral arms, (n, 2).

    Before the noise, each second point is the negation of the one before it, as published: they
    are not independent.
    """
    half = (n + 1) // 2
    r = curves.SPIRALS_END * _uniform((half,), generator, dtype).sqrt()
    box = _uniform((half, 2), generator, dtype)
    arm = curves.spiral(r).add_(box, alpha=curves.SPIRALS_BOX)
    both = torch.stack((arm, -arm), 1).reshape(-1, 2)[:n]
    return both.add_(_normal(n, generator, dtype), alpha=curves.SPIRALS_STD)


def checkerboard(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    """Draw n points of the eight squares of side 2 in [-4, 4]^2 that are black, (n, 2)."""
    uniform = _uniform((n, 3), generator, dtype)
    x = 4 * uniform[:, 0] - 2
    row = (uniform[:, 2] < 0.5) * -2
    return torch.stack((x, uniform[:, 1] + row + x.floor().remainder(2)), -1).mul_(2)


def _on_circles(
    n: int, radii: tuple[float, ...], std: float, generator: Generator, dtype: torch.dtype
) -> Tensor:
    which, place, size = _strata(n, len(radii), generator)
    angle = 2 * math.pi * place.to(dtype) / size
    # All radii are equally spaced, the largest first.
    radius = radii[0] + (radii[1] - radii[0]) * which.to(dtype)
    points = curves.circle(angle) * radius.unsqueeze(-1)
    return points.add_(_normal(n, generator, dtype), alpha=std)


def _strata(n: int, classes: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return the class, the place in it and its size for n points in random order, (n,) each.

    Sizes differ by one at most.
    """
    order = torch.rand(n, generator=generator, device=generator.device).argsort()
    which = order % classes
    place = order.div(classes, rounding_mode="floor")
    size = (n - 1 - which).div(classes, rounding_mode="floor") + 1
    return which, place, size


def _normal(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn((n, 2), generator=generator, device=generator.device, dtype=dtype)


def _uniform(shape: tuple[int, ...], generator: Generator, dtype: torch.dtype) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)
