"""Solve the Lasso for many right-hand sides at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EVERY = 20  # iterations between two looks at the duality gap
RELAXATION = 1.6


@dataclass(frozen=True)
class Solution:
    """Hold what the solver found.

    Args:
        w: coefficients (B, k).
        gap: duality gap over ||y||^2, (B,): how far the objective can be from its minimum.
        iterations: how many each took, (B,).
    """

    w: Tensor
    gap: Tensor
    iterations: Tensor


def solve_lasso(
    dictionary: Tensor,
    y: Tensor,
    penalty: float,
    tolerance: float = 1e-4,
    max_iterations: int = 5000,
) -> Solution:
    """Minimise ||D w - y||^2 + penalty ||w||_1 for each y.

    By the alternating direction method of multipliers: the linear system, the same for all y and
    all iterations, is factorised once, so an iteration is two matrix products of the batch. A row
    leaves the batch once its duality gap is at most tolerance ||y||^2, which scikit-learn's Lasso
    asks of itself too. What reaches `max_iterations` comes back with the gap it has.

    Source: Boyd, Parikh, Chu, Peleato, Eckstein, "Distributed optimization and statistical learning
    via the alternating direction method of multipliers", 2011, sections 3.4.3 and 6.4.

    Args:
        dictionary: D (m, k), float64 for small tolerances.
        y: (B, m).
        penalty: positive.
        tolerance: of the relative duality gap.
        max_iterations: at most so many.

    Raises:
        ValueError: the penalty is not positive.
    """
    if penalty <= 0:
        raise ValueError(f"solve_lasso: the penalty must be positive, got {penalty}")
    # Coefficients of images in [0, 1] are of size one, and a tenth is a good first threshold.
    rho = 10 * penalty
    shrink = penalty / rho
    solve = _resolvent(dictionary, rho)
    norms = y.square().sum(1)
    # A black image has nothing to be relative to.
    scale = torch.where(norms > 0, norms, 1.0)
    z = y.new_zeros(len(y), dictionary.shape[1])
    found = Solution(z.clone(), torch.zeros_like(norms), torch.zeros_like(norms, dtype=torch.int64))
    live = torch.arange(len(y), device=y.device)
    target, u = y, z.clone()
    correlation = 2 * y @ dictionary
    for iteration in range(1, max_iterations + 1):
        if not len(live):
            break
        w = RELAXATION * solve(correlation + rho * (z - u)) + (1 - RELAXATION) * z
        shifted = w + u
        z = shifted.sign() * (shifted.abs() - shrink).clamp(min=0)
        u = shifted - z
        if iteration % EVERY and iteration < max_iterations:
            continue
        gap = duality_gap(dictionary, target, z, penalty) / scale[live]
        done = (gap <= tolerance) | (iteration == max_iterations)
        found.w[live[done]], found.gap[live[done]] = z[done], gap[done]
        found.iterations[live[done]] = iteration
        live, target, z, u, correlation = (t[~done] for t in (live, target, z, u, correlation))
    return found


def duality_gap(dictionary: Tensor, y: Tensor, w: Tensor, penalty: float) -> Tensor:
    """Return how far the objective at w can be above its minimum, (B,).

    The dual is to maximise u^T y - ||u||^2 / 4 over max |D^T u| <= penalty; u is the residual,
    scaled down to fit.
    """
    residual = y - w @ dictionary.mT
    u = 2 * residual
    steepest = (u @ dictionary).abs().amax(1)
    u = u * (penalty / steepest.clamp(min=penalty))[:, None]
    primal = residual.square().sum(1) + penalty * w.abs().sum(1)
    return primal - (u * y).sum(1) + u.square().sum(1) / 4


def _resolvent(dictionary: Tensor, rho: float) -> Callable[[Tensor], Tensor]:
    """Return the product of rows (B, k) with (2 D^T D + rho I)^-1, in the cheaper of two forms."""
    m, k = dictionary.shape
    if 2 * m >= k:
        eye = torch.eye(k, device=dictionary.device, dtype=dictionary.dtype)
        inverse = torch.linalg.inv(2 * dictionary.mT @ dictionary + rho * eye)
        return lambda b: b @ inverse
    # The matrix inversion lemma: only (m, m) is inverted.
    eye = torch.eye(m, device=dictionary.device, dtype=dictionary.dtype)
    weights = 2 * torch.linalg.solve(2 * dictionary @ dictionary.mT + rho * eye, dictionary)
    return lambda b: (b - b @ dictionary.mT @ weights) / rho
