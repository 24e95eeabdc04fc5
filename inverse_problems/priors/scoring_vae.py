"""Measure a trained autoencoder: bounds on the likelihood, and how well it reconstructs."""

from typing import Any, cast

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.metrics.likelihood import bits_per_dim, mean_and_se
from common.metrics.psnr import mean_psnr, psnr
from common.training.seeding import generator
from inverse_problems.config import Evaluate
from inverse_problems.priors.base import Prior
from inverse_problems.priors.grey import grey
from inverse_problems.priors.training_vae import Config
from inverse_problems.priors.vae import Vae

CHUNK = 250  # images that are scored at once
SHOWN = 16  # reconstructions that are kept
# Latents whose posterior mean varies over the images by more than this carry information.
ACTIVE = 0.01
SCORE = 0  # the stream of the evaluation's seed

NO_LIKELIHOOD = (
    "cross-entropy of grey values is no likelihood of the pixels: the bound compares models of "
    "this kind with each other only, and has no bits per dimension"
)


@torch.no_grad()
def score(
    prior: Prior, cfg: Evaluate, trained: Config, data: Dataset
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return bounds of the three splits in nats per image, and PSNRs of reconstructions in dB.

    The test images' bound is averaged over `draws` of the posterior, and `importance` is the
    importance-weighted bound of as many; `se` is the standard error over images. Bits per dimension
    are given where the law of the pixels is one (see `observation`), and are then directly a bound
    on the code length of the integer pixels, without dequantisation.

    `elbo`, `kl`, `importance` and `psnr` hold the values of each test image; `shown` and
    `reconstructed` the first of them, as values from 0 to 1.
    """
    vae = cast(Vae, prior)
    levels = data.levels or 2
    elbo, kl, importance = _bounds(vae, data.test.x[: cfg.test_items], levels, cfg.draws, cfg.seed)
    found: dict[str, Any] = {
        "is_likelihood": vae.pixels.is_likelihood,
        "draws": cfg.draws,
        "test": _summary(vae, elbo),
        "importance": _summary(vae, importance),
        "kl": _summary(vae, kl, code=False),
    }
    for name, split, most in (
        ("valid", data.valid, trained.valid_items),
        ("train", data.train, cfg.train_items),
    ):
        found[name] = _summary(vae, _bounds(vae, split.x[:most], levels, 1, cfg.seed)[0])
    if not vae.pixels.is_likelihood:
        found["note"] = NO_LIKELIHOOD

    like = next(vae.parameters())
    x = grey(data.test.x[: cfg.test_items].to(like.device), levels, like.dtype)
    images = torch.cat([vae.reconstruct(block) for block in x.split(CHUNK)])
    means = torch.cat([vae.posterior(block)[0] for block in x.split(CHUNK)])
    quality = psnr(images, x)
    mean, se = mean_psnr(quality)
    active = int((means.double().var(0) > ACTIVE).sum()) if len(means) > 1 else 0
    arrays = {
        "elbo": elbo.float(),
        "kl": kl.float(),
        "importance": importance.float(),
        "psnr": quality.float(),
        "shown": x[:SHOWN].float(),
        "reconstructed": images[:SHOWN].float(),
    }
    return {
        "bound": found,
        "reconstruction": {"psnr": mean, "se": se, "images": len(x)},
        "active_latents": active,
    }, arrays


def _bounds(
    vae: Vae, pixels: Tensor, levels: int, draws: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return bound, divergence and importance-weighted bound of each image (N,), float64 nats."""
    like = next(vae.parameters())
    parts = []
    for chunk, block in enumerate(pixels.split(CHUNK)):
        x = grey(block.to(like.device), levels, like.dtype)
        source = generator(seed, SCORE, chunk, device=like.device)
        shape = (draws, len(x), vae.latents)
        noise = torch.randn(shape, generator=source, device=like.device, dtype=like.dtype)
        terms = [vae.bound_terms(x, one) for one in noise]
        elbo = torch.stack([likelihood.double() - kl for likelihood, kl in terms]).mean(0)
        parts.append(torch.stack([elbo, terms[0][1].double(), vae.importance_bound(x, noise)]))
    elbo, kl, importance = torch.cat(parts, -1)
    return elbo, kl, importance


def _summary(vae: Vae, nats: Tensor, code: bool = True) -> dict[str, Any]:
    """Return mean and standard error; `code` says whether minus the value is a code length."""
    mean, se = mean_and_se(nats)
    found = {"nats": mean, "se": se, "images": len(nats)}
    if code and vae.pixels.is_likelihood:
        bits, bits_se = bits_per_dim(torch.tensor([-mean, se], dtype=torch.float64), vae.n).tolist()
        found |= {"bits_per_dim": bits, "bits_per_dim_se": bits_se}
    return found
