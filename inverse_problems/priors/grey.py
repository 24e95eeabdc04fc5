"""The grey values of stored pixels."""

import torch
from torch import Tensor


def grey(pixels: Tensor, levels: int, dtype: torch.dtype) -> Tensor:
    """Return integer pixels 0 ... levels - 1 (any shape) as values from 0 to 1, ends included."""
    return pixels.to(dtype) / (levels - 1)
