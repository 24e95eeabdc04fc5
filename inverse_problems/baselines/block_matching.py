"""Denoising by BM3D, which belongs to others and is not part of this project."""

import importlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from inverse_problems.operators.base import LinearOperator
from inverse_problems.operators.identity import Identity

SMALLEST = 9  # pixels a side; the package ends the process at 8, the size of its blocks


@dataclass(frozen=True)
class BM3D:
    """Denoise by block matching and collaborative filtering, and clamp to [0, 1].

    The package `bm3d` does it; its licence is for non-commercial use only, so it is no dependency
    and nothing here needs it. Images of one channel, or of three, which it converts to luminance
    and chrominance.

    Source: Dabov, Foi, Katkovnik, Egiazarian, "Image denoising by sparse 3-D transform-domain
    collaborative filtering", 2007.

    Args:
        std: standard deviation of the noise of a pixel.
    """

    std: float

    def __call__(self, y: Tensor, operator: LinearOperator) -> Tensor:
        """Denoise images: y (B, C, H, W) -> (B, C, H, W), in the dtype of y.

        Raises:
            UserError: what `unavailable` says.
        """
        if reason := unavailable(operator):
            raise UserError(reason)
        package = importlib.import_module("bm3d")
        found = []
        for image in y.detach().double().cpu().numpy():
            if len(image) == 1:
                found.append(package.bm3d(image[0], self.std)[None])
            else:
                channels_last = np.ascontiguousarray(image.transpose(1, 2, 0))
                found.append(package.bm3d_rgb(channels_last, self.std).transpose(2, 0, 1))
        return torch.from_numpy(np.stack(found) if found else y.numpy()).to(y).clamp(0, 1)


def unavailable(operator: LinearOperator) -> str:
    """Return why BM3D cannot be run on what an operator measured, as one sentence, or ''.

    It is the reason of a row that was not run.
    """
    channels, height, width = operator.shape
    if not isinstance(operator, Identity):
        return f"BM3D removes noise only: expected the identity, got {type(operator).__name__}"
    if channels not in (1, 3) or min(height, width) < SMALLEST:
        return (
            f"BM3D takes images of one or three channels and at least {SMALLEST} pixels a side, "
            f"got {operator.shape}"
        )
    try:
        importlib.import_module("bm3d")
    except ImportError:
        return (
            "BM3D needs the package bm3d, which is for non-commercial use only and not installed: "
            "run `pip install bm3d` where that licence fits, or leave the row out"
        )
    return ""
