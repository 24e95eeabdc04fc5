"""Pixels as a flow is trained on them: fewer bits where that is wanted, and dequantised."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.datasets.dequantise import dequantise
from common.errors import UserError


def reduced_levels(levels: int, bits: int | None) -> int:
    """Return the number of pixel values after a reduction to `bits`, None for none.

    Raises:
        UserError: pixels of other than 8 bits cannot be reduced.
    """
    if bits is None:
        return levels
    if levels != 256:
        raise UserError(f"bits: reduces pixels of 256 values, this set has {levels}; leave it out")
    return int(2**bits)


@dataclass(frozen=True)
class Pixels:
    """Hold the images of one split on a device.

    Args:
        x: uint8 (N, C, H, W), values 0 to levels - 1.
        levels: number of values.
    """

    x: Tensor
    levels: int

    @classmethod
    def of(
        cls, x: Tensor, levels: int, bits: int | None, device: torch.device, most: int | None = None
    ) -> "Pixels":
        """Take images of a split, at most the first `most`, and drop their low bits."""
        kept = reduced_levels(levels, bits)
        return cls((x[:most] // (levels // kept)).to(device), kept)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor | slice, dtype: torch.dtype, noise: torch.Generator) -> Tensor:
        """Return the images at index (B,) with fresh noise, in [0, levels), (B, C, H, W)."""
        return dequantise(self.x[index].to(dtype), self.levels, noise)
