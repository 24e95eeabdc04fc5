"""The trace of a matrix that is known by its products."""

import torch
from torch import Tensor

from common.logdet.estimate import Estimate
from common.logdet.linearise import Product


def hutchinson(vjp: Product, probes: Tensor, event_dims: int = 1) -> Estimate:
    """Return an unbiased estimate of tr J, the mean of v' J v over the probes.

    Args:
        vjp: v -> J^T v on (*batch, *event).
        probes: (n, *batch, *event), of mean 0 and covariance I.
        event_dims: number of trailing dimensions that form an event.

    Reference: A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing
    Splines, Hutchinson, 1990, https://doi.org/10.1080/03610919008812866.
    """
    return Estimate.mean(torch.stack([inner(vjp(v), v, event_dims) for v in probes]))


def inner(a: Tensor, b: Tensor, event_dims: int) -> Tensor:
    """Return the inner product of each event: two (*batch, *event) -> (*batch,)."""
    return (a * b).flatten(-event_dims).sum(-1)
