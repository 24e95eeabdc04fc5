"""Power series of log-determinants in the traces of J^k."""

from collections.abc import Callable
from dataclasses import dataclass

# A tail is summed until what is left is below this share of it: the rounding of float64.
NEGLIGIBLE = 1e-16


@dataclass(frozen=True)
class Series:
    """The series sum over k >= 1 of c_k tr(J^k).

    Args:
        name: what a message calls it.
        coefficient: k -> c_k, for k >= 1.
    """

    name: str
    coefficient: Callable[[int], float]

    def derivative(self, k: int) -> float:
        """Return the coefficient of J^k, k >= 0, in the kernel A of the gradient tr(A dJ).

        d tr(J^(k+1)) = (k+1) tr(J^k dJ), hence (k+1) c_(k+1).
        """
        return (k + 1) * self.coefficient(k + 1)


def _residual(k: int) -> float:
    return 1 / k if k % 2 else -1 / k


def _monotone(k: int) -> float:
    return -2 / k if k % 2 else 0.0


RESIDUAL = Series("residual", _residual)
"""log det(I + J). Its kernel is (I + J)^-1.

Reference: Invertible Residual Networks, Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, 2019,
https://arxiv.org/abs/1811.00995, section 3.1.
"""

MONOTONE = Series("monotone", _monotone)
"""log det(I - J) - log det(I + J). Its kernel is -2 (I - J^2)^-1.

Reference: Invertible Monotone Operators for Normalizing Flows, Ahn, Kim, Hong and Kim, 2022,
https://arxiv.org/abs/2210.08176.
"""


def remainder_bound(series: Series, terms: int, lipschitz: float, dimensions: int) -> float:
    """Return how many nats the terms beyond the first `terms` can add at most.

    With |J| <= L in the spectral norm |tr J^k| <= D L^k, so that the sum over k > terms of
    |c_k| D L^k bounds the remainder. J = -L I reaches it, and J = L I too for MONOTONE. The time
    grows as 1 / (1 - L).

    Args:
        series: which coefficients c_k; they must not grow with k.
        terms: kept, at least 0.
        lipschitz: L in [0, 1).
        dimensions: D.

    Raises: ValueError for L outside [0, 1).
    """
    if not 0 <= lipschitz < 1:
        raise ValueError(
            f"remainder_bound: expected a Lipschitz constant in [0, 1), got {lipschitz}; "
            "the series need not converge"
        )
    k, power, total = terms + 1, lipschitz ** (terms + 1), 0.0
    # What is left from k on is at most 2 L^k / (k (1 - L)).
    while 2 * power > NEGLIGIBLE * k * (1 - lipschitz) * total:
        total += abs(series.coefficient(k)) * power
        k, power = k + 1, power * lipschitz
    return dimensions * total
