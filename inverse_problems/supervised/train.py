"""Train a supervised invertible network, all seeds at once.

python -m inverse_problems.supervised.train --profile fast --task mixture_all

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from common.errors import UserError, command
from common.flows.bank import Stack
from common.training import checkpoint, config, weights
from common.training.curve import write_curve
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.guard import Diverged, Guard
from common.training.progress import Progress
from common.training.provenance import Meter, parameter_count, provenance
from common.training.run import Run, export, open_run
from common.training.seeding import generator
from inverse_problems.supervised.config import Train, Weights
from inverse_problems.supervised.data import PROBLEMS, VALID, Pairs
from inverse_problems.supervised.losses import draw, losses, total
from inverse_problems.supervised.model import Layout, build

EXPORTS = ("weights.pt", "curve.csv", "status.json", "cost.json")
COLUMNS = ("step", "lr", "train", "y", "z", "x", "rec", "likelihood")
# Streams of the seed, after those of the data.
NOISE, VALID_NOISE = 10, 11


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.supervised.train", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper")
    arguments.add_argument("--task", required=True, help="mixture_all, kinematics, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    cfg = load_task(args.profile, args.task)
    resolved = dataclasses.asdict(cfg)
    del resolved["scaled_down"]  # how it is called changes nothing
    name = f"inverse_problems-{args.profile}-supervised-{args.task}"
    # The pairs are drawn while it trains: seed and code stand for them.
    with open_run(args.runs, fingerprint(resolved, ""), resolved, name) as run:
        if not run.finished:
            train(run, cfg, pick_device(args.device))
        out = args.out / args.profile / "inverse_problems" / "supervised" / args.task
        export(run, out, {file: file for file in EXPORTS})


def load_task(profile: str, task: str) -> Train:
    """Return what the parameters say about a task.

    Raises:
        UserError: they do not know it, or its problem, or the network does not fit the problem.
    """
    section = config.section("inverse_problems", profile, "supervised", "train", task)
    cfg = config.load(section, Train)
    if cfg.problem not in PROBLEMS:
        known = ", ".join(sorted(PROBLEMS))
        raise UserError(
            f"{section.where}: problem is '{cfg.problem}', expected one of {known}; correct it"
        )
    try:
        layout_of(cfg)
    except ValueError as error:
        raise UserError(f"{section.where}: {error}; raise total") from None
    return cfg


def layout_of(cfg: Train) -> Layout:
    """Return where things stand in a task's network."""
    problem = PROBLEMS[cfg.problem]
    return Layout(problem.x, problem.y, cfg.z, cfg.total)


def train(run: Run, cfg: Train, device: torch.device) -> None:
    """Train to the end or to divergence, and leave the files of `EXPORTS` in the run."""
    dtype = getattr(torch, cfg.dtype)
    layout = layout_of(cfg)
    pairs = Pairs(PROBLEMS[cfg.problem], cfg.seeds, cfg.batch, cfg.points, cfg.seed)
    fixed = pairs.train(dtype)
    valid = [part.to(device) for part in pairs.split(VALID, cfg.valid_points, dtype)]
    stack = build(cfg.model, layout, cfg.seeds, cfg.seed).to(device, dtype)
    parameters = list(stack.parameters())
    options = cfg.optimiser
    meter = Meter(device)
    optimiser = torch.optim.Adam(
        parameters,
        lr=0.0,
        betas=options.betas,
        eps=options.eps,
        weight_decay=options.weight_decay,
        fused=True,
    )
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    start = 0
    curve: list[list[float]] = []
    if saved is not None:
        stack.load_tensors(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]
    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.iterations)
    sums = torch.zeros(cfg.seeds, device=device, dtype=torch.float64)
    since = 0
    status = "finished"
    try:
        for step in Progress(start, cfg.steps, run.name):
            lr, now = cfg.at(step)
            for group in optimiser.param_groups:
                group["lr"] = lr
            x, y = (part.to(device) for part in pairs.at(step, fixed, dtype))
            noise = generator(cfg.seed, NOISE, step, device=device)
            optimiser.zero_grad(set_to_none=True)
            batch = draw(cfg, layout, x, y, noise)
            loss = total(losses(stack, cfg, layout, now, batch, noise), now)
            loss.sum().backward()
            if options.clip is not None:
                torch.nn.utils.clip_grad_value_(parameters, options.clip)
            optimiser.step()
            guard.check(loss, step)  # not finite: keep the last good state and stop
            sums += loss.detach()
            since += 1
            epoch, rest = divmod(step + 1, cfg.iterations)
            if rest or (epoch % cfg.look_every and step + 1 < cfg.steps):
                continue

            for tensor in stack.tensors().values():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            scores = look(stack, cfg, layout, valid)
            row = [scores[name] for name in COLUMNS[3:]]
            curve.append([step + 1, lr, sums.mean().item() / since, *row])
            sums.zero_()
            since = 0
            log.add_scalar("train/loss", curve[-1][2], step + 1)
            for name, value in zip(COLUMNS[3:], row, strict=True):
                log.add_scalar(f"valid/{name}", value, step + 1)
            log.add_scalar("train/lr", lr, step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            if epoch % cfg.save_every == 0 or step + 1 == cfg.steps:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "model": stack.tensors(),
                        "optimiser": optimiser.state_dict(),
                        "meter": meter.state_dict(),
                        "curve": curve,
                    },
                    run.fingerprint,
                )
    except Diverged as error:
        print(f"{run.name}: {error}")
        status = "diverged"
    log.close()
    last = last_good(run, cfg, layout) if status == "diverged" else stack.tensors()
    weights.write_weights(run.folder / "weights.pt", last, {"models": cfg.seeds})
    write_curve(run.folder / "curve.csv", COLUMNS, curve)
    run.write_json(
        "cost.json",
        {
            **provenance(device),
            "fingerprint": run.fingerprint,
            **meter.state_dict(),
            "parameters_per_model": parameter_count(stack) // cfg.seeds,
            "models": cfg.seeds,
        },
    )
    run.finish(status, steps=cfg.steps, steps_run=int(curve[-1][0]) if curve else 0)


@torch.no_grad()
def look(stack: Stack, cfg: Train, layout: Layout, valid: list[Tensor]) -> dict[str, float]:
    """Return all losses on the validation pairs, unweighted, each the mean over the models.

    The noise is that of every look, so that two of them differ by what was learned between.
    """
    x, y = (part.expand(cfg.seeds, -1, -1) for part in valid)
    noise = generator(cfg.seed, VALID_NOISE, device=x.device)
    batch = draw(cfg, layout, x, y, noise)
    found = losses(stack, cfg, layout, Weights(1.0, 1.0, 1.0, 1.0, 1.0), batch, noise)
    return {name: loss.mean().item() for name, loss in found.items()}


def last_good(run: Run, cfg: Train, layout: Layout) -> dict[str, Tensor]:
    """Return what the last checkpoint holds, or the start where there is none."""
    saved = checkpoint.load(run.checkpoint, run.fingerprint)
    if saved is not None:
        return dict(saved["model"])
    return build(cfg.model, layout, cfg.seeds, cfg.seed).tensors()


if __name__ == "__main__":
    main()
