"""What a recovery without training is, and how it meets a batch of several measurements."""

from collections.abc import Callable

import torch
from torch import Tensor

from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.grouped import Grouped

# From y (B, *measured) and its operator to images (B, C, H, W) in [0, 1].
Baseline = Callable[[Tensor, LinearOperator], Tensor]


def each_group(recover: Baseline, y: Tensor, operator: LinearOperator) -> Tensor:
    """Recover the groups of a batch one after the other, each with its own operator.

    Args:
        recover: sees measurements without padding, and no `Grouped`.
        y: (B, *measured).
        operator: what measured them; where it is not `Grouped`, there is one group.
    """
    if not isinstance(operator, Grouped):
        return recover(y, operator)
    return torch.cat([recover(part, one) for one, part in operator.split(y)])


def pseudo_inverse(y: Tensor, operator: LinearOperator) -> Tensor:
    """Return A^+ y clamped to [0, 1]: of all images that fit the measurements, the shortest.

    Shapes: y (B, *measured) -> (B, C, H, W).
    """
    return operator.pseudo_inverse(y).clamp(0, 1)
