"""A training step of the monotone fit of the staircase, panel d of the published figure."""

from functools import partial
from pathlib import Path

import torch

from benchmarks.comparison import Builder, Comparison, Options
from benchmarks.monotone_case import (
    OurStep,
    TheirStep,
    comparison,
    configuration,
    published_nets,
    sources,
)
from benchmarks.published_monotone import PublishedFit, fit_step
from monotone_flow.chain import OperatorChain

GOAL_MS = 120.0


def comparisons(options: Options) -> list[Builder]:
    """Compare with the published algorithm, float32, at fresh and at trained weights."""
    return [partial(_step, options, path) for path in sources("staircase", options)]


def _step(options: Options, path: Path | None) -> Comparison:
    ours = OurStep("staircase", configuration("staircase", path, options), path, options.device)
    theirs = TheirStep(ours, [published_fit(ours.chain)], fit_step)
    return comparison(ours, theirs, path, options, GOAL_MS)


@torch.no_grad()
def published_fit(chain: OperatorChain) -> PublishedFit:
    """Return the published model with the weights and scales of our first one."""
    fit = PublishedFit(published_nets(chain.nets, 0))
    for i, scale in enumerate(chain.scales):
        fit.log_scales[i].copy_(scale.log_scale[0])  # type: ignore[index]
        fit.shifts[i].copy_(scale.shift[0])  # type: ignore[index]
    return fit
