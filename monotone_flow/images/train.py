"""Train one flow of images.

python -m monotone_flow.images.train --profile fast --dataset digits --method monotone_cpila

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from common import datasets
from common.datasets.dataset import Dataset
from common.errors import command
from common.solvers import NotConverged
from common.training import checkpoint, config, weights
from common.training.batches import EpochBatches
from common.training.curve import write_curve
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, provenance
from common.training.run import Run, export, open_run
from common.training.seeding import generator
from common.training.select import Best
from monotone_flow.images.blocks import set_source
from monotone_flow.images.config import Train
from monotone_flow.images.estimators import Source
from monotone_flow.images.lipschitz import update_norms
from monotone_flow.images.model import ImageModel, build, count, nats_per_bit, set_all, start
from monotone_flow.images.nets import learn_concatenation
from monotone_flow.images.power_iteration import RelativeChange

EXPORTS = ("weights.pt", "best.pt", "curve.csv", "status.json", "cost.json")
# `seconds` are those spent on minibatches, looks and saves left out; `surrogate` has the gradient
# of the bits per dimension, and is not their value; `valid` are bits per dimension.
CURVE = ("step", "lr", "seconds", "surrogate", "valid")
# Streams of the seed.
TRAIN_NOISE, TRAIN_PROBES, TRAIN_LENGTHS, VALID_NOISE, VALID_PROBES, VALID_LENGTHS = range(6)
BETAS = (0.9, 0.99)  # as published


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(
        prog="python -m monotone_flow.images.train", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="digits, mnist, cifar10, imagenet64")
    arguments.add_argument("--method", required=True, help="monotone_cpila, residual_flow, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("monotone_flow", args.profile, "images", "train")
    cfg = config.load(section.at(args.dataset).at(args.method), Train)
    data = datasets.load(args.dataset, args.raw, seed=cfg.seed)
    model = build(cfg.model, data.shape, data.levels, cfg.seed)
    resolved = {"dataset": args.dataset, **dataclasses.asdict(cfg)}
    del resolved["model"]["scaled_down"]  # how it is called changes nothing
    name = f"monotone_flow-{args.profile}-{args.dataset}-{args.method}"
    with open_run(args.runs, fingerprint(resolved, data.digest), resolved, name) as run:
        if not run.finished:
            train(run, cfg, model, data, pick_device(args.device))
        out = args.out / args.profile / "monotone_flow" / args.dataset / args.method
        export(run, out, {file: file for file in EXPORTS})


def train(run: Run, cfg: Train, model: ImageModel, data: Dataset, device: torch.device) -> None:
    """Train to the end or to divergence, and leave the files of `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    unit = nats_per_bit(data.shape)
    items, valid = data.train.x.to(device), data.valid.x[: cfg.valid_items].to(device)
    batches = EpochBatches((len(items),), cfg.batch, cfg.seed, device)
    steps = cfg.last(batches.steps_per_epoch)
    model.to(device, dtype)
    averaged = build(cfg.model, data.shape, data.levels, cfg.seed).to(device, dtype)
    set_all(model, cfg.series)
    set_all(averaged, cfg.series)
    meter = Meter(device)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.0, betas=BETAS, fused=True)
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    best = Best(averaged.state_dict())
    first, seconds = 0, 0.0
    curve: list[list[float]] = []
    if saved is not None:
        model.load_state_dict(saved["model"])
        averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        first, seconds, curve = saved["step"], saved["seconds"], saved["curve"]
    log = run.tensorboard(purge_step=first)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros((), device=device, dtype=torch.float64)
    since, iterations = 0, 0
    status = "finished"
    stop = RelativeChange(cfg.tolerance)
    try:
        if saved is None:
            noise = generator(cfg.seed, TRAIN_NOISE, 0, device=device)
            start(model, minibatch(items, batches, cfg, 0, dtype, noise), noise)
            averaged.load_state_dict(model.state_dict())
            best = Best(averaged.state_dict())
        clock = time.monotonic()
        for step in Progress(first, steps, run.name):
            lr = cfg.rate(step)
            for group in optimiser.param_groups:
                group["lr"] = lr
            learn_concatenation(model, batches.epoch(step) >= cfg.learn_shares_from)
            model.train()
            noise = generator(cfg.seed, TRAIN_NOISE, step, device=device)
            pixels = minibatch(items, batches, cfg, step, dtype, noise)
            set_source(model, source(cfg.seed, TRAIN_PROBES, TRAIN_LENGTHS, step, device))
            if step % cfg.accumulation == 0:
                optimiser.zero_grad(set_to_none=True)
            # Its gradient is that of the bits per dimension, its value is not.
            surrogate = -model(pixels, noise).mean() / unit
            (surrogate / cfg.accumulation).backward()
            guard.check(surrogate, step)  # not finite: keep the last good state and stop
            total += surrogate.detach()
            since += 1
            if (step + 1) % cfg.accumulation:
                continue
            if cfg.optimiser.clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.optimiser.clip)
            optimiser.step()
            iterations = max(iterations, update_norms(model, stop))
            # The average begins with what the first step made.
            keep = cfg.optimiser.average if step + 1 > cfg.accumulation else 0.0
            follow(averaged, model, keep)
            if (step + 1) % cfg.eval_every and step + 1 != steps:
                continue

            for parameter in model.parameters():
                guard.check(parameter, step)  # no loss has seen what the last step did
            guard.raise_if_bad()  # waits for the device, so the time is that of the work
            seconds += time.monotonic() - clock
            for mine, theirs in zip(averaged.buffers(), model.buffers(), strict=True):
                mine.copy_(theirs)
            update_norms(averaged, stop)
            score = look(averaged, valid, cfg) / unit
            best.update(score, averaged.state_dict(), step + 1)
            curve.append([step + 1, lr, seconds, total.item() / since, score.item()])
            log.add_scalar("train/surrogate", curve[-1][3], step + 1)
            log.add_scalar("valid/bits_per_dim", curve[-1][4], step + 1)
            log.add_scalar("train/lr", lr, step + 1)
            log.add_scalar("train/power_iterations", iterations, step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            total.zero_()
            since, iterations = 0, 0
            if len(curve) % cfg.save_every == 0 or step + 1 == steps:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "seconds": seconds,
                        "model": dict(model.state_dict()),
                        "averaged": dict(averaged.state_dict()),
                        "optimiser": optimiser.state_dict(),
                        "best": best.state_dict(),
                        "meter": meter.state_dict(),
                        "curve": curve,
                    },
                    run.fingerprint,
                )
            clock = time.monotonic()
    except (Diverged, NotConverged) as error:
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()
    if status == "finished" and not math.isfinite(curve[-1][-1]):
        print(f"{run.name}: the score is not finite at the end; the best state is kept")
        status = "diverged"

    last = last_good(run, best) if status == "diverged" else dict(model.state_dict())
    weights.write_weights(run.folder / "weights.pt", last, {})
    weights.write_weights(run.folder / "best.pt", best.state, {})
    write_curve(run.folder / "curve.csv", CURVE, curve)
    run.write_json(
        "cost.json",
        {
            **provenance(device),
            "fingerprint": run.fingerprint,
            **meter.state_dict(),
            "training_seconds": seconds,
            "parameters_per_model": count(model),
            "models": 1,
        },
    )
    run.finish(
        status,
        steps=steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        best_step=max(int(best.step), 0),
        best_valid=float(best.score) if bool(best.score.isfinite()) else None,
    )


def minibatch(
    items: Tensor,
    batches: EpochBatches,
    cfg: Train,
    step: int,
    dtype: torch.dtype,
    noise: torch.Generator,
) -> Tensor:
    """Return the images of a step, mirrored at random where asked; (B, C, H, W)."""
    index, weight = batches.indices(step)
    # Without the padding all images weigh the same, which the saving of memory relies on.
    pixels = items[index[0][weight[0] > 0]].to(dtype)
    if not cfg.flip:
        return pixels
    mirrored = torch.rand(len(pixels), generator=noise, device=pixels.device) < 0.5
    return torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)


def source(seed: int, probes: int, lengths: int, place: int, device: torch.device | str) -> Source:
    """Return the random numbers of the log-determinants at a step or of a chunk."""
    return Source(generator(seed, probes, place, device=device), generator(seed, lengths, place))


@torch.no_grad()
def follow(averaged: ImageModel, model: ImageModel, keep: float) -> None:
    """Move the averaged parameters a share 1 - keep of the way to the model's."""
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - keep)


@torch.no_grad()
def look(averaged: ImageModel, valid: Tensor, cfg: Train) -> Tensor:
    """Return the mean negative bound on validation images in nats, a scalar in float64.

    All noise is the same at every call, so that steps are compared on equal terms.
    """
    averaged.eval()
    device, dtype = valid.device, getattr(torch, cfg.dtype)
    total = torch.zeros((), dtype=torch.float64, device=device)
    for chunk, part in enumerate(valid.split(cfg.chunk)):
        noise = generator(cfg.seed, VALID_NOISE, chunk, device=device)
        set_source(averaged, source(cfg.seed, VALID_PROBES, VALID_LENGTHS, chunk, device))
        total -= averaged(part.to(dtype), noise).double().sum()
    return total / len(valid)


def last_good(run: Run, best: Best) -> dict[str, Tensor]:
    """Return what the last checkpoint holds, or the best tensors so far where there is none."""
    saved = checkpoint.load(run.checkpoint, run.fingerprint, best.score.device)
    return best.state if saved is None else dict(saved["model"])


if __name__ == "__main__":
    main()
