"""What a solver returns, and how it measures a residual."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """Hold a fixed point of f to within a tolerance.

    Attributes:
        x: the point (*batch, *event), without a graph.
        residual: max |f(x) - x| over the event, divided by the sample's scale, (*batch,); measured
            at this very x.
        evaluations: calls of f, each of the whole batch.
    """

    x: Tensor
    residual: Tensor
    evaluations: int


def event_max(value: Tensor, event_dims: int) -> Tensor:
    """Return the largest absolute entry of each event: (*batch, *event) -> (*batch,)."""
    return value.abs().flatten(-event_dims).amax(-1)


def event_norm(value: Tensor, event_dims: int) -> Tensor:
    """Return the Euclidean norm of each event: (*batch, *event) -> (*batch,)."""
    return torch.linalg.vector_norm(value.flatten(-event_dims), dim=-1)


def spread(per_sample: Tensor, event_dims: int) -> Tensor:
    """Let a number per sample meet its event: (*batch,) -> (*batch, 1, ..., 1)."""
    return per_sample.reshape(*per_sample.shape, *[1] * event_dims)
