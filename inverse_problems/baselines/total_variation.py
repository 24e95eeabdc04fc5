"""Recovery by total variation: the image with the least jumps that fits the measurements."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inverse_problems.baselines.base import each_group
from inverse_problems.operators.base import LinearOperator


@dataclass(frozen=True)
class TotalVariation:
    """Minimise ||A x - y||^2 + penalty TV(x) and return x clamped to [0, 1].

    TV sums the Euclidean length of the gradient (forward differences, none across the border) over
    the pixels of each channel. With A = I this is the denoising of scikit-image's
    `denoise_tv_chambolle` at weight penalty / 2. All images are solved as one batch by a
    primal-dual iteration, which takes one A and one A^T and no inner loop.

    Sources: Rudin, Osher, Fatemi, "Nonlinear total variation based noise removal algorithms", 1992
    (objective); Condat, "A primal-dual splitting method for convex optimization involving
    Lipschitzian, proximable and linear composite terms", 2013, algorithm 3.1; Vu, "A splitting
    algorithm for dual inclusions involving cocoercive operators", 2013.

    Args:
        penalty: positive.
        tolerance: of the change in one iteration, root of the mean square over an image, of x and
            of the dual variables over the penalty.
        max_iterations: at most so many.
    """

    penalty: float
    tolerance: float = 1e-5
    max_iterations: int = 2000

    def __call__(self, y: Tensor, operator: LinearOperator) -> Tensor:
        """Recover images: y (B, *measured) -> (B, C, H, W), in the dtype of y."""
        return each_group(self._recover, y, operator)

    def _recover(self, y: Tensor, operator: LinearOperator) -> Tensor:
        return self.minimise(y, operator).clamp(0, 1)

    @torch.no_grad()
    def minimise(self, y: Tensor, operator: LinearOperator) -> Tensor:
        """Return the minimisers (B, C, H, W), before they are clamped.

        Raises:
            ValueError: the penalty is not positive.
        """
        if self.penalty <= 0:
            raise ValueError(f"TotalVariation: the penalty must be positive, got {self.penalty}")
        x = operator.adjoint(y)
        if not x.numel():
            return x
        curvature = 2 * squared_norm(operator, x)
        # Dual variables are at most the penalty while x is of size one; ten times that proportion
        # reached a given objective soonest of 0.3 to 1,000 times it, on digits.
        sigma = 10 * self.penalty
        tau = 1 / (curvature / 2 + 8 * sigma)  # 8 bounds the squared norm of the gradient
        p = x.new_zeros(2, *x.shape)
        for _ in range(self.max_iterations):
            slope = 2 * operator.adjoint(operator(x) - y) + _gradient_adjoint(p)
            after = x - tau * slope
            turned = p + sigma * _gradient(2 * after - x)
            turned = turned / (turned.norm(dim=0) / self.penalty).clamp(min=1)
            step = torch.maximum(_size(after - x), _size((turned - p) / self.penalty))
            x, p = after, turned
            if step <= self.tolerance:
                break
        return x


def squared_norm(operator: LinearOperator, like: Tensor, iterations: int = 30) -> float:
    """Return an upper estimate of the largest eigenvalue of A^T A, by power iteration.

    Two per cent are added: after so many iterations the estimate is from below, and close.

    Args:
        operator: A.
        like: gives device and dtype of the images.
        iterations: products with A^T A.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, *operator.shape, generator=generator, dtype=torch.float64).to(like)
    value = 0.0
    for _ in range(iterations):
        x = x / x.norm().clamp(min=torch.finfo(x.dtype).tiny)
        x = operator.adjoint(operator(x))
        value = float(x.norm())
    return 1.02 * value


def _size(change: Tensor) -> Tensor:
    """Return the largest root of the mean square over an image."""
    return change.square().mean((-3, -2, -1)).max().sqrt()


def _gradient(x: Tensor) -> Tensor:
    """Return forward differences along rows and columns, (2, *x.shape), zero at the border."""
    g = x.new_zeros(2, *x.shape)
    g[0, ..., :-1, :] = x[..., 1:, :] - x[..., :-1, :]
    g[1, ..., :, :-1] = x[..., :, 1:] - x[..., :, :-1]
    return g


def _gradient_adjoint(p: Tensor) -> Tensor:
    """Return the adjoint of `_gradient`, which is minus the divergence."""
    x = torch.zeros_like(p[0])
    x[..., 1:, :] += p[0, ..., :-1, :]
    x[..., :-1, :] -= p[0, ..., :-1, :]
    x[..., :, 1:] += p[1, ..., :, :-1]
    x[..., :, :-1] -= p[1, ..., :, :-1]
    return x
