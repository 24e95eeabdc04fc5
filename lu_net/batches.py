"""Items of the K models, held on the device and dequantised there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.datasets.dequantise import dequantise
from common.training.seeding import generator

# Streams of the seed, so that no two uses share their noise.
TRAIN_NOISE, SELECT_NOISE, INIT_NOISE, FIT_NOISE = range(4)


@dataclass(frozen=True)
class Items:
    """Hold one split, sorted by model and padded to the longest.

    Args:
        x: (K, N, *event), uint8 for images.
        weights: (K, N), 1 for items and 0 for padding, which repeats a real item.
        sizes: n_k.
        levels: number of pixel values, or None for continuous data.
    """

    x: Tensor
    weights: Tensor
    sizes: tuple[int, ...]
    levels: int | None

    @classmethod
    def of(cls, data: Dataset, split: Split, per_class: bool, device: torch.device) -> "Items":
        """Sort a split by class, or keep it whole as the items of one model."""
        groups = [split.y == k for k in range(data.classes)] if per_class else [split.y == split.y]
        parts = [split.x[group] for group in groups]
        sizes = tuple(len(part) for part in parts)
        longest = max(sizes)
        index = [torch.arange(longest) % max(n, 1) for n in sizes]
        x = torch.stack([part[i] for part, i in zip(parts, index, strict=True)])
        weights = torch.stack([(torch.arange(longest) < n).float() for n in sizes])
        return cls(x.to(device), weights.to(device), sizes, data.levels)

    def take(self, index: Tensor, dtype: torch.dtype, noise: torch.Generator) -> Tensor:
        """Return the items at index (K, B) as (K, B, *event), with fresh noise if quantised."""
        models = torch.arange(len(self.x), device=self.x.device).unsqueeze(-1)
        return dequantise(self.x[models, index].to(dtype), self.levels, noise)


def noise(device: torch.device, seed: int, *counters: int) -> torch.Generator:
    """Return the generator of a stream at a step, on the device of the data."""
    return generator(seed, *counters, device=device)
