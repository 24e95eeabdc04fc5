"""Train one method on the staircase or on the plane densities, all sets and seeds at once.

python -m monotone_flow.train --profile fast --dataset toys --method monotone

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import torch
from torch import Tensor

from common.errors import command
from common.solvers import NotConverged
from common.training import checkpoint, config, weights
from common.training.curve import write_curve
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, parameter_count, provenance
from common.training.run import Run, export, open_run
from common.training.seeding import generator
from common.training.select import Best
from monotone_flow import native
from monotone_flow.config import Train
from monotone_flow.fused import fused
from monotone_flow.vectors import build, chain_of, kernel_sizes, look, make_task

EXPORTS = ("weights.pt", "best.pt", "curve.csv", "status.json", "cost.json")
# Streams of the seed.
TRAIN_POINTS, VALID_POINTS = range(2)


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(prog="python -m monotone_flow.train", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="staircase, toys")
    arguments.add_argument("--method", required=True, help="monotone, i_densenet, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("monotone_flow", args.profile, "train", args.dataset, args.method)
    cfg = config.load(section, Train)
    resolved = {"dataset": args.dataset, **dataclasses.asdict(cfg)}
    del resolved["model"]["scaled_down"]  # how it is called changes nothing
    name = f"monotone_flow-{args.profile}-{args.dataset}-{args.method}"
    # The points are drawn while it trains: seed and code stand for them, the kernel's code too.
    with open_run(args.runs, fingerprint(resolved, native.digest()), resolved, name) as run:
        if not run.finished:
            train(run, cfg, args.dataset, pick_device(args.device))
        out = args.out / args.profile / "monotone_flow" / args.dataset / args.method
        export(run, out, {file: file for file in EXPORTS})


def train(run: Run, cfg: Train, dataset: str, device: torch.device) -> None:
    """Train to the end or to divergence, and leave the files of `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    task = make_task(dataset, cfg)
    stack = build(cfg.model, 1 if dataset == "staircase" else 2, cfg.models, cfg.seed)
    stack.to(device, dtype)
    nets = chain_of(stack).nets
    meter = Meter(device)
    optimiser = torch.optim.Adam(
        stack.parameters(), lr=0.0, weight_decay=cfg.optimiser.weight_decay, fused=True
    )
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    best = Best(stack.tensors(), stack.models)
    start = 0
    curve: list[list[float]] = []
    if saved is not None:
        stack.load_tensors(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]
    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros(cfg.models, device=device, dtype=torch.float64)
    since = 0
    status = "finished"
    stack.train()
    try:
        with fused(kernel_sizes(cfg)):
            for step in Progress(start, cfg.steps, run.name):
                lr = cfg.rate(step)
                for group in optimiser.param_groups:
                    group["lr"] = lr
                x, y = task.batch(
                    cfg.batch, generator(cfg.seed, TRAIN_POINTS, step, device=device), dtype
                )
                optimiser.zero_grad(set_to_none=True)
                losses = task.losses(stack, x, y).mean(-1)
                losses.sum().backward()
                optimiser.step()
                if step < cfg.learn_shares_from:
                    nets.reset_shares()
                nets.power_iterate(cfg.norms.iterations, tol=cfg.norms.tol)
                guard.check(losses, step)  # not finite: keep the last good state and stop
                total += losses.detach()
                since += 1
                if not cfg.look_after(step + 1):
                    continue

                for tensor in stack.tensors().values():
                    guard.check(tensor, step)  # no loss has seen what the last step did
                guard.raise_if_bad()
                nets.power_iterate(cfg.norms.look)
                noise = generator(cfg.seed, VALID_POINTS, step + 1, device=device)
                scores = look(task, stack, cfg.eval_points, noise, dtype)
                guard.check(scores, step)
                guard.raise_if_bad()
                best.update(scores, stack.tensors(), step + 1)
                curve.append([step + 1, lr, total.mean().item() / since, *scores.tolist()])
                total.zero_()
                since = 0
                log.add_scalar(f"train/{task.unit}", curve[-1][2], step + 1)
                log.add_scalar(f"valid/{task.unit}", scores.mean().item(), step + 1)
                log.add_scalar("train/lr", lr, step + 1)
                log.add_scalar("train/lipschitz_bound", nets.bounds().max().item(), step + 1)
                log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
                if len(curve) % cfg.save_every == 0 or step + 1 == cfg.steps:
                    checkpoint.save(
                        run.checkpoint,
                        {
                            "step": step + 1,
                            "model": stack.tensors(),
                            "optimiser": optimiser.state_dict(),
                            "best": best.state_dict(),
                            "meter": meter.state_dict(),
                            "curve": curve,
                        },
                        run.fingerprint,
                    )
    except (Diverged, NotConverged) as error:
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()
    last = last_good(run, best) if status == "diverged" else stack.tensors()
    weights.write_weights(run.folder / "weights.pt", last, {"models": stack.models})
    weights.write_weights(run.folder / "best.pt", best.state, {"models": stack.models})
    write_curve(run.folder / "curve.csv", columns(cfg.models), curve)
    run.write_json(
        "cost.json",
        {
            **provenance(device),
            "fingerprint": run.fingerprint,
            **meter.state_dict(),
            "parameters_per_model": parameter_count(stack) // stack.models,
            "models": stack.models,
        },
    )
    run.finish(
        status,
        steps=cfg.steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        best_step=[max(s, 0) for s in best.step.tolist()],
        best_valid=[s if math.isfinite(s) else None for s in best.score.tolist()],
    )


def columns(models: int) -> tuple[str, ...]:
    """Return the names of the curve's columns; `valid_k` is model k's loss on fresh points."""
    return ("step", "lr", "train", *(f"valid_{k}" for k in range(models)))


def last_good(run: Run, best: Best) -> dict[str, Tensor]:
    """Return what the last checkpoint holds, or the best tensors so far where there is none."""
    saved = checkpoint.load(run.checkpoint, run.fingerprint, best.score.device)
    return best.state if saved is None else dict(saved["model"])


if __name__ == "__main__":
    main()
