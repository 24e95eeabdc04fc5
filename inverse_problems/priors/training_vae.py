"""Train a variational autoencoder by its evidence lower bound."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from common.datasets.dataset import Dataset
from common.training import checkpoint
from common.training.batches import EpochBatches
from common.training.capture import Captured
from common.training.curve import write_curve
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, parameter_count, provenance
from common.training.run import Run
from common.training.seeding import generator
from common.training.select import Best
from inverse_problems.config import STRICT, Training
from inverse_problems.priors.grey import grey
from inverse_problems.priors.observation import Bernoulli, DiscretisedLogistic
from inverse_problems.priors.stored import write_prior
from inverse_problems.priors.vae import Vae, conv_vae, dense_vae

CURVE = ("step", "train", "valid", "valid_kl")
# Streams of the seed.
TRAIN_NOISE, VALID_NOISE = range(2)
CHUNK = 1000  # images that are scored at once


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(Training):
    """Choose an autoencoder; the defaults are the one published for MNIST.

    Args:
        architecture: `dense`, fully connected, or `conv`, convolutional.
        pixels: `bernoulli`, the published cross-entropy, which is no likelihood of grey values, or
            `logistic`, the discretised logistic law, which is one.
        latents: k.
        hidden: dense: widths of the encoder's hidden layers.
        width: conv: channels at half the image's resolution.
        lr: learning rate of Adam, constant.
    """

    architecture: Literal["dense", "conv"] = "dense"
    pixels: Literal["bernoulli", "logistic"] = "bernoulli"
    latents: PositiveInt = 20
    hidden: tuple[PositiveInt, ...] = (500, 500)
    width: PositiveInt = 64
    lr: PositiveFloat = 1e-3


def build(cfg: Config, shape: tuple[int, int, int], levels: int) -> Vae:
    """Return an untrained autoencoder of images (C, H, W) whose pixels had `levels` values."""
    grey_law = cfg.pixels == "logistic"
    law = DiscretisedLogistic(levels, shape[0]) if grey_law else Bernoulli(levels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        if cfg.architecture == "dense":
            return dense_vae(shape, cfg.latents, cfg.hidden, pixels=law)
        return conv_vae(shape, cfg.latents, cfg.width, pixels=law)


def train(run: Run, cfg: Config, data: Dataset, device: torch.device) -> None:
    """Train to the end, to `cfg.last` or to divergence, and leave all `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    levels = data.levels or 2
    channels, height, width = data.shape
    vae = build(cfg, (channels, height, width), levels).to(device, dtype)
    images = data.train.x.to(device)
    valid = data.valid.x[: cfg.valid_items].to(device)
    batches = EpochBatches((len(images),), cfg.batch, cfg.seed, device)
    meter = Meter(device)
    cuda = device.type == "cuda"
    optimiser = torch.optim.Adam(vae.parameters(), lr=cfg.lr, fused=True, capturable=cuda)
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    best = Best(vae.state_dict())
    start = 0
    curve: list[list[float]] = []
    if saved is not None:
        vae.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]

    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros((), device=device, dtype=dtype)
    status = "finished"

    def advance(x: Tensor, weight: Tensor, noise: Tensor) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        # A batch may repeat an image with weight 0, so that all have one size.
        loss = -(vae.elbo(x, noise) * weight).sum() / weight.sum()
        loss.backward()
        optimiser.step()
        return loss.detach()

    take_step: Callable[..., Tensor] = advance
    vae.train()
    try:
        for step in Progress(start, cfg.last, run.name):
            (index,), (weight,) = batches.indices(step)
            x = grey(images[index], levels, dtype)
            source = generator(cfg.seed, TRAIN_NOISE, step, device=device)
            noise = torch.randn((len(x), cfg.latents), generator=source, device=device, dtype=dtype)
            inputs = (x, weight.to(dtype), noise)
            if step == start + 1:
                take_step = Captured(advance, inputs, vae, optimiser, device)
            loss = take_step(*inputs)
            guard.check(loss, step)  # not finite: keep the last good state and stop
            total += loss
            if (step + 1) % cfg.eval_every and step + 1 != cfg.last:
                continue

            # A look at the validation split, the only place that waits for the device.
            for tensor in vae.state_dict().values():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            bound, kl = validate(vae, valid, levels, cfg.seed)
            best.update(-bound, vae.state_dict(), step + 1)
            since = (step % cfg.eval_every) + 1
            curve.append([step + 1, total.item() / since, -bound.item(), kl.item()])
            total.zero_()
            log.add_scalar("train/loss", curve[-1][1], step + 1)
            log.add_scalar("valid/loss", curve[-1][2], step + 1)
            log.add_scalar("valid/kl", curve[-1][3], step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            if len(curve) % cfg.save_every == 0 or step + 1 == cfg.last:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "model": vae.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "best": best.state_dict(),
                        "meter": meter.state_dict(),
                        "curve": curve,
                    },
                    run.fingerprint,
                )
    except Diverged as error:
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()

    write_prior(run.folder / "weights.pt", best.state, data)
    write_curve(run.folder / "curve.csv", CURVE, curve)
    cost = {**provenance(device), "fingerprint": run.fingerprint, **meter.state_dict()}
    run.write_json("cost.json", {**cost, "parameters": parameter_count(vae)})
    run.finish(
        status,
        steps=cfg.steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        selection="best validation bound",
        best_step=max(int(best.step), 0),
        best_valid=best.score.item() if math.isfinite(best.score) else None,
    )


@torch.no_grad()
def validate(vae: Vae, images: Tensor, levels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the mean bound and the mean divergence of images (N, C, H, W), in nats, float64.

    The noise is the same at every call, so that steps are compared on equal terms.
    """
    device = images.device
    dtype = next(vae.parameters()).dtype
    bound = torch.zeros((), device=device, dtype=torch.float64)
    divergence = torch.zeros_like(bound)
    for chunk, block in enumerate(images.split(CHUNK)):
        source = generator(seed, VALID_NOISE, chunk, device=device)
        noise = torch.randn((len(block), vae.latents), generator=source, device=device, dtype=dtype)
        log_likelihood, kl = vae.bound_terms(grey(block, levels, dtype), noise)
        bound += (log_likelihood - kl).double().sum()
        divergence += kl.double().sum()
    return bound / len(images), divergence / len(images)
