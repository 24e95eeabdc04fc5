"""State Theorem 4 in numbers: where F(x1) - F(x2) can lie, for each class of maps.

Let Lip(G) <= L < 1. For p = x1 - x2 and q = F(x1) - F(x2), F is

- residual, x + G(x), if and only if |q - p| <= L |p| everywhere;
- inverse residual, the y with y + G(y) = x, if and only if |p - q| <= L |q|;
- monotone, u - x for the u with (u + G(u)) / 2 = x, if and only if |p - q| <= L |p + q|.

Each of the three confines q to a ball, |q - c p| <= r |p|, a disk in the plane of p and q.

Definition 3 of the paper sets Lip(G) *equal* to L. Read so, the inclusions (iii) and (iv) of its
theorem fail: (1 + L) x is residual, but the constant it asks for as a monotone map is L / (2 + L).
Here a class holds all G with constants up to L, for which both inclusions are true; they are strict
for 0 < L < 1, and at L = 0 all three classes are the translations.

Reference: Invertible Monotone Operators for Normalizing Flows, Byeongkeun Ahn, Chiyoon Kim,
Youngjoon Hong and Hyunwoo J. Kim, 2022, https://arxiv.org/abs/2210.08176, Definition 3 and
Theorem 4.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.solvers import NotConverged
from monotone_flow.blocks import Kind

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Disk:
    """Hold all q with |q - centre p| <= radius |p|, where 0 <= radius < centre.

    Args:
        centre: c, in units of p.
        radius: r, in units of |p|.
    """

    centre: float
    radius: float

    @property
    def slopes(self) -> tuple[float, float]:
        """Return the least and the largest |q| / |p|; <p, q> is at least the least times |p|^2."""
        return self.centre - self.radius, self.centre + self.radius

    @property
    def angle(self) -> float:
        """Return the largest angle between p and q, in radians, below pi / 2."""
        return math.asin(self.radius / self.centre)

    def excess(self, p: Tensor, q: Tensor) -> Tensor:
        """Return |q - c p| / |p| - r of pairs (N, D) with p != 0: (N,), at most 0 for members."""
        return (q - self.centre * p).norm(dim=-1) / p.norm(dim=-1) - self.radius

    def gap(self, inner: "Disk") -> float:
        """Return the least distance of another disk's circle from this one's, < 0 if it sticks out.

        Both are in units of |p|; the other lies inside if and only if the gap is not negative.
        """
        return self.radius - inner.radius - abs(self.centre - inner.centre)


def disk(kind: Kind, lipschitz: float) -> Disk:
    """Return the disk of a class, for the bound L of its G.

    Raises:
        ValueError: L is not in [0, 1).
    """
    if not 0 <= lipschitz < 1:
        raise ValueError(f"disk: expected a Lipschitz constant in [0, 1), got {lipschitz}")
    rest = (1 - lipschitz) * (1 + lipschitz)
    if kind == "residual":
        return Disk(1.0, lipschitz)
    if kind == "inverse_residual":
        return Disk(1 / rest, lipschitz / rest)
    return Disk((1 + lipschitz**2) / rest, 2 * lipschitz / rest)


def constant(kind: Kind, p: Tensor, q: Tensor) -> Tensor:
    """Return the least L that puts each pair (N, D) into a class, (N,).

    It is |G(u1) - G(u2)| / |u1 - u2| of the G that makes F such a map, so the largest over all
    pairs is Lip(G). It is infinite where no G does, and NaN where p = q = 0.
    """
    across = {"residual": p, "inverse_residual": q, "monotone": p + q}[kind]
    return (p - q).norm(dim=-1) / across.norm(dim=-1)


def inclusion(lipschitz: float) -> float:
    """Return the least L' for which both residual classes of L lie in the monotone one of L'."""
    return lipschitz / (2 - lipschitz)


def mapped(kind: Kind, g: Map, x: Tensor, *, limit: int = 10_000) -> Tensor:
    """Map points by the slowest and surest way, as a reference: Picard iteration until it stops.

    Args:
        kind: which class.
        g: G on rows (N, D), with Lip(G) < 1, in the paper's scale.
        x: points (N, D), float64.
        limit: calls of G.

    Returns:
        F(x), (N, D).

    Raises:
        NotConverged: the residual is above 64 eps (1 + max |u|) after `limit` calls, or not finite.
    """
    if kind == "residual":
        return x + g(x)
    target = 2 * x if kind == "monotone" else x
    u = target
    for _ in range(limit):
        following = target - g(u)
        residual = (following - u).abs().amax()
        u = following
        # Rounding is that of u, which may be 1 / (1 - L) times as large as the target.
        tol = 64 * torch.finfo(x.dtype).eps * (1 + u.abs().amax())
        if residual <= tol:
            return u - x if kind == "monotone" else u
    raise NotConverged(f"mapped: residual {residual:.1e} > {tol:.0e} after {limit} calls of G")
