"""Train one method on one data set, all its seeds or folds at once.

python -m lrs_flow.train --profile fast --dataset wine --method lrs_c

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.errors import command
from common.flows.bank import Bank
from common.solvers import NotConverged
from common.training import checkpoint, config, weights
from common.training.batches import EpochBatches
from common.training.capture import Captured
from common.training.curve import write_curve
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, parameter_count, provenance
from common.training.run import Run, export, open_run
from common.training.schedule import cosine
from common.training.seeding import generator
from common.training.select import Best
from lrs_flow.config import Train
from lrs_flow.data import load_folds
from lrs_flow.items import Items
from lrs_flow.model import build, fit_gaussian, spline_backend

EXPORTS = ("weights.pt", "curve.csv", "status.json", "cost.json")
CURVE = ("step", "lr", "train", "valid")
# Streams of the seed.
TRAIN_NOISE, VALID_NOISE, DROPOUT, TRACE = range(4)
CHUNK = 1024  # items of each model that are scored at once


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(prog="python -m lrs_flow.train", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="rings, wine, bsds300, mnist, ...")
    arguments.add_argument("--method", required=True, help="lrs_c, rq_c, lrs_ar, ffjord, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("lrs_flow", args.profile, "train", args.dataset, args.method)
    cfg = config.load(section, Train)
    folds = load_folds(args.dataset, args.raw, cfg.models, cfg.seed)
    bank = make_bank(cfg, folds)
    resolved = {"dataset": args.dataset, **dataclasses.asdict(cfg)}
    # Where it pauses and how that is called changes nothing of what it does until there.
    del resolved["stop"], resolved["model"]["scaled_down"]
    digests = "".join(fold.digest for fold in folds)
    name = f"lrs_flow-{args.profile}-{args.dataset}-{args.method}"
    with open_run(args.runs, fingerprint(resolved, digests), resolved, name) as run:
        status = run.status
        if status is None or (status["status"] == "finished" and status["steps_run"] < cfg.last):
            device = pick_device(args.device)
            with spline_backend(cfg.model, cfg.compiled):
                train(run, cfg, bank.to(device, getattr(torch, cfg.dtype)), folds, device)
        out = args.out / args.profile / "lrs_flow" / args.dataset / args.method
        export(run, out, {file: file for file in EXPORTS})


def make_bank(cfg: Train, folds: Sequence[Dataset]) -> Bank:
    """Return the untrained models; their start is a function of the seed."""
    torch.manual_seed(cfg.seed)
    return build(cfg.model, folds[0].shape, folds[0].levels, cfg.models, cfg.seed)


def train(run: Run, cfg: Train, bank: Bank, folds: Sequence[Dataset], device: torch.device) -> None:
    """Train to the end or to divergence, and leave the files of `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    items = Items.of(folds, "train", cfg.models, device, dtype)
    valid = Items.of(folds, "valid", cfg.models, device, dtype, cfg.valid_items)
    batches = EpochBatches(items.sizes, cfg.batch, cfg.seed, device)
    unit = nats_per_unit(folds[0])
    meter = Meter(device)
    optimiser = torch.optim.AdamW(
        bank.parameters(),
        lr=torch.tensor(cfg.optimiser.lr, device=device) if device.type == "cuda" else 0.0,
        weight_decay=cfg.optimiser.weight_decay,
        fused=True,
        capturable=device.type == "cuda",
    )
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    best = Best(bank.tensors(), bank.models)
    start = 0
    curve: list[list[float]] = []
    if saved is not None:
        bank.load_tensors(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]
    elif cfg.model.kind == "gaussian":
        fit_gaussian(bank, items.x, items.mask(torch.arange(items.x.shape[1], device=device)))
        best.update(score(bank, valid, cfg, dtype) / unit, bank.tensors(), 0)

    if cfg.model.kind == "ffjord":
        from lrs_flow.ffjord import give_noise  # loads the solver, which no other method needs
    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros((), device=device, dtype=dtype)
    status = "finished"

    def advance(x: Tensor, weight: Tensor) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        losses = backward(bank, x, weight)
        if cfg.optimiser.clip:
            bank.clip(cfg.optimiser.clip)
        optimiser.step()
        return losses

    take_step: Callable[[Tensor, Tensor], Tensor] = advance
    try:
        for step in Progress(start, cfg.last, run.name):
            lr = cosine(step, cfg.steps, cfg.optimiser.lr, 0.0)
            set_rate(optimiser, lr)
            index, weight = batches.indices(step)
            weight = weight.to(dtype)
            noise = generator(cfg.seed, TRAIN_NOISE, step, device=device)
            x = items.take(index, dtype, noise)
            if cfg.flip:
                x = flip(x, noise)
            # Dropout draws from the global generator: a function of the step too.
            torch.manual_seed(generator(cfg.seed, DROPOUT, step).initial_seed())
            if cfg.model.kind == "ffjord":
                give_noise(bank, generator(cfg.seed, TRACE, step, device=device))
            bank.train()
            # Not the first step, in which some layers start from the data; nor with FFJORD, whose
            # solver asks the host.
            if step == start + 1 and cfg.model.kind != "ffjord":
                take_step = Captured(advance, (x, weight), bank, optimiser, device)
            losses = take_step(x, weight)
            guard.check(losses, step)  # not finite: keep the last good state and stop
            total += losses.mean() / unit
            if (step + 1) % cfg.eval_every and step + 1 != cfg.last:
                continue

            # A look at the validation split, the only place that waits for the device.
            for tensor in bank.tensors().values():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            since = (step % cfg.eval_every) + 1
            scores = score(bank, valid, cfg, dtype) / unit
            best.update(scores, bank.tensors(), step + 1)
            curve.append([step + 1, lr, total.item() / since, scores.mean().item()])
            total.zero_()
            log.add_scalar("train/nll", curve[-1][2], step + 1)
            log.add_scalar("valid/nll", curve[-1][3], step + 1)
            log.add_scalar("train/lr", lr, step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            if len(curve) % cfg.save_every == 0 or step + 1 == cfg.last:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "model": bank.tensors(),
                        "optimiser": optimiser.state_dict(),
                        "best": best.state_dict(),
                        "meter": meter.state_dict(),
                        "curve": curve,
                    },
                    run.fingerprint,
                )
    except (Diverged, NotConverged) as error:  # the latter of FFJORD's solver
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()
    if status == "finished" and curve and not math.isfinite(curve[-1][-1]):
        print(f"{run.name}: the score is not finite at the end; the last good state is kept")
        status = "diverged"

    weights.write_weights(run.folder / "weights.pt", best.state, {"models": bank.models})
    write_curve(run.folder / "curve.csv", CURVE, curve)
    run.write_json(
        "cost.json",
        {
            **provenance(device),
            "fingerprint": run.fingerprint,
            **meter.state_dict(),
            "parameters_per_model": parameter_count(bank) // bank.models,
            "models": bank.models,
        },
    )
    run.finish(
        status,
        steps=cfg.steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        best_step=[max(s, 0) for s in best.step.tolist()],
        best_valid=[s if math.isfinite(s) else None for s in best.score.tolist()],
    )


def flip(x: Tensor, noise: torch.Generator) -> Tensor:
    """Mirror each image of x (K, B, C, H, W) left to right with probability one half."""
    mirrored = torch.rand(x.shape[:2], generator=noise, device=x.device) < 0.5
    return torch.where(mirrored[..., None, None, None], x.flip(-1), x)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate, in place where it is a tensor that a recorded step reads."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def backward(bank: Bank, x: Tensor, weight: Tensor) -> Tensor:
    """Add the gradients of all models and return their mean losses (K,), in nats per item."""
    means = []
    for flow, items, models in bank.parts(x):
        w = weight[models]
        loss = -(flow.log_prob(items) * w).sum(-1) / w.sum(-1).clamp(min=1)
        loss.sum().backward()
        means.append(loss.detach().reshape(-1))
    return torch.cat(means)


@torch.no_grad()
def score(bank: Bank, items: Items, cfg: Train, dtype: torch.dtype) -> Tensor:
    """Return the mean negative log-likelihood of each model (K,) in nats.

    The noise is the same at every call, so that steps are compared on equal terms.
    """
    bank.eval()
    device = items.x.device
    total = torch.zeros(bank.models, device=device, dtype=torch.float64)
    positions = torch.arange(items.x.shape[1], device=device)
    for chunk, block in enumerate(positions.split(CHUNK)):
        noise = generator(cfg.seed, VALID_NOISE, chunk, device=device)
        x = items.take(block.expand(bank.models, -1), dtype, noise)
        total -= (bank.log_prob(x).double() * items.mask(block)).sum(-1)
    return total / torch.tensor(items.sizes, device=device)


def nats_per_unit(data: Dataset) -> float:
    """Return what divides nats per item: bits per dimension for images, nats for vectors."""
    return math.log(2) * math.prod(data.shape) if data.levels else 1.0


if __name__ == "__main__":
    main()
