"""Score trained networks on what every problem shares: observations, latents and intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.flows.bank import Stack
from common.metrics.mmd import mmd
from common.training.seeding import generator
from inverse_problems.supervised.config import Evaluate, Train
from inverse_problems.supervised.data import PROBLEMS, TEST, Pairs
from inverse_problems.supervised.model import Layout, chain_of
from inverse_problems.supervised.posterior import confidences, inliers, ranks, sample, widths

# Streams of the evaluation's seed.
PADDING, LATENTS, SAMPLES, POSTERIORS, REFERENCE, SECOND, PRIOR = range(7)
# Points whose latents are compared: a discrepancy takes the square of this.
LATENT_POINTS = 2000
# Observations whose samples are in memory at once.
OBSERVATIONS = 16


@dataclass(frozen=True, eq=False)
class Trained:
    """Hold trained networks and all that scoring them needs."""

    stack: Stack
    layout: Layout
    trained: Train
    cfg: Evaluate

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the weights."""
        dtype: torch.dtype = getattr(torch, self.trained.dtype)
        return dtype

    def noise(self, stream: int) -> torch.Generator:
        """Return the generator of a stream."""
        return generator(self.cfg.seed, stream)

    def test(self, n: int) -> tuple[Tensor, Tensor]:
        """Return the first n test pairs, which no training has seen."""
        pairs = Pairs(PROBLEMS[self.trained.problem], 1, 1, None, self.trained.seed)
        x, y = pairs.split(TEST, max(n, self.cfg.points), self.dtype)
        return x[:n], y[:n]

    def padded(self, x: Tensor) -> Tensor:
        """Return x (n, Dx) beside padding for all models, (K, n, total)."""
        shape = (len(x), self.layout.pad_x)
        pad = torch.randn(shape, generator=self.noise(PADDING), dtype=x.dtype)
        both = torch.cat((x, self.trained.noise.pad * pad), -1)
        return both.expand(self.stack.models, -1, -1)

    def samples(self, y: Tensor, n: int, stream: int) -> Tensor:
        """Return posterior samples (K, m, n, Dx) of observations (m, Dy)."""
        pad = self.trained.noise.pad
        return sample(self.stack, self.layout, y, n, pad, self.noise(stream))


def over_models(values: Tensor) -> dict[str, Any]:
    """Return mean and standard error of the values of K models (K,), and the values."""
    several = len(values) > 1
    se = (values.double().std() / len(values) ** 0.5).item() if several else None
    return {"mean": values.double().mean().item(), "se": se, "per_model": values.tolist()}


@torch.no_grad()
def outputs(model: Trained) -> tuple[Tensor, Tensor, Tensor]:
    """Return the true y (n, Dy), and z (K, n, Dz) and y (K, n, Dy) of the test points."""
    x, y = model.test(model.cfg.points)
    out = chain_of(model.stack).forward_and_logdet(model.padded(x))[0]
    z, _, guess = model.layout.parts(out)
    return y, z, guess


def score_latents(model: Trained, z: Tensor, metrics: dict[str, Any]) -> None:
    """Add the discrepancy of all latents to N(0, I), and that of N(0, I) to itself."""
    z = z[:, :LATENT_POINTS]
    noise = model.noise(LATENTS)
    normal = [torch.randn(z.shape[1:], generator=noise, dtype=z.dtype) for _ in range(2)]
    kernel = model.trained.kernel_z
    metrics["latents"] = {
        "mmd": over_models(mmd(z, normal[0].expand_as(z), kernel)),
        "floor": mmd(normal[0], normal[1], kernel).item(),
    }


def observed(model: Trained) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield x (m, Dx), y (m, Dy) and samples (K, m, n, Dx) of some observations at a time."""
    cfg, noise = model.cfg, model.noise(SAMPLES)
    x, y = model.test(cfg.observations)
    for own_x, own_y in zip(x.split(OBSERVATIONS), y.split(OBSERVATIONS), strict=True):
        pad = model.trained.noise.pad
        yield own_x, own_y, sample(model.stack, model.layout, own_y, cfg.samples, pad, noise)


def score_intervals(model: Trained, metrics: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Add calibration, widths of intervals and errors of re-simulation.

    The error of a sample is |f(x) - y|, f without noise; the score is the median over all samples
    of all observations. Arrays: `confidence` (100,) and `inliers` (K, 100).
    """
    simulate = PROBLEMS[model.trained.problem].simulate
    rank, width, errors = [], [], []
    for x, y, samples in observed(model):
        rank.append(ranks(samples, x))
        width.append(widths(samples))
        errors.append((simulate(samples) - y.unsqueeze(1)).square().sum(-1).sqrt())
    share = inliers(torch.cat(rank, 1))
    confidence = confidences()
    metrics["calibration_error"] = over_models((share - confidence).abs().median(-1).values)
    metrics["width_68"] = over_models(torch.cat(width, 1).flatten(1).median(-1).values)
    error = torch.cat(errors, 1).flatten(1)
    metrics["resimulation_error"] = over_models(error.median(-1).values)
    metrics["resimulation_error_mean"] = over_models(error.mean(-1))
    arrays["confidence"], arrays["inliers"] = confidence, share
