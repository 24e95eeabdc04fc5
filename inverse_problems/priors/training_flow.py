"""Train a flow by maximum likelihood."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from common.datasets.dataset import Dataset
from common.metrics.likelihood import bits_per_dim
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
from inverse_problems.priors.config_flow import TrainFlow
from inverse_problems.priors.flow import FlowPrior
from inverse_problems.priors.pixels import Pixels, reduced_levels
from inverse_problems.priors.rate import Rate
from inverse_problems.priors.stored import write_prior

Config = TrainFlow
CURVE = ("step", "lr", "train", "valid", "norm")
# Streams of the seed.
START, TRAIN_NOISE, VALID_NOISE = range(3)
CHUNK = 256  # images that are scored at once


def build(cfg: TrainFlow, shape: tuple[int, int, int], levels: int) -> FlowPrior:
    """Return an untrained flow; its start is a function of the seed.

    Args:
        cfg: which flow.
        shape: (C, H, W) of the images.
        levels: number of pixel values, before a reduction of bits.
    """
    model, values = cfg.model, reduced_levels(levels, cfg.bits)
    start = generator(cfg.seed, START)
    if model.kind == "glow":
        from inverse_problems.priors.glow import Architecture, glow

        architecture = Architecture(
            levels=model.levels,
            steps=model.steps,
            last_steps=model.last_steps or model.steps,
            width=model.width,
            coupling=model.coupling,
            bias=model.bias,
            mixing=model.mixing,
            split=model.split,
            std=model.std,
        )
        return FlowPrior(glow(shape, architecture, values, start), shape, values)
    # Imported only when asked for, so that an edit there leaves finished trainings of Glow valid.
    from inverse_problems.priors.spline import spline_flow

    flow = spline_flow(
        shape,
        kind=model.kind,
        levels=model.levels,
        steps=model.steps,
        width=model.width,
        blocks=model.blocks,
        bins=model.bins,
        bound=model.bound,
        values=values,
        generator=start,
    )
    return FlowPrior(flow, shape, values)


def train(run: Run, cfg: TrainFlow, data: Dataset, device: torch.device) -> None:
    """Train to the end or to divergence; losses are standard bits per dimension for `cfg.bits`."""
    with spline_backend(cfg):
        _train(run, cfg, data, device)


def spline_backend(cfg: TrainFlow) -> AbstractContextManager[object]:
    """Return a context in which splines are compiled where that is wanted and possible."""
    if not cfg.compiled or cfg.model.kind == "glow":
        return nullcontext()
    from common.bijections.splines.backend import use_backend

    return use_backend("auto")


def _train(run: Run, cfg: TrainFlow, data: Dataset, device: torch.device) -> None:
    dtype = getattr(torch, cfg.dtype)
    channels, height, width = data.shape
    levels = data.levels or 0
    prior = build(cfg, (channels, height, width), levels).to(device, dtype)
    items = Pixels.of(data.train.x, levels, cfg.bits, device)
    valid = Pixels.of(data.valid.x, levels, cfg.bits, device, cfg.valid_items)
    batches = EpochBatches((len(items),), cfg.batch, cfg.seed, device)
    optimiser = torch.optim.Adam(
        prior.parameters(),
        lr=torch.tensor(cfg.optimiser.lr, device=device) if device.type == "cuda" else 0.0,
        fused=True,
        capturable=device.type == "cuda",
    )
    meter, rate = Meter(device), Rate(cfg.optimiser, cfg.steps)
    best = Best(prior.state_dict())
    start, curve = 0, list[list[float]]()
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    if saved is not None:
        prior.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        best.load_state_dict(saved["best"])
        meter.load_state_dict(saved["meter"])
        rate.load_state_dict(saved["rate"])
        start, curve = saved["step"], saved["curve"]

    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros(2, device=device, dtype=dtype)
    status = "finished"

    def advance(x: Tensor, weight: Tensor) -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        bits = bits_per_dim(-prior.flow.log_prob(x), prior.n)
        loss = (bits * weight).sum() / weight.sum()
        loss.backward()
        norm = clip(prior, cfg.optimiser.clip_value, cfg.optimiser.clip_norm)
        optimiser.step()
        return torch.stack((loss.detach(), norm))

    take_step: Callable[[Tensor, Tensor], Tensor] = advance
    progress = Progress(start, cfg.last, run.name)
    try:
        for step in progress:
            set_rate(optimiser, rate.at(step))
            index, weight = (part[0] for part in batches.indices(step))
            x = items.take(index, dtype, generator(cfg.seed, TRAIN_NOISE, step, device=device))
            prior.train()
            if step == start + 1:  # the first step starts the norms from the data
                take_step = Captured(advance, (x, weight.to(dtype)), prior, optimiser, device)
            taken = take_step(x, weight.to(dtype))
            guard.check(taken, step)  # not finite: keep the last good state and stop
            total += taken
            if rate.wants_losses:
                rate.saw(taken[0].item())
            if (step + 1) % cfg.eval_every and step + 1 != cfg.last:
                continue

            # A look at the validation split.
            for tensor in prior.parameters():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            since = (step % cfg.eval_every) + 1
            found = score(prior, valid, cfg.seed)
            best.update(found, prior.state_dict(), step + 1)
            means = (total / since).tolist()
            curve.append([step + 1, rate.at(step), means[0], found.item(), means[1]])
            total.zero_()
            log.add_scalar("train/bits_per_dim", curve[-1][2], step + 1)
            log.add_scalar("valid/bits_per_dim", curve[-1][3], step + 1)
            log.add_scalar("train/gradient_norm", curve[-1][4], step + 1)
            log.add_scalar("train/lr", curve[-1][1], step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            progress.note(train=curve[-1][2], valid=curve[-1][3])
            if len(curve) % cfg.save_every == 0 or step + 1 == cfg.last:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "model": prior.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "best": best.state_dict(),
                        "meter": meter.state_dict(),
                        "rate": rate.state_dict(),
                        "curve": curve,
                    },
                    run.fingerprint,
                )
                log.flush()
    except Diverged as problem:
        print(f"{run.name}: {problem}")
        status = "diverged"
    log.close()
    if status == "finished" and curve and not math.isfinite(curve[-1][3]):
        print(f"{run.name}: the score is not finite at the end; the last good state is kept")
        status = "diverged"

    write_prior(run.folder / "weights.pt", best.state, data)
    write_curve(run.folder / "curve.csv", CURVE, curve)
    run.write_json(
        "cost.json",
        {
            **provenance(device),
            "fingerprint": run.fingerprint,
            **meter.state_dict(),
            "parameters": parameter_count(prior),
        },
    )
    run.finish(
        status,
        steps=cfg.steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        best_step=max(best.step.item(), 0),
        best_valid=best.score.item() if math.isfinite(best.score.item()) else None,
    )


def clip(model: nn.Module, value: float, norm: float) -> Tensor:
    """Clip the entries, then the norm of the gradient, and return the norm between the two."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    if value:
        nn.utils.clip_grad_value_(parameters, value)
    return nn.utils.clip_grad_norm_(parameters, norm or math.inf)


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate, in place where it is a tensor that a recorded step reads."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


@torch.no_grad()
def score(prior: FlowPrior, items: Pixels, seed: int) -> Tensor:
    """Return the mean bits per dimension, float64 ().

    The noise is the same at every call, so that steps are compared on equal terms.
    """
    prior.eval()
    device, dtype = items.x.device, next(prior.parameters()).dtype
    total = torch.zeros((), device=device, dtype=torch.float64)
    for first in range(0, len(items), CHUNK):
        noise = generator(seed, VALID_NOISE, first, device=device)
        x = items.take(slice(first, first + CHUNK), dtype, noise)
        total -= prior.flow.log_prob(x).double().sum()
    return bits_per_dim(total / len(items), prior.n)
