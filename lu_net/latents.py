"""A Gaussian fitted to the latents of a trained model, as the published samples need it."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

# Added to the diagonal, as a share of the mean variance. Fewer items than dimensions leave the
# covariance singular; where there are enough, this is below the digits that are quoted.
RIDGE = 1e-6


class FittedGaussian:
    """N(mean, covariance) of K models' latents, float64.

    If a flow is trained, this is close to N(0, I). Fitting it afterwards equals one more affine
    layer, so its density is a model of its own and is scored as one.

    Args:
        mean: (K, D).
        covariance: (K, D, D). A model whose covariance is not positive definite, because its
            latents are not finite, gets densities and samples that are NaN.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean = mean
        factor, failed = torch.linalg.cholesky_ex(covariance)
        self.factor = factor.masked_fill(failed[:, None, None] != 0, math.nan)

    @classmethod
    def of(cls, latents: Iterable[tuple[Tensor, Tensor]]) -> "FittedGaussian":
        """Fit by maximum likelihood to chunks (K, B, D) with weights (K, B), 0 for padding.

        Raises:
            ValueError: there is no chunk.
        """
        sums: list[Tensor] = []
        for z, w in latents:
            z, w = z.double(), w.double().unsqueeze(-1)
            terms = [w.sum(1), (w * z).sum(1), (w * z).mT @ z]
            sums = [a + b for a, b in zip(sums, terms, strict=True)] if sums else terms
        if not sums:
            raise ValueError("FittedGaussian: expected at least one chunk of latents, got none")
        count, first, second = sums
        mean = first / count
        covariance = second / count.unsqueeze(-1) - mean.unsqueeze(-1) * mean.unsqueeze(-2)
        variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True)
        ridge = (RIDGE * variance).expand_as(mean).diag_embed()
        return cls(mean, covariance + ridge)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log-densities in nats: (K, B, D) -> (K, B)."""
        centred = (z.double() - self.mean.unsqueeze(1)).mT
        white = torch.linalg.solve_triangular(self.factor, centred, upper=False)
        log_volume = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        constant = 0.5 * z.shape[-1] * math.log(2 * math.pi)
        return -0.5 * white.square().sum(-2) - log_volume - constant

    def sample(self, noise: Tensor) -> Tensor:
        """Colour white noise (K, n, D)."""
        return self.mean.unsqueeze(1) + noise.double() @ self.factor.mT
