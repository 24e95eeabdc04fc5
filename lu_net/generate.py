"""Samples, interpolations and densities of trained models, as arrays for the figures."""

from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.datasets.mixture import GaussianMixture
from common.solvers import NotConverged
from lu_net.batches import Items, noise
from lu_net.config import Train
from lu_net.latents import FittedGaussian
from lu_net.model import Bank
from lu_net.protocol import Evaluate

# Streams of the evaluation's seed; the first three are `lu_net.evaluate`'s.
LATENT, INTERPOLATE, POINTS = range(3, 6)


def generate(
    bank: Bank,
    trained: Train,
    cfg: Evaluate,
    test: Items,
    fitted: FittedGaussian,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add test images, samples and interpolations (K, n, *shape), uint8, to `arrays`.

    Samples come from N(0, I), which the model claims, and from the Gaussian fitted to the encoded
    training data, which the published figures used. Interpolations are straight lines in the
    latent space of class k's model, from the first test image of class k to that of the next class,
    or to the second image where one model has all classes.
    """
    device = next(bank.parameters()).device
    shape = tuple(test.x.shape[2:])
    dtype = getattr(torch, trained.dtype)
    size = int(torch.Size(shape).numel())
    generator = noise(device, cfg.seed, LATENT)
    white = torch.randn((bank.models, cfg.samples, size), generator=generator, device=device)
    index = torch.arange(1 if bank.models > 1 else 2, device=device).expand(bank.models, -1)
    images = test.take(index, dtype, noise(device, cfg.seed, INTERPOLATE))
    pairs = torch.cat([images, images.roll(-1, 0)], 1) if bank.models > 1 else images
    ends = bank.encode(pairs).flatten(2)
    weight = torch.linspace(0, 1, cfg.steps, device=device, dtype=dtype)[None, :, None]
    line = ends[:, :1] * (1 - weight) + ends[:, 1:] * weight
    arrays["test"] = test.x[:, : cfg.samples].cpu()
    failures: dict[str, str] = {}
    for name, z in (
        ("samples_standard", white.to(dtype)),
        ("samples_fitted", fitted.sample(white).to(dtype)),
        ("interpolation", line),
    ):
        arrays[name], failure = decode(bank, z.reshape(*z.shape[:2], *shape), test.levels or 0)
        if failure:
            failures[name] = failure
    metrics["decoding_failures"] = failures
    metrics["fitted_latents"] = {
        "mean_abs": fitted.mean.abs().mean().item(),
        "mean_variance": fitted.factor.square().sum(-1).mean().item(),
    }


def decode(bank: Bank, z: Tensor, levels: int) -> tuple[Tensor, str]:
    """Return pixel values 0 to levels - 1, uint8 (K, n, *shape), and what went wrong, if anything.

    Values that are not finite become 0, so that a broken inverse is seen as black, not hidden.
    """
    try:
        x = bank.decode(z)
    except NotConverged as error:
        return torch.zeros(z.shape, dtype=torch.uint8), str(error)
    pixels = x.nan_to_num(0, 0, 0).floor().clamp(0, levels - 1).to(torch.uint8).reshape(z.shape)
    return pixels.cpu(), not_finite(x)


def grid_density(
    bank: Bank,
    cfg: Evaluate,
    truth: GaussianMixture,
    data: Dataset,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add the flow's own log-density and the true one on a grid, and samples, for 2-D data.

    Samples that the inverse cannot find are NaN.
    """
    device = next(bank.parameters()).device
    dtype = next(bank.parameters()).dtype
    # The published axes.
    x = torch.linspace(-11.9, -0.1, 300, dtype=torch.float64)
    y = torch.linspace(-9.9, 5.9, 300, dtype=torch.float64)
    points = torch.cartesian_prod(x, y)
    own = bank.log_prob(points[None].to(device, dtype))[0].double().cpu()
    arrays |= {"grid_x": x, "grid_y": y, "data": data.test.x}
    arrays["log_density"] = own.view(len(x), len(y))
    arrays["true_log_density"] = truth.log_prob(points).view(len(x), len(y))
    generator = noise(device, cfg.seed, POINTS)
    z = torch.randn((1, 1000, 2), generator=generator, device=device, dtype=dtype)
    try:
        samples = bank.decode(z)[0].double().cpu()
        failure = not_finite(samples)
    except NotConverged as error:
        samples, failure = torch.full((1000, 2), torch.nan, dtype=torch.float64), str(error)
    arrays["samples"] = samples
    metrics["decoding_failures"] = {"samples": failure} if failure else {}


def not_finite(x: Tensor) -> str:
    """Say how many values are not finite; nothing if all are."""
    bad = x.numel() - int(x.isfinite().sum())
    return f"{bad} of {x.numel()} values are not finite" if bad else ""
