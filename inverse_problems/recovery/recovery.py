"""What a recovery gives, and how restarts and chunks of images become one."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from inverse_problems.recovery.solved import Status

# Attributes whose images are the last dimension, and those that add up over restarts.
TRACES = ("values", "norms")
COSTS = ("evaluations", "seconds", "failures")


@dataclass(frozen=True)
class Recovery:
    """Hold what was recovered, of B images.

    Attributes:
        x: images clamped to [0, 1], (B, C, H, W).
        unclamped: as the prior gave them.
        z: variables, (B, k); in the form "likelihood" images (B, n).
        objective: value there, (B,).
        residual: |A x - y|^2 there, before clamping, (B,).
        norm: |z| / sqrt(k), (B,); near 1 for a typical z of N(0, I).
        evaluations: of the objective with its gradient, over all restarts, int64 (B,).
        seconds: time of the batch divided by its images, over all restarts, (B,).
        status: of the winning start, see `Status`, int64 (B,).
        failures: starts that FAILED, int64 (B,).
        values: trace of the objective of the winning start, (T + 1, B).
        norms: trace of |z|, (T + 1, B).
    """

    x: Tensor
    unclamped: Tensor
    z: Tensor
    objective: Tensor
    residual: Tensor
    norm: Tensor
    evaluations: Tensor
    seconds: Tensor
    status: Tensor
    failures: Tensor
    values: Tensor
    norms: Tensor

    def ends(self) -> dict[str, int]:
        """Return how many images ended in which way, by the lower-case name of the status."""
        return {status.name.lower(): int((self.status == status).sum()) for status in Status}


def winner(tries: Sequence[Recovery]) -> Recovery:
    """Return for each image the try of the lowest residual; what the others cost is added.

    The penalty does not count, as in Compressed Sensing using Generative Models, Bora, Jalal, Price
    and Dimakis, 2017, https://arxiv.org/abs/1703.03208.
    """
    residuals = torch.stack([each.residual for each in tries])
    best = torch.where(residuals.isnan(), torch.inf, residuals).argmin(0)
    rows = torch.arange(len(best), device=best.device)

    def pick(name: str) -> Tensor:
        every = torch.stack([getattr(each, name) for each in tries])
        if name in COSTS:
            return every.sum(0)
        return every[best, :, rows].mT if name in TRACES else every[best, rows]

    return Recovery(**{field.name: pick(field.name) for field in fields(Recovery)})


def joined(parts: Sequence[Recovery]) -> Recovery:
    """Return the images of all parts as one."""

    def join(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], -1 if name in TRACES else 0)

    return Recovery(**{field.name: join(field.name) for field in fields(Recovery)})
