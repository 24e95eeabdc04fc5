"""Starts and norms of the latents, smoothness, landscapes, and the bound of the linear model."""

import math
from typing import Any

import torch
from torch import Tensor

from common.training.seeding import generator
from inverse_problems.experiments.compressed import sensing
from inverse_problems.experiments.config import Landscape, Norms, Smoothness, Starts
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.images import Gather
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.problems import noisy
from inverse_problems.experiments.scoring import as_bytes
from inverse_problems.experiments.solved import Weight
from inverse_problems.operators.base import LinearOperator

# The stream of the seed that draws directions.
DIRECTIONS = 11


def starts(cfg: Starts, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Recover images from several starts, for several weights of the penalty |z|.

    Returns:
        Metrics with a cell for each start and weight, and arrays `psnr`, `shown`, `truth_<set>`.
    """
    operator, y, x = sensing(cfg.seed, cfg.noise, cfg.ratio, context)
    gather = Gather(context)
    gather.truth(context.trained)
    for start in cfg.starts:
        for gamma in cfg.gammas:
            weight = Weight(gamma, "norm" if gamma else None)
            found = context.solved(
                f"{start}-{gamma:g}",
                x,
                operator,
                y,
                weight=weight,
                start=start,
                size=cfg.distance,
                image=x,
            )
            at = {"start": start, "gamma": gamma, "m": operator.m, "ratio": operator.m / operator.n}
            gather.add(at, found)
    return gather.result(cfg.images)


def norms(cfg: Norms, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Recover images from random directions of given norms, without a penalty.

    Returns:
        Metrics with a cell for each norm, whose `latent` is the norm of what was found, and
        `typical`, the root of the number of latents; arrays as above.
    """
    operator, y, x = sensing(cfg.seed, cfg.noise, cfg.ratio, context)
    prior = context.generative
    typical = math.sqrt(prior.latents)
    gather = Gather(context)
    gather.truth(context.trained)
    for share in cfg.norms:
        norm = share * typical
        found = context.solved(f"{share:g}", x, operator, y, start="norm", size=norm)
        found = {**found, "latent": found["latent"] * typical}
        gather.add({"norm": norm, "m": operator.m, "ratio": operator.m / operator.n}, found)
    metrics, arrays = gather.result(cfg.images)
    return {**metrics, "typical": typical}, arrays


@torch.no_grad()
def smoothness(cfg: Smoothness, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Measure how far images move when their latents do, and norms of latents of noisy images.

    Directions are towards the latents of another test image, or normal; published ones were
    uniform on [0, 1), so that all their entries were positive.

    Returns:
        Metrics with the slopes |dx| / |dz| at the full reach, `typical` and `sigmas`; arrays
        `distance` (T,), `moved_natural` and `moved_random` (B, T), `norms_0`, `norms_<sigma>` (B,).
    """
    prior = context.generative
    x = context.pictures(context.trained).x.to(context.device)
    z = prior.encode(x)
    base = prior.decode(z)
    random = torch.randn(z.shape, generator=generator(cfg.seed, DIRECTIONS)).to(z)
    distance = torch.linspace(0, cfg.reach, cfg.steps + 1, dtype=torch.float64)[1:]
    arrays: Arrays = {"distance": distance}
    metrics: dict[str, Any] = {"cells": [], "images": len(x), "seeds": 1}
    for kind, direction in (("natural", z.roll(1, 0) - z), ("random", random)):
        unit = direction / direction.norm(dim=1, keepdim=True)
        moved = [
            (prior.decode(z + step * unit) - base).flatten(1).norm(dim=1)
            for step in distance.tolist()
        ]
        arrays[f"moved_{kind}"] = torch.stack(moved, 1)
        slope = (moved[-1] / cfg.reach).double()
        metrics[f"slope_{kind}"] = {"mean": slope.mean().item(), "std": slope.std().item()}
    arrays["norms_0"] = z.norm(dim=1)
    for sigma in cfg.sigmas:
        arrays[f"norms_{sigma:g}"] = prior.encode(noisy(x, sigma, cfg.seed)).norm(dim=1)
    return {**metrics, "typical": math.sqrt(prior.latents), "sigmas": list(cfg.sigmas)}, arrays


def landscape(cfg: Landscape, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Evaluate |A G(z) - y|^2 of the first image on planes through its best known latents.

    Those are G^-1 of the truth for a bijection, else what the method finds.

    Returns:
        Metrics, and arrays `side_<kind>` (T,) and `surface_<kind>` (T, T) for `random` directions
        and, of a bijection, `natural` ones, towards the latents of two other images.
    """
    operator, y, x = sensing(cfg.seed, cfg.noise, cfg.ratio, context)
    prior = context.generative
    noise = torch.randn(2, prior.latents, generator=generator(cfg.seed, DIRECTIONS)).to(x)
    planes = {"random": noise}
    if prior.invertible:
        with torch.no_grad():
            z, first, second = prior.encode(x[:3])
        planes["natural"] = torch.stack((first - z, second - z))
    else:
        z = _found(context, operator, y[:1])
    arrays: Arrays = {"truth": as_bytes(x[:1])}
    side = torch.linspace(-cfg.reach, cfg.reach, cfg.cells, dtype=x.dtype, device=x.device)
    for kind, (a, b) in planes.items():
        values = []
        for t in side:
            with torch.no_grad():
                made = prior.decode(z + side[:, None] * a + t * b)
                values.append((operator(made) - y[:1]).flatten(1).square().sum(1))
        arrays[f"side_{kind}"], arrays[f"surface_{kind}"] = side, torch.stack(values).double()
    return {"cells": [], "images": 1, "seeds": 1}, arrays


def _found(context: Context, operator: LinearOperator, y: Tensor) -> Tensor:
    """Return the latents that the method finds for one image, (k,)."""
    found = context.parts.get("latents", lambda: {"z": context.solver(operator, y).latents()})
    return found["z"][0].to(context.device)
