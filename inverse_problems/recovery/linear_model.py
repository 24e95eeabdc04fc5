"""How well measurements determine an image if the prior is linear: without any optimiser.

Let x = G z with z ~ N(0, I), where G has singular values s_1 >= ... >= s_n, and y = A x without
noise, A (m, n) with independent normal entries. The image of highest density among those with
A x = y is the conditional mean, and its error has the conditional covariance
C = S - S A^T (A S A^T)^-1 A S, S = G G^T. With P the projection on the range of S^1/2 A^T, its
trace is |(I - P) S^1/2|_F^2: the error of a randomised range finder with m samples, whose bounds
hold.

References: Invertible generative models for inverse problems: mitigating representation error and
dataset bias, Asim, Daniels, Leong, Ahmed and Hand, 2020, https://arxiv.org/abs/1905.11672 (the
model); Finding Structure with Randomness, Halko, Martinsson and Tropp, 2011,
https://doi.org/10.1137/090771806, theorem 10.5 (the upper bounds).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError


@dataclass(frozen=True)
class ExpectedError:
    """Hold E |x_hat - x|^2 over A and x, estimated from draws of A, and its bounds.

    Attributes:
        m: number of measurements.
        mean: mean over the draws of the exact expectation over x.
        se: standard error of the mean over the draws.
        lower: sum of s_i^2 over i > m: no m measurements leave less.
        upper: m times the sum of s_i^2 over i > m - 2; infinite for m < 2.
        best_upper: lowest bound of the theorem, over its free rank; never above `upper`.
    """

    m: int
    mean: float
    se: float
    lower: float
    upper: float
    best_upper: float


def conditional_covariance(covariance: Tensor, matrix: Tensor) -> Tensor:
    """Return the covariance (n, n) of x ~ N(0, S) given A x: S (n, n), A (m, n)."""
    seen = matrix @ covariance
    return covariance - seen.mT @ torch.linalg.solve(seen @ matrix.mT, seen)


def conditional_error(singular: Tensor, matrix: Tensor) -> Tensor:
    """Return the trace of the conditional covariance, (*batch,).

    A's law is the same in every orthonormal basis, so S may be taken as diagonal.

    Args:
        singular: singular values of G, (n,).
        matrix: A, (*batch, m, n).
    """
    q, _ = torch.linalg.qr(singular.unsqueeze(-1) * matrix.mT)
    # Not the difference of two squares: the error may be far below both.
    rest = torch.diag(singular) - q @ (q.mT * singular)
    return rest.square().sum((-2, -1))


def bounds(singular: Tensor, m: int) -> tuple[float, float, float]:
    """Return lower, upper and best upper bound, see `ExpectedError`, for singular values (n,)."""
    squares = singular.double().square().sort(descending=True).values
    tails = torch.cat((squares.flip(0).cumsum(0).flip(0), squares.new_zeros(1)))  # sum over i > k
    lower = float(tails[min(m, len(squares))])
    upper = m * float(tails[m - 2]) if m >= 2 else float("inf")
    ranks = torch.arange(m - 1, dtype=squares.dtype)  # k = 0, ..., m - 2
    best = (1 + ranks / (m - ranks - 1)) * tails[: m - 1]
    return lower, upper, float(best.min()) if m >= 2 else float("inf")


def expected_error(
    singular: Tensor, m: int, draws: int, generator: torch.Generator, chunk: int = 64
) -> ExpectedError:
    """Estimate the expected error of m measurements from so many draws of A.

    Args:
        singular: singular values of G, (n,).
        m: number of measurements, from 1 to n.
        draws: of A, at least 2.
        generator: on the device of the singular values.
        chunk: draws computed at once, which bounds the memory.

    Raises:
        UserError: m or the number of draws is out of range.
    """
    n = len(singular)
    if not 1 <= m <= n or draws < 2:
        raise UserError(
            f"linear model: expected 1 <= m <= {n} and at least 2 draws, got m = {m} and "
            f"{draws} draws"
        )
    singular = singular.double()
    errors = []
    for first in range(0, draws, chunk):
        size = (min(chunk, draws - first), m, n)
        # The scale of A does not matter: what A sees is seen without noise.
        matrix = torch.randn(size, generator=generator, dtype=torch.float64, device=singular.device)
        errors.append(conditional_error(singular, matrix))
    error = torch.cat(errors)
    return ExpectedError(
        m, float(error.mean()), float(error.std() / draws**0.5), *bounds(singular, m)
    )
