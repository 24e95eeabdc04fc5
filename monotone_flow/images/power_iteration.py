"""Find the largest singular value of a linear operator by applying it and its adjoint in turn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Operator = Callable[[Tensor], Tensor]


class Pair(NamedTuple):
    """Singular vectors at work: u in the outputs' space, v in the inputs', of norm one."""

    u: Tensor
    v: Tensor


class Stop(Protocol):
    """Say when to stop; `limit` bounds the iterations in any case."""

    @property
    def limit(self) -> int:
        """The most iterations."""
        ...

    def reached(self, before: Pair, after: Pair, low: Tensor, high: Tensor) -> bool:
        """Decide from one iteration: the pairs around it and the norms of K^T u and K v in it."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Iterate a given number of times."""

    limit: int

    def reached(self, before: Pair, after: Pair, low: Tensor, high: Tensor) -> bool:
        return False


@dataclass(frozen=True)
class RelativeChange:
    """Stop where half an iteration raises the norm by less than `tolerance` of itself.

    The norms of K^T u and of the K v that follows never fall and never exceed the largest singular
    value. From random vectors, on a new 3x3 convolution of 175 to 86 channels at 32 x 32, 1e-3
    stops 4% short of it after 16 iterations, which suits training steps, as they go on from the
    last vectors; 1e-4 stops 0.6% short after 65, which suits the start and evaluation.
    """

    tolerance: float = 1e-3
    limit: int = 200

    def reached(self, before: Pair, after: Pair, low: Tensor, high: Tensor) -> bool:
        return bool(high - low <= self.tolerance * high)


@dataclass(frozen=True)
class Published:
    """Stop where the root mean square change of u, and of v, is below a tolerance per component.

    The rule is |du| / sqrt(dim u) < tolerance (1 + max u), and alike for v. Components of unit
    vectors are small where there are many: on convolutions it stops some per cent too early.

    Source: the code published with Ahn, Kim, Hong, Kim, "Invertible Monotone Operators for
    Normalizing Flows", 2022, https://arxiv.org/abs/2210.08176.
    """

    tolerance: float = 1e-3
    limit: int = 200

    def reached(self, before: Pair, after: Pair, low: Tensor, high: Tensor) -> bool:
        return all(
            bool((new - old).square().mean().sqrt() < self.tolerance * (1 + new.max()))
            for old, new in zip(before, after, strict=True)
        )


@torch.no_grad()
def power_iteration(
    operate: Operator, adjoint: Operator, pair: Pair, stop: Stop
) -> tuple[Pair, int]:
    """Return u and v nearer to the largest singular value, and the number of iterations.

    Args:
        operate: v -> K v.
        adjoint: u -> K^T u.
        pair: where to start; of any norm but zero.
        stop: when to stop.
    """
    pair = Pair(_unit(pair.u, pair.u)[0], pair.v)
    for iteration in range(1, stop.limit + 1):
        v, low = _unit(adjoint(pair.u), pair.v)
        u, high = _unit(operate(v), pair.u)
        before, pair = pair, Pair(u, v)
        if stop.reached(before, pair, low, high):
            return pair, iteration
    return pair, stop.limit


def _unit(x: Tensor, otherwise: Tensor) -> tuple[Tensor, Tensor]:
    """Return x over its norm, and the norm; the zero operator leaves the vector as it was."""
    norm = torch.linalg.vector_norm(x)
    return torch.where(norm > 0, x / norm.clamp_min(torch.finfo(x.dtype).tiny), otherwise), norm
