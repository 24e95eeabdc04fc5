"""Small priors and operators for tests."""

import math

import torch
from torch import Tensor, nn

from common.bijections.transformer import SigmoidAffine
from common.flows.glow import image_flow
from inverse_problems.operators.dense import DenseOperator
from inverse_problems.priors.base import Prior


class LinearPrior(Prior):
    """x = 1/2 + G z with an invertible matrix G, so x is Gaussian."""

    invertible = True

    def __init__(self, matrix: Tensor, shape: tuple[int, int, int]) -> None:
        super().__init__(shape, matrix.shape[1])
        self.matrix = nn.Parameter(matrix)

    def decode(self, z: Tensor) -> Tensor:
        return 0.5 + (z @ self.matrix.T).reshape(-1, *self.shape)

    def encode(self, x: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix, (x - 0.5).flatten(1).T).T

    def log_prob(self, x: Tensor) -> Tensor:
        normal = -0.5 * (self.encode(x).square().sum(-1) + self.n * math.log(2 * math.pi))
        return normal - torch.linalg.slogdet(self.matrix).logabsdet


class TinyFlow(Prior):
    """A flow of 8 x 8 images with random weights that are no identity."""

    invertible = True

    def __init__(self, seed: int = 0, spread: float = 0.5) -> None:
        super().__init__((1, 8, 8), 64)
        generator = torch.Generator().manual_seed(seed)
        self.flow = (
            image_flow(
                self.shape,
                levels=2,
                steps=2,
                channels=8,
                blocks=1,
                transformer=SigmoidAffine(),
                batch_norm=False,
                values=None,
                generator=generator,
            )
            .double()
            .eval()
        )
        for parameter in self.flow.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data.add_(noise, alpha=0.1 * spread)
        self.eval()

    def decode(self, z: Tensor) -> Tensor:
        return self.flow.bijection.inverse(z.reshape(-1, *self.shape))

    def encode(self, x: Tensor) -> Tensor:
        return self.flow.bijection.forward_and_logdet(x)[0].flatten(1)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)


def gaussian(m: int, shape: tuple[int, int, int], seed: int = 0) -> DenseOperator:
    """Return A of entries N(0, 1/m)."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(m, math.prod(shape), generator=generator, dtype=torch.float64)
    return DenseOperator(shape, matrix / m**0.5)


def linear_prior(shape: tuple[int, int, int], seed: int = 0) -> LinearPrior:
    """Return a linear prior with singular values from 1 down to 0.05."""
    generator = torch.Generator().manual_seed(seed)
    n = math.prod(shape)
    basis = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64)).Q
    return LinearPrior(basis * torch.logspace(0, -1.3, n, dtype=torch.float64), shape)
