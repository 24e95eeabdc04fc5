"""Log-determinants by a series of random length, without bias."""

import torch
from torch import Tensor

from common.logdet.estimate import Estimate
from common.logdet.lengths import Lengths
from common.logdet.linearise import Product
from common.logdet.power_series import weighted_series
from common.logdet.series import Series


def roulette(
    vjp: Product, probes: Tensor, series: Series, lengths: Lengths, event_dims: int = 1
) -> Estimate:
    """Return an unbiased estimate of the whole series, the sum over k of c_k tr(J^k).

    Its standard error covers probes and lengths. Where samples share their lengths it still holds
    for each of them, but errors of different samples go together: that of a mean over the batch
    falls by no root of the batch's size. It costs as many products per probe as the longest length.

    Args:
        vjp: v -> J^T v on (*batch, *event); the value can be differentiated if its products can.
        probes: (n, *batch, *event), of mean 0 and covariance I.
        series: RESIDUAL or MONOTONE.
        lengths: drawn by `poisson` or `geometric` with as many probes.
        event_dims: number of trailing dimensions that form an event.

    Raises: ValueError unless there is one length for each probe of each sample.

    Reference: Residual Flows for Invertible Generative Modeling, Chen, Behrmann, Duvenaud and
    Jacobsen, 2019, https://arxiv.org/abs/1906.02735, section 3.1.
    """
    weights = lengths.weights_of(probes, event_dims)
    return Estimate.mean(
        torch.stack(
            [
                weighted_series(vjp, v, series, w.unbind(0), event_dims)
                for v, w in zip(probes, weights, strict=True)
            ]
        )
    )
