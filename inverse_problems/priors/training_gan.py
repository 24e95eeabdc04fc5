"""Train a DCGAN: the discriminator and the generator take a step each, in turn."""

from collections.abc import Callable

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

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
from inverse_problems.config import STRICT, Training
from inverse_problems.priors.dcgan import Dcgan
from inverse_problems.priors.grey import grey
from inverse_problems.priors.stored import write_prior

CURVE = ("step", "discriminator", "generator", "valid_mse")
# Streams of the seed.
LATENTS, REPRESENT = range(2)
# Of the search for a validation image in the range of G, which starts near z = 0.
START, RATE = 0.1, 0.1


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Config(Training):
    """Choose a DCGAN; the defaults are the published ones.

    Args:
        latents: k.
        width: channels at half the image's resolution, of both networks.
        lr: learning rate of Adam, constant, for both.
        beta1: Adam's decay of the mean gradient.
        represent_steps: steps of Adam on z by which a look measures how near the range of G comes
            to validation images; 0 for no such look.
    """

    latents: PositiveInt = 100
    width: PositiveInt = 64
    lr: PositiveFloat = 2e-4
    beta1: float = Field(default=0.5, ge=0, lt=1)
    represent_steps: NonNegativeInt = 50


def build(cfg: Config, shape: tuple[int, int, int], levels: int) -> Dcgan:
    """Return an untrained DCGAN of images (C, H, W); it has no use for the number of levels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.seed)
        return Dcgan(shape, cfg.latents, cfg.width)


def train(run: Run, cfg: Config, data: Dataset, device: torch.device) -> None:
    """Train to the end, to `cfg.last` or to divergence, and leave all `EXPORTS` in the run.

    There is no likelihood to select by, and neither loss measures quality: the last weights are
    exported. `valid_mse` of the curve says how the representation error went.
    """
    dtype = getattr(torch, cfg.dtype)
    levels = data.levels or 2
    channels, height, width = data.shape
    gan = build(cfg, (channels, height, width), levels).to(device, dtype)
    images = data.train.x.to(device)
    valid = grey(data.valid.x[: cfg.valid_items].to(device), levels, dtype)
    batches = EpochBatches((len(images),), cfg.batch, cfg.seed, device)
    meter = Meter(device)
    # One for both: Adam keeps its moments by parameter, and leaves alone what has no gradient.
    optimiser = torch.optim.Adam(
        gan.parameters(),
        lr=cfg.lr,
        betas=(cfg.beta1, 0.999),
        fused=True,
        capturable=device.type == "cuda",
    )
    saved = checkpoint.load(run.checkpoint, run.fingerprint, device)
    start = 0
    curve: list[list[float]] = []
    if saved is not None:
        gan.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        meter.load_state_dict(saved["meter"])
        start, curve = saved["step"], saved["curve"]
    last_good = {name: tensor.clone() for name, tensor in gan.state_dict().items()}

    log = run.tensorboard(purge_step=start)
    guard = Guard(device, every=cfg.eval_every)
    total = torch.zeros(2, device=device, dtype=dtype)
    status = "finished"

    def advance(x: Tensor, z: Tensor) -> Tensor:
        return adversarial_step(gan, optimiser, x, z)

    take_step: Callable[..., Tensor] = advance
    gan.train()
    try:
        for step in Progress(start, cfg.last, run.name):
            # The weights are left out: an image may come twice in a batch, so that all have one
            # size; batch normalisation knows no weights.
            (index,), _ = batches.indices(step)
            source = generator(cfg.seed, LATENTS, step, device=device)
            z = torch.randn((len(index), cfg.latents), generator=source, device=device, dtype=dtype)
            inputs = (grey(images[index], levels, dtype), z)
            if step == start + 1:
                take_step = Captured(advance, inputs, gan, optimiser, device)
            losses = take_step(*inputs)
            guard.check(losses, step)  # not finite: keep the last good state and stop
            total += losses
            if (step + 1) % cfg.eval_every and step + 1 != cfg.last:
                continue

            # A look at the validation split, the only place that waits for the device.
            for tensor in gan.state_dict().values():
                guard.check(tensor, step)  # no loss has seen what the last step did
            guard.raise_if_bad()
            for name, tensor in gan.state_dict().items():
                last_good[name].copy_(tensor)
            error = represent(gan, valid, cfg.represent_steps, cfg.seed)
            gan.train()
            since = (step % cfg.eval_every) + 1
            curve.append([step + 1, *(total / since).tolist(), error])
            total.zero_()
            log.add_scalar("train/discriminator", curve[-1][1], step + 1)
            log.add_scalar("train/generator", curve[-1][2], step + 1)
            if cfg.represent_steps:
                log.add_scalar("valid/mse", error, step + 1)
            log.add_scalar("time/seconds", meter.state_dict()["wall_seconds"], step + 1)
            if len(curve) % cfg.save_every == 0 or step + 1 == cfg.last:
                checkpoint.save(
                    run.checkpoint,
                    {
                        "step": step + 1,
                        "model": gan.state_dict(),
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

    write_prior(run.folder / "weights.pt", last_good, data)
    write_curve(run.folder / "curve.csv", CURVE, curve)
    cost = {**provenance(device), "fingerprint": run.fingerprint, **meter.state_dict()}
    cost["parameters"] = parameter_count(gan.generator)
    cost["discriminator_parameters"] = parameter_count(gan.discriminator)
    run.write_json("cost.json", cost)
    run.finish(
        status,
        steps=cfg.steps,
        steps_run=int(curve[-1][0]) if curve else 0,
        selection="last weights: a GAN has no likelihood to select by",
    )


def adversarial_step(gan: Dcgan, optimiser: torch.optim.Optimizer, x: Tensor, z: Tensor) -> Tensor:
    """Let the discriminator step, then the generator; return the two losses (2,) from before.

    Cross-entropy of "from the data", summed over both batches for the discriminator, which sees
    them one after the other: batch normalisation must not mix them. The generator minimises that of
    being taken for data, with the discriminator that has just stepped.

    Args:
        gan: both networks, in training mode.
        optimiser: Adam over the parameters of both.
        x: images of the data (B, C, H, W).
        z: latents (B, k), the same for both steps.
    """
    judge = gan.discriminator
    generated = gan.decode(z)
    optimiser.zero_grad(set_to_none=True)
    # -log sigmoid(t) is softplus(-t), and -log(1 - sigmoid(t)) is softplus(t).
    caught = F.softplus(-judge(x)).mean() + F.softplus(judge(generated.detach())).mean()
    caught.backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    fooled = F.softplus(-judge(generated)).mean()
    fooled.backward(inputs=list(gan.generator.parameters()))
    optimiser.step()
    return torch.stack([caught.detach(), fooled.detach()])


def represent(gan: Dcgan, x: Tensor, steps: int, seed: int) -> float:
    """Return the mean squared error per pixel of x (N, C, H, W) after a few steps of Adam on z.

    A bound from above on the representation error of these images, and comparable only between
    looks of the same number of steps; NaN for no steps. Leaves the network in evaluation mode.
    """
    gan.eval()
    if not steps or not len(x):
        return float("nan")
    source = generator(seed, REPRESENT, device=x.device)
    z = torch.randn((len(x), gan.latents), generator=source, device=x.device, dtype=x.dtype)
    z = (START * z).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=RATE)
    for _ in range(steps):
        (z.grad,) = torch.autograd.grad((gan.decode(z) - x).square().sum(), z)
        optimiser.step()
    with torch.no_grad():
        return float((gan.decode(z) - x).square().mean())
