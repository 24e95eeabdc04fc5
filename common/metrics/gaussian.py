"""The full-covariance Gaussian: the baseline of density estimation, in closed form.

Its test log-likelihood depends on nothing but the data, so that it is also the cheapest check of a
data set that was rebuilt.
"""

import math

import torch
from torch import Tensor


def fit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maximum-likelihood mean (D,) and lower Cholesky factor (D, D) of the covariance.

    The covariance is over N, not N - 1. Points (N, D) are summed in float64 in blocks, so that
    float32 points of any number neither lose digits nor are copied whole.

    Raises:
        ValueError: x is no (N, D), or its covariance is not positive definite, as where a column
            is a combination of others or there are no more points than features.
    """
    if x.dim() != 2 or len(x) == 0:
        raise ValueError(f"gaussian.fit: expected points (N, D), got shape {tuple(x.shape)}")
    blocks = x.split(_BLOCK)
    mean = torch.stack([block.double().sum(0) for block in blocks]).sum(0) / len(x)
    covariance = mean.new_zeros(len(mean), len(mean))
    for block in blocks:
        centred = block.double() - mean
        covariance += centred.T @ centred
    chol, info = torch.linalg.cholesky_ex(covariance / len(x))
    if int(info):
        raise ValueError(
            f"gaussian.fit: the covariance of {len(x)} points with {len(mean)} features is not "
            f"positive definite (feature {int(info) - 1})"
        )
    return mean, chol


def log_prob(x: Tensor, mean: Tensor, chol: Tensor) -> Tensor:
    """Return the log-density in nats of points (N, D), float64 (N,).

    Args:
        x: points, of any floating dtype.
        mean: (D,).
        chol: lower Cholesky factor (D, D) of the covariance.
    """
    norm = 0.5 * len(mean) * math.log(2 * math.pi) + chol.diagonal().log().sum()
    parts = [
        torch.linalg.solve_triangular(chol, (block.double() - mean).T, upper=False)
        for block in x.split(_BLOCK)
    ]
    return -0.5 * torch.cat([part.square().sum(0) for part in parts]) - norm


_BLOCK = 100_000
