"""Likelihoods in nats, in bits per dimension, and in the units that papers print.

Standard bits per dimension are those of dequantised pixels in [0, levels): the negative
log-density over D ln 2, an upper bound on the code length of the integer pixels. Some papers print
h instead, the same number for the logits t of the pixels, without the Jacobian of the logit; and
some add a constant to it. With the offset of `logit_offset`, on the same items and the same noise,

    standard = h + offset.

Source of the printed units: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based
on Matrix Factorization", 2023, https://arxiv.org/abs/2302.10524, and the code published with it.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value", float, Tensor)

# ln pi in place of ln 2 pi: half of ln 2 nats, half a bit, too little in every dimension.
LU_NET_CONSTANT = -0.5
# The division by 255 that a logit replaced is still counted.
REALNVP_CONSTANT = math.log2(255)


def bits_per_dim(nats: Tensor, dims: int) -> Tensor:
    """Return bits per dimension of negative log-likelihoods in nats per item, any shape.

    Raises:
        ValueError: dims is not positive.
    """
    if dims < 1:
        raise ValueError(f"bits_per_dim: expected at least one dimension, got {dims}")
    return nats / (dims * math.log(2))


def logit_offset(x: Tensor, levels: int, margin: float) -> Tensor:
    """Return what standard bits per dimension exceed those of logit space by, per item.

    With s = (1 - margin) x / levels + margin / 2 and t = logit(s) it is
    log2(levels) + mean_d [log2 s + log2(1 - s)] - log2(1 - margin).

    Args:
        x: dequantised values (*batch, D) in [0, levels].
        levels: number of pixel values.
        margin: width of [0, 1] that the logit keeps free.

    Returns:
        float64 (*batch,), in bits per dimension; -inf where s is 0 or 1, which takes margin 0.

    Raises:
        ValueError: a value lies outside of [0, levels], or the margin outside of [0, 1).
    """
    if not 0 <= margin < 1:
        raise ValueError(f"logit_offset: expected a margin in [0, 1), got {margin}")
    z = x.double() / levels
    if not bool(((z >= 0) & (z <= 1)).all()):
        raise ValueError(f"logit_offset: expected values in [0, {levels}], got others or NaN")
    log_s = torch.log2((1 - margin) * z + margin / 2)
    log_complement = torch.log2((1 - margin) * (1 - z) + margin / 2)
    constant = math.log2(levels) - math.log2(1 - margin)
    return constant + (log_s + log_complement).mean(-1)


def logit_space(bpd: Value, offset: Value) -> Value:
    """Return h, bits per dimension of logit space, from standard ones."""
    return bpd - offset


def standard(h: Value, offset: Value) -> Value:
    """Return standard bits per dimension from h: the inverse of `logit_space`."""
    return h + offset


def lu_net_units(h: Value) -> Value:
    """Return what LU-Net's published code prints for h: ln pi stands in place of ln 2 pi."""
    return h + LU_NET_CONSTANT


def from_lu_net_units(printed: Value) -> Value:
    """Return h from what LU-Net's published code prints."""
    return printed - LU_NET_CONSTANT


def realnvp_units(h: Value) -> Value:
    """Return what the RealNVP of LU-Net's comparison prints for h: log2 255 is added."""
    return h + REALNVP_CONSTANT


def from_realnvp_units(printed: Value) -> Value:
    """Return h from what the RealNVP of LU-Net's comparison prints."""
    return printed - REALNVP_CONSTANT


def mean_and_se(values: Tensor) -> tuple[float, float]:
    """Return the mean of independent values (N,) and its standard error, in float64.

    The standard error of a single value is NaN.

    Raises:
        ValueError: there is no value, or more than one dimension.
    """
    if values.dim() != 1 or len(values) == 0:
        raise ValueError(f"mean_and_se: expected values (N,), got shape {tuple(values.shape)}")
    values = values.double()
    if len(values) == 1:
        return values.item(), math.nan
    return values.mean().item(), values.std().item() / math.sqrt(len(values))


def mean_and_se_of_draws(values: Tensor) -> tuple[float, float]:
    """Return mean and standard error over items, of values (R, N) at R noise draws of N items.

    Draws of one item are not independent: each item is averaged over its draws first.

    Raises:
        ValueError: there is no value, or not two dimensions.
    """
    if values.dim() != 2 or values.numel() == 0:
        raise ValueError(
            f"mean_and_se_of_draws: expected values (R, N), got shape {tuple(values.shape)}"
        )
    return mean_and_se(values.double().mean(0))
