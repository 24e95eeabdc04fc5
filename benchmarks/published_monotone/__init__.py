"""Monotone flows as they were published: the algorithm, written anew from its description.

Where the description leaves a choice, the faster one is taken, so that nothing is gained over a
careless copy; what it says to do is done, useless work included. Source: Ahn, Kim, Hong, Kim,
"Invertible Monotone Operators for Normalizing Flows", 2022, https://arxiv.org/abs/2210.08176, and
the code of its authors.
"""

from benchmarks.published_monotone.blocks import PublishedMonotone
from benchmarks.published_monotone.dense import PublishedDense, Weights, fresh_weights
from benchmarks.published_monotone.models import (
    PublishedDensity,
    PublishedFit,
    density_step,
    fit_step,
)

__all__ = [
    "PublishedDense",
    "PublishedDensity",
    "PublishedFit",
    "PublishedMonotone",
    "Weights",
    "density_step",
    "fit_step",
    "fresh_weights",
]
