"""The true log-densities of the toy sets, in nats: closed forms, or quadrature along a curve.

They are those of one point of a large batch: the equally spaced angles of the draws become uniform
ones. Each function maps points (N, 2) in float64 to (N,).

Far from its set a density below e^-250 may come out as 0, its logarithm as -inf. Twice as many
nodes would change no log-density above -500 by 1e-9 within 10 of the origin.
"""

import functools
import math
from collections.abc import Callable

import torch
from scipy.special import roots_legendre
from torch import Tensor

from monotone_flow.toys import curves

NODES = {"swissroll": 512, "moons": 256, "2spirals": 512}
_CHUNK = 2**21  # numbers in one intermediate result


def swissroll(x: Tensor) -> Tensor:
    """Return the log-density of the noisy roll."""
    t, weight = _rule(NODES["swissroll"], *curves.SWISSROLL_ENDS, x)
    mean = weight / weight.sum()
    return _mixture(x, curves.swissroll(t), mean, curves.SWISSROLL_STD)


def circles(x: Tensor) -> Tensor:
    """Return the log-density of the two circles."""
    return _on_circles(x, curves.CIRCLES_RADII, curves.CIRCLES_STD)


def rings(x: Tensor) -> Tensor:
    """Return the log-density of the four circles."""
    return _on_circles(x, curves.RINGS_RADII, curves.RINGS_STD)


def moons(x: Tensor) -> Tensor:
    """Return the log-density of the two half circles."""
    angle, weight = _rule(NODES["moons"], 0.0, math.pi, x)
    upper, lower = (curves.moon(angle, torch.full_like(angle, which)) for which in (0, 1))
    share = weight / (2 * weight.sum())
    return _mixture(x, torch.cat((upper, lower)), share.repeat(2), curves.MOONS_STD)


def gaussians(x: Tensor) -> Tensor:
    """Return the log-density of the eight Gaussians."""
    which = torch.arange(curves.GAUSSIANS_COUNT, dtype=x.dtype, device=x.device)
    centres = curves.GAUSSIANS_RADIUS * curves.circle(which * (2 * math.pi / len(which)))
    share = torch.full_like(which, 1 / len(which))
    return _mixture(x, centres, share, curves.GAUSSIANS_STD)


def spirals(x: Tensor) -> Tensor:
    """Return the log-density of the two spiral arms.

    At r of the curve a point is uniform in a box, plus Gaussian noise: a product of differences of
    normal distribution functions. The arms are negations of each other, so are their densities.
    """
    r, weight = _rule(NODES["2spirals"], 0.0, curves.SPIRALS_END, x)
    share = weight * r / (weight * r).sum()  # r is the root of a uniform number
    middle = curves.spiral(r) + curves.SPIRALS_BOX / 2
    half = curves.SPIRALS_BOX / 2

    def arm(points: Tensor) -> Tensor:
        across = _smooth_box(points[:, :1] - middle[:, 0], half, curves.SPIRALS_STD)
        along = _smooth_box(points[:, 1:] - middle[:, 1], half, curves.SPIRALS_STD)
        return (across * along) @ share

    return _in_chunks(lambda points: (0.5 * (arm(points) + arm(-points))).log(), x, len(r))


def checkerboard(x: Tensor) -> Tensor:
    """Return -ln 32 on the eight black squares of side 2 in [-4, 4]^2, -inf elsewhere."""
    column, row = (x / 2).floor().unbind(1)
    level = row - column.remainder(2)
    black = (column >= -2) & (column < 2) & ((level == 0) | (level == -2))
    inside = torch.full_like(column, -math.log(32))
    return inside.masked_fill(~black, -math.inf)


def _on_circles(x: Tensor, radii: tuple[float, ...], std: float) -> Tensor:
    """Return the log-density of circles of equal weight under Gaussian noise.

    The mean of the Gaussian over a circle of radius R, at distance d of its centre, is
    exp(-(d - R)^2 / (2 std^2)) I0e(d R / std^2) / (2 pi std^2), I0e the scaled Bessel function.
    """
    distance = x.norm(dim=1, keepdim=True)
    radius = torch.tensor(radii, dtype=x.dtype, device=x.device)
    decay = -0.5 * ((distance - radius) / std).square()
    bessel = torch.special.i0e(distance * radius / std**2).log()
    return (decay + bessel).logsumexp(1) - math.log(2 * math.pi * std**2 * len(radii))


def _mixture(x: Tensor, centres: Tensor, share: Tensor, std: float) -> Tensor:
    """Return the log-density of Gaussians at centres (M, 2) with weights (M,) that sum to 1."""
    # |x - c|^2 by its three parts: a matrix product instead of (N, M, 2) differences.
    scaled = centres / std
    offset = share.log() - 0.5 * scaled.square().sum(1)

    def log_density(points: Tensor) -> Tensor:
        at = points / std
        return torch.addmm(offset, at, scaled.T).logsumexp(1) - 0.5 * at.square().sum(1)

    return _in_chunks(log_density, x, len(centres)) - math.log(2 * math.pi * std**2)


def _smooth_box(offset: Tensor, half: float, std: float) -> Tensor:
    """Return the density at an offset from the centre of a box of half width plus Gaussian noise.

    It is even in the offset; taken at its magnitude, the difference never cancels.
    """
    scale = std * math.sqrt(2)
    distance = offset.abs()
    tails = torch.erfc((distance - half) / scale) - torch.erfc((distance + half) / scale)
    return tails / (4 * half)


def _in_chunks(log_density: Callable[[Tensor], Tensor], x: Tensor, width: int) -> Tensor:
    """Apply a function of (N, 2) to few enough rows at a time, `width` numbers each."""
    parts = x.split(max(1, _CHUNK // width))
    return torch.cat([log_density(part) for part in parts])


def _rule(nodes: int, start: float, end: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return Gauss-Legendre nodes and weights on [start, end], (nodes,) each."""
    at, weight = (column.to(like) for column in _legendre(nodes))
    half = (end - start) / 2
    return start + half * (1 + at), half * weight


@functools.cache
def _legendre(nodes: int) -> tuple[Tensor, Tensor]:
    at, weight = roots_legendre(nodes)
    return torch.from_numpy(at), torch.from_numpy(weight)
