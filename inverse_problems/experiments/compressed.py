"""Compressed sensing by the number of measurements, in and out of distribution."""

from typing import Any

import torch

from inverse_problems.experiments.config import Compressed
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.problems import gaussian, measurements, sensed
from inverse_problems.experiments.scoring import as_bytes, cell
from inverse_problems.experiments.solved import derived
from inverse_problems.operators.base import LinearOperator


def compressed(cfg: Compressed, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Recover the same images from m measurements of each draw, for every m.

    Returns:
        Metrics with a cell for each set and m, and arrays: `psnr` (cells, S, B), `shown`
        (cells, N, C, H, W) of the first draw, `truth_<set>` (N, C, H, W).
    """
    cells, psnr, shown, arrays = [], [], [], {}
    for name in cfg.sets:
        x = context.pictures(name).x.to(context.device)
        n = x[0].numel()
        arrays[f"truth_{name}"] = as_bytes(x[: context.shown])
        for ratio in cfg.ratios:
            m = measurements(ratio, n)
            draws = []
            for draw in range(cfg.draws):
                operator = gaussian(x, m, cfg.seed, draw)
                y = sensed(operator, x, cfg.noise, cfg.seed, draw)
                key, sigma = f"{name}-{m}-{draw}", cfg.noise / m**0.5
                weight = derived(sigma) if cfg.derived else None
                draws.append(context.solved(key, x, operator, y, weight=weight, sigma=sigma))
            cells.append(cell({"set": name, "m": m, "ratio": m / n}, draws))
            psnr.append(torch.stack([found["psnr"] for found in draws]))
            shown.append(draws[0]["shown"])
    arrays |= {"psnr": torch.stack(psnr), "shown": torch.stack(shown)}
    return {"cells": cells, "images": cfg.images, "seeds": cfg.draws}, arrays


def sensing(
    seed: int, noise: float, ratio: float, context: Context
) -> tuple[LinearOperator, torch.Tensor, torch.Tensor]:
    """Return the first draw of Gaussian measurements of the trained set: A, y and the truth."""
    x = context.pictures(context.trained).x.to(context.device)
    m = measurements(ratio, x[0].numel())
    operator = gaussian(x, m, seed, 0)
    return operator, sensed(operator, x, noise, seed, 0), x
