"""Activations of slope at most one: Pila, and pairs of one function at x and at -x.

A pair f(x) = [s(x), s(-x)] doubles the channels; its speed sqrt(f1'^2 + f2'^2) is at most one, so
that it is 1-Lipschitz as a map of vectors, and unlike a single activation it is nowhere flat.

References: Invertible Monotone Operators for Normalizing Flows, Byeongkeun Ahn, Chiyoon Kim,
Youngjoon Hong and Hyunwoo J. Kim, 2022, https://arxiv.org/abs/2210.08176 (Pila, CPila); Invertible
DenseNets with Concatenated LipSwish, Yura Perugachi-Diaz, Jakub M. Tomczak and Sandjai Bhulai,
2021, https://arxiv.org/abs/2102.02694 (CLipSwish); Residual Flows for Invertible Generative
Modeling, Ricky T. Q. Chen, Jens Behrmann, David Duvenaud and Joern-Henrik Jacobsen, 2019,
https://arxiv.org/abs/1906.02735 (LipSwish).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

K = 5.0  # how fast Pila falls to zero, as published
PILA_SHIFT, PILA_SPEED = 0.2, 1.06
SWISH_SLOPE, SWISH_SPEED = 1.1, 1.004
BETA = 0.5  # start of LipSwish's parameter, whose softplus is the steepness


def pila(z: Tensor, k: float = K, order: int = 0) -> Tensor:
    """Return Pila or its derivative of some order; z of any shape.

    Pila is z for z >= 0 and (k^2/2 z^3 - k z^2 + z) exp(k z) below. It is three times continuously
    differentiable. Each derivative is a polynomial times the same exponential, and so is each
    backward pass: a second derivative costs no more than a first.
    """
    return _Pila.apply(z, k, order)


class _Pila(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor, k: float, order: int) -> Tensor:
        a, b, c, d = _polynomial(k, order)
        below = z.clamp(max=0)  # else exp overflows in the branch that is not taken
        y = (((a * below + b) * below + c) * below + d) * torch.exp(k * below)
        if order == 0:
            return y + z.clamp(min=0)
        # At zero the polynomial part is 1, 0, 0: what the derivatives are above it.
        return y if order <= 3 else torch.where(z > 0, 0.0, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        z, ctx.k, ctx.order = inputs
        ctx.save_for_backward(z)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        return gradient * pila(z, ctx.k, ctx.order + 1), None, None


def _polynomial(k: float, order: int) -> tuple[float, float, float, float]:
    """Return the coefficients of z^3 ... z^0 in the derivative of the given order."""
    a, b, c, d = k * k / 2, -k, 1.0, 0.0
    for _ in range(order):
        a, b, c, d = k * a, k * b + 3 * a, k * c + 2 * b, k * d + c
    return a, b, c, d


def lipswish(z: Tensor, beta: Tensor | float) -> Tensor:
    """Return z sigmoid(beta z) / 1.1, whose slope is at most one; beta > 0 broadcasts."""
    return z * torch.sigmoid(beta * z) / SWISH_SLOPE


class Activation(nn.Module):
    """Map channels to as many or twice as many channels.

    Args:
        dim: the channels' dimension, negative.
    """

    doubles = True

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def channels(self, n: int) -> int:
        """Return how many channels come out of n."""
        return 2 * n if self.doubles else n


class CPila(Activation):
    """[Pila(x - 0.2), Pila(-x - 0.2)] / 1.06."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., 2C, ...) of x (..., C, ...)."""
        z = torch.cat((x - PILA_SHIFT, -x - PILA_SHIFT), self.dim)
        return pila(z) / PILA_SPEED


class CReLU(Activation):
    """[relu(x), relu(-x)]: speed one everywhere, and a kink."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., 2C, ...) of x (..., C, ...)."""
        return torch.cat((x, -x), self.dim).relu()


class LipSwish(Activation):
    """x sigmoid(softplus(beta) x) / 1.1 with a learned beta."""

    doubles = False

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim)
        self.beta = nn.Parameter(torch.tensor([BETA]))

    def forward(self, x: Tensor) -> Tensor:
        """Return x's shape."""
        return lipswish(x, F.softplus(self.beta))


class CLipSwish(LipSwish):
    """[s(x), s(-x)] / 1.004 of LipSwish s."""

    doubles = True

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., 2C, ...) of x (..., C, ...)."""
        z = torch.cat((x, -x), self.dim)
        return lipswish(z, F.softplus(self.beta)) / SWISH_SPEED
