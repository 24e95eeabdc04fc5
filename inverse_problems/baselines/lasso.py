"""Recovery by sparsity: the image with few coefficients that fits the measurements."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inverse_problems.baselines.base import each_group
from inverse_problems.baselines.bases import BASES, BasisName
from inverse_problems.baselines.lasso_solver import Solution, solve_lasso
from inverse_problems.operators.base import LinearOperator

PUBLISHED_PENALTY = 0.01


@dataclass(frozen=True)
class Lasso:
    """Minimise ||A Psi w - y||^2 + penalty ||w||_1 and return Psi w clamped to [0, 1].

    That is the published baseline, which scaled A and y by sqrt(2 m) so that scikit-learn's
    (1 / 2m) ||A Psi w - y||^2 + penalty ||w||_1 became it. All images of one operator are solved
    as one batch, in float64, to the accuracy scikit-learn asks by default of a duality gap; where
    its 1,000 sweeps end before, ours is the more accurate solution.

    Source: Asim, Daniels, Leong, Ahmed, Hand, "Invertible generative models for inverse problems:
    mitigating representation error and dataset bias", 2020, https://arxiv.org/abs/1905.11672.

    Args:
        basis: `dct`, `haar`, or `pixel`.
        penalty: on the sum of the coefficients' magnitudes.
        as_published: also fit an intercept and drop it, and divide a Haar solution by its largest
            magnitude: the published code does both, and both cost accuracy.
        tolerance: duality gap over ||y||^2 at which to stop.
        max_iterations: at most so many.
    """

    basis: BasisName
    penalty: float = PUBLISHED_PENALTY
    as_published: bool = False
    tolerance: float = 1e-4
    max_iterations: int = 5000

    def __call__(self, y: Tensor, operator: LinearOperator) -> Tensor:
        """Recover images: y (B, *measured) -> (B, C, H, W), in the dtype of y."""
        return each_group(self._recover, y, operator)

    def coefficients(self, y: Tensor, operator: LinearOperator) -> Solution:
        """Return the coefficients w (B, k) of images measured by one operator, and their gaps."""
        dictionary = self._dictionary(operator, y)
        target = y.flatten(1).double()
        if self.as_published:
            # A fitted intercept takes the mean of everything along the measurements.
            dictionary = dictionary - dictionary.mean(0)
            target = target - target.mean(1, keepdim=True)
        return solve_lasso(dictionary, target, self.penalty, self.tolerance, self.max_iterations)

    def _recover(self, y: Tensor, operator: LinearOperator) -> Tensor:
        x = BASES[self.basis](operator.shape).synthesise(self.coefficients(y, operator).w)
        if self.as_published and self.basis == "haar":
            peak = x.abs().amax((1, 2, 3), keepdim=True)
            x = x / torch.where(peak > 0, peak, 1.0)
        return x.clamp(0, 1).to(y.dtype)

    def _dictionary(self, operator: LinearOperator, like: Tensor) -> Tensor:
        """Return A Psi (m, k), float64: the basis' view of each row of A."""
        units = torch.eye(operator.m, device=like.device, dtype=like.dtype)
        rows = operator.adjoint(units.unflatten(-1, operator.measured))
        return BASES[self.basis](operator.shape).analyse(rows.double())
