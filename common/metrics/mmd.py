"""Maximum mean discrepancy of two samples, with the two kernels of invertible networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Entries of the kernel's matrix that are in memory at once: small blocks stay in the cache, where
# whole matrices would cost several times their arithmetic in fresh pages.
BLOCK = 1 << 16
# A kernel: the terms (C, a) that are added up.
Kernel = tuple[tuple[float, float], ...]


def multiquadratic(terms: Sequence[Sequence[float]]) -> Kernel:
    """Return the kernel k = sum of C^a ((C + d^2) / a)^-a over the given pairs (C, a).

    d is the distance of two points.

    Raises:
        ValueError: a term is no pair of positive numbers, or there is none.
    """
    kernel = tuple((float(term[0]), float(term[1])) for term in terms if len(term) == 2)
    if not terms or len(kernel) < len(terms) or min(min(term) for term in kernel) <= 0:
        raise ValueError(f"kernel: expected pairs of positive numbers, got {list(terms)}")
    return kernel


def rational(widths: Sequence[float]) -> Kernel:
    """Return the kernel k = sum of a^2 / (a^2 + d^2), which is the one above for C = a^2, a = 1."""
    return multiquadratic([(width**2, 1.0) for width in widths])


def mmd(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """Return the squared discrepancy of two samples, mean(k(x, x) + k(y, y) - 2 k(x, y)).

    The biased V-statistic: pairs of a point with itself count, so it is never negative, and its
    mean over samples of one distribution is positive, of the order of k(0) (1/n + 1/m).

    Args:
        x: points (*batch, n, D).
        y: points (*batch, m, D).
        kernel: what `multiquadratic` or `rational` returned.

    Returns:
        (*batch,); the gradient reaches both samples, and is finite where points coincide.

    Source: Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A Kernel Two-Sample Test", 2012, eq. 5.
    """
    # Distances do not change, but the products they are computed from lose less to rounding.
    centre = y.detach().mean(-2, keepdim=True)
    x, y = x - centre, y - centre
    own = mean_kernel(x, x, kernel) + mean_kernel(y, y, kernel)
    return own - 2 * mean_kernel(x, y, kernel)


def mean_kernel(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """Return the mean of k over all pairs: (*batch, n, D), (*batch, m, D) -> (*batch,)."""
    mean: Tensor = _MeanKernel.apply(x, y, kernel)
    return mean


class _MeanKernel(torch.autograd.Function):
    """Find the derivatives on the way, block by block, so that no n x m matrix is ever kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
        to_x, to_y = ctx.needs_input_grad[:2]
        grad_x = torch.empty_like(x) if to_x else None
        grad_y = torch.zeros_like(y) if to_y else None
        total = x.new_zeros(x.shape[:-2])
        # |x - y|^2 is one product of (x, |x|^2, 1) and (-2 y, 1, |y|^2).
        length = y.square().sum(-1, keepdim=True)
        right = torch.cat((-2 * y, torch.ones_like(length), length), -1).mT
        pairs = x.shape[-2] * y.shape[-2]
        rows = max(1, BLOCK // max(1, x.shape[:-2].numel() * y.shape[-2]))
        for start in range(0, x.shape[-2], rows):
            part = x[..., start : start + rows, :]
            length = part.square().sum(-1, keepdim=True)
            left = torch.cat((part, length, torch.ones_like(length)), -1)
            # Rounding may leave a small negative number where points coincide.
            squares = (left @ right).clamp_(min=0)
            slope = torch.zeros_like(squares) if to_x or to_y else None
            for constant, power in kernel:
                scale = (constant * power) ** power / pairs
                base = squares + constant
                term = base.pow(-power)
                total.add_(term.sum((-2, -1)), alpha=scale)
                if slope is not None:  # dk / d|x - y|^2 = -a k / (C + |x - y|^2)
                    slope.addcdiv_(term, base, value=-2 * power * scale)
            if grad_x is not None and slope is not None:
                pull = part * slope.sum(-1, keepdim=True) - slope @ y
                grad_x[..., start : start + rows, :] = pull
            if grad_y is not None and slope is not None:
                grad_y += y * slope.sum(-2).unsqueeze(-1) - slope.mT @ part
        ctx.save_for_backward(grad_x, grad_y)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        grad_x, grad_y = ctx.saved_tensors
        factor = grad[..., None, None]
        return (
            None if grad_x is None else factor * grad_x,
            None if grad_y is None else factor * grad_y,
            None,
        )
