"""What an experiment writes about each problem."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from common.metrics.psnr import mean_squared_error, psnr
from common.metrics.ssim import ssim
from torch import Tensor

from common.metrics.likelihood import mean_and_se
from inverse_problems.experiments.parts import Arrays

SHOWN = 12  # images kept to be looked at


def scores(x: Tensor, truth: Tensor) -> Arrays:
    """Return quality of each image, (B,) float64, and the first images as bytes."""
    return {
        "psnr": psnr(x, truth),
        "mse": mean_squared_error(x, truth),
        "ssim": ssim(x, truth),
        "shown": as_bytes(x[:SHOWN]),
    }


def as_bytes(x: Tensor) -> Tensor:
    """Return images in steps of 1/255, uint8; what is not finite is black."""
    return (255 * x.nan_to_num(0, 0, 0).clamp(0, 1)).round().to(torch.uint8).cpu()


def cell(at: Mapping[str, Any], draws: list[Arrays], **more: Any) -> dict[str, Any]:
    """Return the entry of one problem: means with errors over images and over draws.

    Args:
        at: coordinates of the problem.
        draws: what each draw of the measurements gave, per image (B,).
        more: anything else that belongs to the problem.
    """
    found: dict[str, Any] = {"at": dict(at), **more}
    for key in draws[0]:
        if key in ("shown", "failed"):
            continue
        values = torch.stack([draw[key].double() for draw in draws])
        found[key] = summary(values)
    found["failed"] = sum(int(draw["failed"].sum()) for draw in draws if "failed" in draw)
    found["images"], found["draws"] = len(draws[0]["psnr"]), len(draws)
    return found


def summary(values: Tensor) -> dict[str, float]:
    """Return the mean of values (S, B) and its standard errors over B images and S draws."""
    mean, se = mean_and_se(values.mean(0))
    over = mean_and_se(values.mean(1))[1] if len(values) > 1 else math.nan
    return {"mean": mean, "se": se, "se_seeds": over}
