"""Train one model of the LU-Net comparison, all classes at once.

python -m lu_net.train --profile fast --dataset digits --method lu_net

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor

from common import datasets
from common.datasets.dataset import Dataset
from common.errors import command
from common.training import checkpoint, config, weights
from common.training.batches import EpochBatches
from common.training.curve import write_curve
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, parameter_count, provenance
from common.training.run import Run, export, open_run
from common.training.schedule import cosine, staircase
from common.training.select import Best
from lu_net import init
from lu_net.batches import FIT_NOISE, INIT_NOISE, SELECT_NOISE, TRAIN_NOISE, Items, noise
from lu_net.config import Optimiser, Train
from lu_net.model import Bank, Builder, Stack, builder
from lu_net.objective import objective

EXPORTS = ("weights.pt", "curve.csv", "status.json", "cost.json")
CURVE = ("epoch", "step", "lr", "train", "select")


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(prog="python -m lu_net.train", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="mixture, digits, mnist, ...")
    arguments.add_argument("--method", required=True, help="gaussian, lu_net, realnvp, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("lu_net", args.profile, "train", args.dataset, args.method)
    cfg = config.load(section, Train)
    build = builder(cfg.model)
    data = datasets.load(args.dataset, args.raw, cfg.valid_per_class, cfg.seed)
    resolved = {"dataset": args.dataset, **dataclasses.asdict(cfg)}
    name = f"lu_net-{args.profile}-{args.dataset}-{args.method}"
    with open_run(args.runs, fingerprint(resolved, data.digest), resolved, name) as run:
        if not run.finished:
            train(run, cfg, build, data, pick_device(args.device))
        out = args.out / args.profile / "lu_net" / args.dataset / args.method
        export(run, out, {file: file for file in EXPORTS})


def train(run: Run, cfg: Train, build: Builder, data: Dataset, device: torch.device) -> None:
    """Train to the end or to divergence, and leave the files of `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    items = Items.of(data, data.train, cfg.model.per_class, device)
    held_out = data.valid if cfg.select == "valid" else data.test
    select = Items.of(data, held_out, cfg.model.per_class, device) if len(held_out) else None
    torch.manual_seed(cfg.seed)
    bank = build(cfg.model, data.shape, data.levels, len(items.sizes)).to(device, dtype)
    batches = EpochBatches(items.sizes, cfg.batch, cfg.seed, device)
    steps = cfg.epochs * batches.steps_per_epoch
    optimiser = make_optimiser(bank, cfg.optimiser)
    unit = nats_per_unit(data)
    meter = Meter(device)
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    if saved is None:
        initialise(bank, cfg, items, batches, device, dtype)
        best = Best(bank.tensors(), bank.models)
        start, curve = 0, []
        if select is not None:
            best.update(score(bank, select, cfg, device, dtype) / unit, bank.tensors(), 0)
    else:
        bank.load_tensors(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        best = Best(bank.tensors(), bank.models)
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]

    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=batches.steps_per_epoch)
    total = torch.zeros((), device=device, dtype=dtype)
    status = "finished"
    try:
        for step in Progress(start, steps, run.name):
            epoch = batches.epoch(step)
            lr = learning_rate(cfg.optimiser, step, steps, epoch)
            for group in optimiser.param_groups:
                group["lr"] = lr
            index, weight = batches.indices(step)
            x = items.take(index, dtype, noise(device, cfg.seed, TRAIN_NOISE, step))
            bank.train()
            optimiser.zero_grad(set_to_none=True)
            losses = backward(bank, x, weight.to(dtype), cfg)
            guard.check(losses, step)  # not finite: keep the last good state and stop
            if cfg.optimiser.clip != "none":
                clip(bank, cfg.optimiser.clip)
            optimiser.step()
            total += losses.mean() / unit
            if (step + 1) % batches.steps_per_epoch:
                continue

            # The end of an epoch, the only place that waits for the device.
            for tensor in bank.tensors().values():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            epoch += 1
            row = [epoch, step + 1, lr, total.item() / batches.steps_per_epoch, math.nan]
            total.zero_()
            if select is not None and (epoch % cfg.eval_every == 0 or step + 1 == steps):
                scores = score(bank, select, cfg, device, dtype) / unit
                best.update(scores, bank.tensors(), step + 1)
                row[-1] = scores.mean().item()
                log.add_scalar(f"{cfg.select}/nll", row[-1], step + 1)
            if select is None:  # nothing to choose by: the last one is the best
                best.update(total.new_full((bank.models,), -step), bank.tensors(), step + 1)
            curve.append(row)
            log.add_scalar("train/loss", row[3], step + 1)
            log.add_scalar("train/lr", lr, step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            if epoch % cfg.save_every == 0 or step + 1 == steps:
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
    except Diverged as error:
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()
    if status == "finished" and select is not None and curve and not math.isfinite(curve[-1][-1]):
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
        epochs=cfg.epochs,
        epochs_run=curve[-1][0] if curve else 0,
        best_epoch=[max(s, 0) // batches.steps_per_epoch for s in best.step.tolist()],
    )


def backward(bank: Bank, x: Tensor, weight: Tensor, cfg: Train) -> Tensor:
    """Add the gradients of all models and return their mean losses (K,), in nats per item."""
    means = []
    for part, items, models in bank.parts(x):
        w = weight[models]
        losses = objective(part, items, cfg) * w
        count = w.sum(-1).clamp(min=1)
        if cfg.objective == "published":
            losses.sum().backward()  # the batch's sum, as published; it sets the clipping's scale
        else:
            (losses.sum(-1) / count).sum().div(x[0, 0].numel()).backward()
        means.append((losses.sum(-1) / count).detach().reshape(-1))
    return torch.cat(means)


def clip(bank: Bank, norm: str) -> None:
    """Scale each stacked model's gradient to a norm of at most 1."""
    order = 1 if norm == "l1" else 2
    gradients = [p.grad for p in bank.parameters() if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), order, dim=1) for g in gradients])
    factor = (1 / (torch.linalg.vector_norm(norms, order, dim=0) + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))


@torch.no_grad()
def score(bank: Bank, items: Items, cfg: Train, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the mean negative log-likelihood of each model (K,) in nats, always the correct one.

    The noise is the same at every call, so that epochs are compared on equal terms.
    """
    bank.eval()
    total = torch.zeros(len(items.sizes), device=device, dtype=torch.float64)
    positions = torch.arange(items.x.shape[1], device=device)
    for chunk, block in enumerate(positions.split(500)):
        index = block.expand(len(items.sizes), -1)
        x = items.take(index, dtype, noise(device, cfg.seed, SELECT_NOISE, chunk))
        total -= (bank.log_prob(x).double() * items.weights[:, block]).sum(-1)
    return total / items.weights.sum(-1)


def initialise(
    bank: Bank,
    cfg: Train,
    items: Items,
    batches: EpochBatches,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Set the starting point that the configuration names; RealNVP starts as the identity."""
    if not isinstance(bank, Stack) or cfg.model.init == "identity":
        return
    if cfg.model.init == "published":
        init.published(bank.flow, noise(torch.device("cpu"), cfg.seed, INIT_NOISE))
        return
    everything = torch.arange(items.x.shape[1], device=device).expand(bank.models, -1)

    def draw(index: Tensor, *stream: int) -> Tensor:
        return bank.preprocess(items.take(index, dtype, noise(device, cfg.seed, *stream)))

    with torch.no_grad():
        draws = [draw(everything, INIT_NOISE, i) for i in range(4)]
        mean, covariance = init.moments(draws, items.weights, cfg.model.shrinkage)
        init.whiten(bank.layers()[0], mean, covariance)
    if cfg.model.fit_steps and len(bank.layers()) > 1:
        # One epoch of batches ahead of training; noise of its own stream.
        init.fit_marginals(
            bank.flow,
            lambda step: draw(batches.indices(step)[0], FIT_NOISE, step),
            cfg.model.fit_steps,
        )


def make_optimiser(bank: Bank, cfg: Optimiser) -> torch.optim.Optimizer:
    """Return the optimiser over all models; its arithmetic is per number, so none sees another."""
    if cfg.name == "adam":
        return torch.optim.Adam(bank.parameters(), lr=cfg.lr, fused=True)
    return torch.optim.SGD(bank.parameters(), lr=cfg.lr, momentum=0.9)


def learning_rate(cfg: Optimiser, step: int, steps: int, epoch: int) -> float:
    """Return the rate of a step."""
    if cfg.schedule == "cosine":
        return cosine(step, steps, cfg.lr, cfg.lr_last, cfg.warmup)
    return staircase(epoch, cfg.lr, cfg.factor, cfg.every)


def nats_per_unit(data: Dataset) -> float:
    """Return what divides nats per item: bits per dimension for images, nats for vectors."""
    return math.log(2) * math.prod(data.shape) if data.levels else 1.0


if __name__ == "__main__":
    main()
