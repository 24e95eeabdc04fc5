"""The true log-density of the pinwheel, a change of variables with several preimages.

A point is x = s R(-t) f, with f = (a, b) Gaussian, s the scale and t = 2 pi k / 5 + c e^a the angle
of arm k. In polar coordinates, f = rho (cos u, sin u) and x / s = rho (cos v, sin v):

    h(u) = u - c exp(rho cos u) = v + 2 pi k / 5    (mod 2 pi),

and the determinant of f -> x is s^2 h'(u). Preimages of all arms are the u of one period where
(h(u) - v) 5 / (2 pi) is an integer. h falls only between two angles u1 < u2 in (-pi, 0), if at all;
on each of the two pieces, [u2, u1 + 2 pi] and [u1, u2], one integer has one preimage.

Where h' = 0, a curve far out in the tails, the density has a pole that can be integrated.
"""

import math

import torch
from torch import Tensor

from common.solvers import NotConverged
from monotone_flow.toys.curves import (
    PINWHEEL_ARMS,
    PINWHEEL_MEAN,
    PINWHEEL_SCALE,
    PINWHEEL_STD,
    PINWHEEL_TWIST,
)

# Far out, h winds exp(rho) times; the density falls along a piece, from u2. Up to FAR, where it is
# below e^-250, what comes after so many preimages is below rounding.
LEVELS = 24
FAR = 8.0
_CHUNK = 2**16
_LIMIT = 200
_TURN = 2 * math.pi / PINWHEEL_ARMS


def log_density(x: Tensor) -> Tensor:
    """Return the log-density in nats at points (N, 2) in float64, (N,); -inf beyond 2 FAR.

    Raises:
        NotConverged: a preimage was not found to rounding.
    """
    return torch.cat([_log_density(part) for part in x.split(_CHUNK)])


def _log_density(x: Tensor) -> Tensor:
    rho = x.norm(dim=1) / PINWHEEL_SCALE
    near = rho <= FAR
    result = torch.full_like(rho, -math.inf)
    result[near] = _sum_of_preimages(rho[near], torch.atan2(x[near, 1], x[near, 0]))
    return result


def _sum_of_preimages(rho: Tensor, v: Tensor) -> Tensor:
    """Return the log-density at polar coordinates (N,), rho at most FAR."""
    left, right = _turning_points(rho)
    first = ((_h(rho, right) - v) / _TURN).ceil().repeat(2)
    # The rising piece, then the falling one; both from u2 up, h(u1 + 2 pi) = h(u1) + 2 pi.
    top = torch.cat((_h(rho, left) + 2 * math.pi, _h(rho, left)))
    last = ((top - v.repeat(2)) / _TURN).ceil()
    count = (last - first).clamp(0, LEVELS).long()
    # Each piece as often as it has preimages, and which of them this one is.
    piece = torch.repeat_interleave(count)
    place = torch.arange(len(piece), device=rho.device) - (count.cumsum(0) - count)[piece]
    point = piece % len(rho)
    level = v[point] + _TURN * (first[piece] + place)
    far_end = torch.cat((left + 2 * math.pi, left))[piece]
    u = _solve(rho[point], level, right[point], far_end)
    return _log_sum_by(point, _log_weight(rho[point], u), len(rho))


def _turning_points(rho: Tensor) -> tuple[Tensor, Tensor]:
    """Return u1 and u2, between which h falls; both are where it rises least if it never falls."""
    # On (-pi, 0), 1 - h' has one maximum, where cos u = rho sin^2 u.
    least = -(2 * rho / (1 + (1 + 4 * rho.square()).sqrt())).acos()
    falls = _slope(rho, least) < 0
    ends = []
    for side in (torch.full_like(least, -math.pi), torch.zeros_like(least)):
        rising, falling = torch.where(falls, side, least), least
        while ((rising - falling).abs() > 4 * torch.finfo(rho.dtype).eps).any():
            middle = 0.5 * (rising + falling)
            up = _slope(rho, middle) >= 0
            rising, falling = torch.where(up, middle, rising), torch.where(up, falling, middle)
        ends.append(rising)
    return ends[0], ends[1]


def _solve(rho: Tensor, level: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """Return u with h(u) = level between ends with h(below) <= level <= h(above), all (M,).

    Newton's method, and bisection where a step leaves the bracket or gains less than a half.
    """
    eps = torch.finfo(rho.dtype).eps
    u, before = 0.5 * (below + above), (above - below).abs()
    for _ in range(_LIMIT):
        residual = _h(rho, u) - level
        below, above = torch.where(residual < 0, u, below), torch.where(residual < 0, above, u)
        rounding = 8 * eps * (1 + level.abs() + PINWHEEL_TWIST * rho.exp())
        done = (residual.abs() <= rounding) | ((above - below).abs() <= 8 * eps)
        if done.all():
            return u
        step = residual / _slope(rho, u)
        outside = (u - step - below) * (u - step - above) >= 0
        slow = step.abs() > 0.5 * before
        target = torch.where(outside | slow | step.isnan(), 0.5 * (below + above), u - step)
        target = torch.where(done, u, target)
        before, u = (target - u).abs(), target
    raise NotConverged(
        f"pinwheel: {int((~done).sum())} preimages with residuals up to "
        f"{residual[~done].abs().max().item():.1e} after {_LIMIT} steps; expected rounding errors, "
        "from finite points in float64"
    )


def _h(rho: Tensor, u: Tensor) -> Tensor:
    return u - PINWHEEL_TWIST * (rho * u.cos()).exp()


def _slope(rho: Tensor, u: Tensor) -> Tensor:
    return 1 + PINWHEEL_TWIST * rho * u.sin() * (rho * u.cos()).exp()


def _log_weight(rho: Tensor, u: Tensor) -> Tensor:
    """Return the log of what a preimage adds to the density of x."""
    (mean_a, mean_b), (std_a, std_b) = PINWHEEL_MEAN, PINWHEEL_STD
    a, b = (rho * u.cos() - mean_a) / std_a, (rho * u.sin() - mean_b) / std_b
    arms = PINWHEEL_ARMS * PINWHEEL_SCALE**2 * 2 * math.pi * std_a * std_b
    return -0.5 * (a.square() + b.square()) - _slope(rho, u).abs().log() - math.log(arms)


def _log_sum_by(owner: Tensor, terms: Tensor, owners: int) -> Tensor:
    """Return the log-sum-exp of the terms (M,) of each owner, (owners,)."""
    largest = terms.new_full((owners,), -math.inf).scatter_reduce(0, owner, terms, "amax")
    total = terms.new_zeros(owners).index_add(0, owner, (terms - largest[owner]).exp())
    return largest + total.log()
