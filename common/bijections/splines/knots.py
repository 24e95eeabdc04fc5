"""What all splines share: knots from logits, the bin of a value, and what is read off it."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# No bin is narrower or lower than this share of the box, and no knot has a smaller slope.
MIN_SIZE = 1e-3
MIN_SLOPE = 1e-3
# Logit of a slope of exactly one.
UNIT_SLOPE = math.log(math.expm1(1 - MIN_SLOPE))


def sizes(logits: Tensor) -> Tensor:
    """Return the shares (..., K) of the box that the bins take: softmax with a floor; sum 1."""
    bins = logits.shape[-1]
    return MIN_SIZE + (1 - bins * MIN_SIZE) * torch.softmax(logits, -1)


def knots(shares: Tensor, lower: float, upper: float) -> Tensor:
    """Return the K + 1 knots (..., K + 1) of bins with these shares (..., K) of [lower, upper].

    The two end knots are the exact bounds, whatever the sum of the shares rounds to.
    """
    inner = lower + (upper - lower) * shares[..., :-1].cumsum(-1)
    return F.pad(F.pad(inner, (1, 0), value=lower), (0, 1), value=upper)


def slopes(logits: Tensor, tails: bool) -> Tensor:
    """Return the slopes (..., K + 1) at the knots; with tails, those at both ends are one.

    Shapes: logits (..., K - 1) with tails, (..., K + 1) without.
    """
    found = MIN_SLOPE + F.softplus(logits)
    return F.pad(found, (1, 1), value=1.0) if tails else found


def bin_of(v: Tensor, edges: Tensor) -> Tensor:
    """Return the bin (...) that holds v; a knot belongs to the bin on its right.

    Only interior knots are searched, so the answer lies in [0, K - 1] for any v, NaN included.

    Shapes: v (...), edges (..., K + 1).
    """
    inner = edges[..., 1:-1].detach()
    return (v.detach().unsqueeze(-1) >= inner).sum(-1)


def pick(index: Tensor, *tables: Tensor) -> tuple[Tensor, ...]:
    """Return the entry of each table (..., K) at the index (...), by one gather."""
    stacked = torch.stack(tables, -2)
    where = index[..., None, None].expand(*stacked.shape[:-1], 1)
    return stacked.gather(-1, where).squeeze(-1).unbind(-1)
