"""Representation error, denoising and inpainting."""

from typing import Any

import torch
from torch import Tensor

from inverse_problems.experiments.config import Denoising, Inpainting, Representation
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.problems import noisy
from inverse_problems.experiments.scoring import as_bytes, cell, scores
from inverse_problems.experiments.solved import Weight, derived
from inverse_problems.operators.identity import Identity
from inverse_problems.operators.mask import Mask, centred_square


def representation(cfg: Representation, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Recover images that are measured whole and without noise.

    Returns:
        Metrics with a cell for each set, and arrays `psnr` (cells, 1, B), `shown`, `truth_<set>`.
    """
    gather = Gather(context)
    for name in cfg.sets:
        pictures = context.pictures(name)
        x = gather.truth(name)
        found = context.solved(name, x, Identity(pictures.shape), x)
        gather.add({"set": name}, found)
    return gather.result(cfg.images)


def denoising(cfg: Denoising, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Recover images from noisy ones, for every weight of every penalty.

    Returns:
        Metrics with a cell for each set, noise, penalty and weight (both None for a baseline) and
        `noisy`, the cells of the noisy images themselves; arrays as above with
        `noisy_<set>_<sigma>` (N, C, H, W).
    """
    gather = Gather(context)
    before = []
    for name in cfg.sets:
        pictures = context.pictures(name)
        x = gather.truth(name)
        for sigma in cfg.sigmas:
            y = noisy(x, sigma, cfg.seed)
            gather.arrays[f"noisy_{name}_{sigma:g}"] = as_bytes(y[: context.shown])
            at: dict[str, Any] = {"set": name, "sigma": sigma}
            before.append(cell(at, [scores(y, x)]))
            for weight in _weights(cfg, sigma, context):
                key = f"{name}-{sigma:g}-{weight.penalty}-{weight.gamma:g}"
                found = context.solved(
                    key, x, Identity(pictures.shape), y, weight=weight, sigma=sigma
                )
                gamma = None if weight.penalty is None else weight.gamma
                implied = weight == derived(sigma)
                gather.add(
                    {**at, "penalty": weight.penalty, "gamma": gamma}, found, derived=implied
                )
    metrics, arrays = gather.result(cfg.images)
    return {**metrics, "noisy": before}, arrays


def _weights(cfg: Denoising, sigma: float, context: Context) -> list[Weight]:
    if context.prior is None:
        return [Weight()]
    found = [Weight(g, penalty) for penalty, gammas in cfg.gammas.items() for g in gammas]
    if cfg.derived:
        found.append(derived(sigma))
    return sorted(dict.fromkeys(found), key=lambda w: (str(w.penalty), w.gamma))


def inpainting(cfg: Inpainting, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Fill a missing square, for every start and weight of the penalty |z|.

    Returns:
        Metrics with a cell for each set, start and weight (both None for a baseline), and arrays as
        above with `measured_<set>` (N, C, H, W).
    """
    gather = Gather(context)
    for name in cfg.sets:
        pictures = context.pictures(name)
        x = gather.truth(name)
        operator = Mask(pictures.shape, centred_square(*pictures.shape[1:], side=cfg.side))
        operator = operator.to(context.device)
        y = operator(x)
        gather.arrays[f"measured_{name}"] = as_bytes(y[: context.shown])
        starts = cfg.starts or (cfg.method.start,)
        problems = [(start, gamma) for start in starts for gamma in cfg.gammas]
        if context.prior is None:
            found = context.solved(name, x, operator, y)
            gather.add({"set": name, "start": None, "gamma": None}, found)
            continue
        for start, gamma in problems:
            weight = Weight(gamma, "norm" if gamma else None)
            found = context.solved(
                f"{name}-{start}-{gamma:g}", x, operator, y, weight=weight, start=start
            )
            gather.add({"set": name, "start": start, "gamma": gamma}, found)
    return gather.result(cfg.images)


class Gather:
    """Collect the cells of an experiment and their arrays in one order."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.cells: list[dict[str, Any]] = []
        self.psnr: list[Tensor] = []
        self.shown: list[Tensor] = []
        self.arrays: Arrays = {}

    def truth(self, name: str) -> Tensor:
        """Return the images of a set on the device, and keep the first to be shown."""
        x = self.context.pictures(name).x
        self.arrays[f"truth_{name}"] = as_bytes(x[: self.context.shown])
        return x.to(self.context.device)

    def add(self, at: dict[str, Any], found: Arrays, **more: Any) -> None:
        """Add one problem."""
        self.cells.append(cell(at, [found], **more))
        self.psnr.append(found["psnr"].unsqueeze(0))
        self.shown.append(found["shown"])

    def result(self, images: int) -> tuple[dict[str, Any], Arrays]:
        """Return metrics and arrays."""
        arrays = {**self.arrays, "psnr": torch.stack(self.psnr), "shown": torch.stack(self.shown)}
        return {"cells": self.cells, "images": images, "seeds": 1}, arrays
