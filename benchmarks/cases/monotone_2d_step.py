"""A training step of monotone densities of the plane: all eight sets, times per set."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.monotone_case import (
    OurStep,
    TheirStep,
    comparison,
    configuration,
    published_nets,
    sources,
)
from benchmarks.published_monotone import PublishedDensity, density_step

GOAL_MS = 25.0


def comparisons(options: Options) -> list[Builder]:
    """Compare with the published algorithm, float32, at fresh and at trained weights."""
    return [partial(_step, options, path) for path in sources("toys", options)]


def _step(options: Options, path: Path | None) -> Comparison:
    ours = OurStep("toys", configuration("toys", path, options), path, options.device)

    def step(
        model: PublishedDensity, optimiser: torch.optim.Optimizer, x: Tensor, y: Tensor
    ) -> Tensor:
        return density_step(model, optimiser, x, ours.learns_shares)

    theirs = TheirStep(ours, published_densities(ours), step)
    return comparison(ours, theirs, path, options, GOAL_MS)


def published_densities(ours: OurStep) -> list[PublishedDensity]:
    """Return a published model with the weights of each of ours."""
    nets = ours.chain.nets
    return [PublishedDensity(published_nets(nets, k)) for k in range(ours.cfg.models)]
