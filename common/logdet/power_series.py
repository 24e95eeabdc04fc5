"""Log-determinants by a series of fixed length."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.logdet.estimate import Estimate
from common.logdet.hutchinson import inner
from common.logdet.linearise import Product
from common.logdet.series import Series


def power_series(
    vjp: Product, probes: Tensor, series: Series, terms: int, event_dims: int = 1
) -> Estimate:
    """Return an estimate of the first `terms` terms, the sum over k of c_k tr(J^k).

    It is biased by the terms left out, by `remainder_bound` at most. The standard error is that of
    the traces and does not know of the bias. It costs `terms` products per probe, less one if the
    last coefficient is zero.

    Args:
        vjp: v -> J^T v on (*batch, *event); the value can be differentiated if its products can.
        probes: (n, *batch, *event), of mean 0 and covariance I.
        series: RESIDUAL or MONOTONE.
        terms: how many, at least 0.
        event_dims: number of trailing dimensions that form an event.

    Reference: Invertible Residual Networks, Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen, 2019,
    https://arxiv.org/abs/1811.00995, section 3.2.
    """
    weights = (1.0,) * terms
    return Estimate.mean(
        torch.stack([weighted_series(vjp, v, series, weights, event_dims) for v in probes])
    )


def weighted_series(
    vjp: Product,
    probe: Tensor,
    series: Series,
    weights: Sequence[float | Tensor],
    event_dims: int,
) -> Tensor:
    """Return the sum of w_k c_k v' J^k v over k = 1 ... len(weights), (*batch,), of one probe v.

    Shapes: probe (*batch, *event); each weight a number or (*batch,).
    """
    coefficients = [series.coefficient(k) for k in range(1, len(weights) + 1)]
    while coefficients and coefficients[-1] == 0:
        coefficients.pop()
    total = probe.new_zeros(probe.shape[:-event_dims])
    power = probe
    for coefficient, weight in zip(coefficients, weights, strict=False):
        power = vjp(power)
        if coefficient != 0:
            total = total + coefficient * weight * inner(power, probe, event_dims)
    return total
