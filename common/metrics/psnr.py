"""How far images are from their originals: peak signal-to-noise ratio and squared error."""

import math

from torch import Tensor

from common.metrics.likelihood import mean_and_se


def mean_squared_error(x: Tensor, original: Tensor) -> Tensor:
    """Return the mean over the pixels of each image of the squared error, in float64.

    Args:
        x: images, clamped to [0, 1] first, as the output of a recovery is before it is judged.
        original: what they should be, in [0, 1]; the same shape.

    Shapes: (*batch, C, H, W) -> (*batch,).

    Raises:
        ValueError: the shapes differ, or an original leaves [0, 1].
    """
    if x.shape != original.shape or x.dim() < 3:
        raise ValueError(
            f"expected two batches (*batch, C, H, W) of one shape, got {tuple(x.shape)} and "
            f"{tuple(original.shape)}"
        )
    if original.numel() and not 0 <= float(original.min()) <= float(original.max()) <= 1:
        raise ValueError(
            f"expected originals in [0, 1], got values from {float(original.min()):g} to "
            f"{float(original.max()):g}"
        )
    error = x.double().clamp(0, 1) - original.double()
    return error.square().flatten(-3).mean(-1)


def psnr(x: Tensor, original: Tensor) -> Tensor:
    """Return 10 log10(1 / MSE) of each image in dB, float64, after clamping x to [0, 1].

    An image that is exactly its original has an infinite one, an image with a NaN has NaN.

    Shapes: (*batch, C, H, W) -> (*batch,).

    Raises:
        ValueError: the shapes differ, or an original leaves [0, 1].
    """
    return -10 * mean_squared_error(x, original).log10()


def mean_psnr(values: Tensor) -> tuple[float, float]:
    """Return the mean of PSNRs of images (N,) in dB and its standard error over the images.

    It is the mean of the images' PSNRs, as published, which is at least the PSNR of the mean MSE.
    One exact image makes it infinite, one NaN makes it NaN, and its standard error NaN: no image
    is left out.

    Raises:
        ValueError: there is no value, or more than one dimension.
    """
    return mean_and_se(values)


def decibels(value: float) -> float | str:
    """Return a PSNR as files and tables show it: `exact` where it is infinite, else the number.

    NaN becomes `not finite`, as everywhere.
    """
    if math.isnan(value) or value == -math.inf:
        return "not finite"
    return "exact" if value == math.inf else value
