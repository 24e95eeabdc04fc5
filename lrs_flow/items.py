"""The items of K models, held on the device and dequantised there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.datasets.dequantise import dequantise

SplitName = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Items:
    """Hold one split for K models.

    Args:
        x: (S, N, *event), uint8 for images; S is K where each model has data of its own, padded to
            the longest, or 1 where all share theirs.
        sizes: n_k, the items of each model.
        levels: number of pixel values, or None for continuous data.
    """

    x: Tensor
    sizes: tuple[int, ...]
    levels: int | None

    @classmethod
    def of(
        cls,
        folds: Sequence[Dataset],
        split: SplitName,
        models: int,
        device: torch.device,
        dtype: torch.dtype,
        most: int | None = None,
    ) -> "Items":
        """Take a split of each fold, or of one set for all models; at most `most` items of each."""
        parts = [getattr(fold, split).x[:most] for fold in folds]
        sizes = [len(part) for part in parts]
        longest = max(sizes)
        # Padding repeats items of the same model, so that it is always good input.
        padded = [p[torch.arange(longest) % max(n, 1)] for p, n in zip(parts, sizes, strict=True)]
        x = torch.stack(padded)
        x = x.to(device) if folds[0].levels else x.to(device, dtype)
        return cls(x, tuple(sizes * (models // len(sizes))), folds[0].levels)

    def take(self, index: Tensor, dtype: torch.dtype, noise: torch.Generator) -> Tensor:
        """Return the items at index (K, B) as (K, B, *event), with fresh noise if quantised."""
        own = torch.arange(len(self.x), device=self.x.device).unsqueeze(-1)
        return dequantise(self.x[own, index].to(dtype), self.levels, noise)

    def mask(self, index: Tensor) -> Tensor:
        """Return which entries of index (B,) are items of each model: bool (K, B)."""
        sizes = torch.tensor(self.sizes, device=index.device)
        return index < sizes.unsqueeze(-1)
