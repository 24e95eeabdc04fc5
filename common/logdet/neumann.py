"""The gradient of a log-determinant, without the log-determinant."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.logdet.hutchinson import inner
from common.logdet.lengths import Lengths
from common.logdet.linearise import Product
from common.logdet.series import Series


@dataclass(frozen=True)
class Surrogate:
    """Hold a scalar per sample to be added to a loss for the sake of its gradient.

    Its number means nothing for a likelihood: on average it is tr(J (I + J)^-1), or
    -2 tr(J (I - J^2)^-1), and not the log-determinant.

    Args:
        surrogate: (*batch,), with a graph.
    """

    surrogate: Tensor


def neumann_surrogate(
    vjp: Product, probes: Tensor, series: Series, lengths: Lengths, event_dims: int = 1
) -> Surrogate:
    """Return what has an unbiased estimate of the log-determinant's gradient as its gradient.

    The gradient of the series is tr(A dJ) with the kernel A, the sum over k >= 0 of
    (k+1) c_(k+1) J^k. An estimate u of A^T v is held constant, and u' J v is differentiated: one
    product carries a graph, all others cost no memory. Term k > 0 of the kernel has the weight of
    the lengths' term k, and term 0 the weight 1.

    The kernel stands on the side of the probe where products of the transpose reach it; on the
    other one it would need products with J itself. Both have the same mean.

    Args:
        vjp: v -> J^T v on (*batch, *event), with a graph unless under `torch.no_grad()`, as
            `linearise` makes it.
        probes: (n, *batch, *event), of mean 0 and covariance I.
        series: RESIDUAL or MONOTONE.
        lengths: drawn by `poisson` or `geometric` with as many probes.
        event_dims: number of trailing dimensions that form an event.

    Raises: ValueError where no gradient can come of it, or unless there is one length for each
        probe of each sample.

    Reference: Residual Flows for Invertible Generative Modeling, Chen, Behrmann, Duvenaud and
    Jacobsen, 2019, https://arxiv.org/abs/1906.02735, section 3.2.
    """
    surrogate = contract(vjp, probes, kernel(vjp, probes, series, lengths, event_dims), event_dims)
    if not surrogate.requires_grad:
        raise ValueError(
            "neumann_surrogate: expected products with a graph, got one without; "
            "for a value use power_series or roulette"
        )
    return Surrogate(surrogate)


@torch.no_grad()
def kernel(
    vjp: Product, probes: Tensor, series: Series, lengths: Lengths, event_dims: int
) -> Tensor:
    """Return estimates of A^T v without a graph, one for each of the probes v.

    Shapes: probes and result (n, *batch, *event).
    """
    results = []
    for probe, weights in zip(probes, lengths.weights_of(probes, event_dims), strict=True):
        coefficients = [series.derivative(k) for k in range(len(weights) + 1)]
        while len(coefficients) > 1 and coefficients[-1] == 0:
            coefficients.pop()
        power, total = probe, coefficients[0] * probe
        spread = weights.reshape(*weights.shape, *[1] * event_dims)
        for coefficient, weight in zip(coefficients[1:], spread, strict=False):
            power = vjp(power)
            if coefficient != 0:
                total = total + coefficient * weight * power
        results.append(total)
    return torch.stack(results)


def contract(vjp: Product, probes: Tensor, kernels: Tensor, event_dims: int) -> Tensor:
    """Return the mean of u' J v over the pairs of probes v and their kernels u, (*batch,)."""
    pairs = zip(probes, kernels, strict=True)
    return torch.stack([inner(vjp(u), v, event_dims) for v, u in pairs]).mean(0)
