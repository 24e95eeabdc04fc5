"""Draw a part of a labelled set class by class."""

import torch
from torch import Tensor


def stratified(y: Tensor, counts: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Choose counts[c] items of every class c at random; return the indices of (rest, chosen).

    Both are sorted, so that the items keep their order. The choice is a function of the labels,
    the counts and the seed.

    Args:
        y: labels (N,), int64, 0 to len(counts) - 1.
        counts: how many to choose of each class, int64.
        seed: of the generator.

    Raises:
        ValueError: a class holds fewer items than are to be chosen.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label, count in enumerate(counts.tolist()):
        members = (y == label).nonzero().squeeze(1)
        if not 0 <= count <= len(members):
            raise ValueError(
                f"class {label}: expected 0 to {len(members)} items to choose, got {count}"
            )
        order = torch.randperm(len(members), generator=generator)
        chosen[members[order[:count]]] = True
    return (~chosen).nonzero().squeeze(1), chosen.nonzero().squeeze(1)
