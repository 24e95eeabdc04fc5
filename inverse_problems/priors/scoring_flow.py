"""Measure a trained flow: likelihoods, typical latents, and its certificate."""

import math
from typing import Any, cast

import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.metrics.certificate import certificate, round_trip
from common.metrics.likelihood import bits_per_dim, mean_and_se_of_draws
from common.training.seeding import generator
from inverse_problems.config import Evaluate
from inverse_problems.priors.base import Prior
from inverse_problems.priors.config_flow import TrainFlow
from inverse_problems.priors.flow import FlowPrior
from inverse_problems.priors.pixels import Pixels

# Streams of the evaluation's seed.
SCORE, CERTIFY = range(2)
CHUNK = 256  # images that are scored at once


@torch.no_grad()
def score(
    prior: Prior, cfg: Evaluate, trained: TrainFlow, data: Dataset
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return likelihoods in bits per dimension, the norm of latents, and the certificate.

    `se` is the standard error over images, each averaged over `draws` of the dequantisation noise;
    `se_draws` that of the mean over draws, NaN for a single one. `test` holds the bits per
    dimension of each test image.
    """
    flow = cast(FlowPrior, prior)
    splits: dict[str, tuple[Split, int | None, int]] = {
        "test": (data.test, cfg.test_items, cfg.draws),
        "valid": (data.valid, trained.valid_items, 1),
        "train": (data.train, cfg.train_items, 1),
    }
    bits_of: dict[str, Any] = {"bits": math.log2(flow.levels)}
    found: dict[str, Any] = {"bits_per_dim": bits_of}
    arrays: dict[str, Tensor] = {}
    for name, (split, most, draws) in splits.items():
        items = _pixels(flow, split, trained, data, most)
        looks = [_look(flow, items, cfg.seed, draw) for draw in range(draws)]
        values = torch.stack([bits for bits, _ in looks])
        mean, se = mean_and_se_of_draws(values)
        bits_of[name] = {
            "mean": mean,
            "se": se,
            "se_draws": (values.mean(1).std() / math.sqrt(draws)).item() if draws > 1 else math.nan,
            "published_scale": published_scale(mean, flow.levels),
            "images": len(items),
            "draws": draws,
        }
        if name == "test":
            arrays["test"] = values.mean(0).float()
            norm = torch.stack([norms for _, norms in looks]) / math.sqrt(flow.n)
            found["latent_norm"] = {"mean": norm.mean().item(), "sd": norm.mean(0).std().item()}
    certified = _pixels(flow, data.test, trained, data, cfg.certified)
    x = certified.take(slice(None), torch.float64, _noise(flow, cfg.seed, CERTIFY, 0))
    if cfg.jacobians:
        with torch.enable_grad():  # the exact Jacobians are those of automatic differentiation
            found["certificate"] = certificate(
                flow.flow, x, jacobian_items=min(cfg.jacobians, len(x))
            )
    else:
        found["certificate"] = {
            "round_trip": round_trip(flow.flow.bijection, x),
            "logdet": {"items": 0},
        }
    return found, arrays


def published_scale(bits: float, levels: int) -> float:
    """Return what the published trainer reports: the bits of 256 levels however many there are.

    With 5-bit pixels, of 32 levels, that is 3 bits per dimension too many.
    """
    return bits + 8 - math.log2(levels)


def _pixels(
    prior: FlowPrior, split: Split, trained: TrainFlow, data: Dataset, most: int | None
) -> Pixels:
    device = next(prior.parameters()).device
    return Pixels.of(split.x, data.levels or 0, trained.bits, device, most)


def _look(prior: FlowPrior, items: Pixels, seed: int, draw: int) -> tuple[Tensor, Tensor]:
    """Return bits per dimension and the norm of the latents of each image, (N,) float64."""
    dtype = next(prior.parameters()).dtype
    nats, norms = [], []
    for first in range(0, len(items), CHUNK):
        noise = _noise(prior, seed, SCORE, draw, first)
        x = items.take(slice(first, first + CHUNK), dtype, noise)
        z, logdet = prior.flow.bijection.forward_and_logdet(x)
        nats.append(-(prior.flow.base.log_prob(z) + logdet).double())
        norms.append(z.double().flatten(1).norm(dim=1))
    # Where a flow gives no number it is infinite, so that no image is left out.
    bits = bits_per_dim(torch.cat(nats), prior.n)
    return bits.nan_to_num(nan=torch.inf).cpu(), torch.cat(norms).cpu()


def _noise(prior: FlowPrior, seed: int, *stream: int) -> torch.Generator:
    return generator(seed, *stream, device=next(prior.parameters()).device)
