"""Binary masks of couplings: ones stay and condition, zeros change.

`parity` 0 or 1 chooses which half stays, so couplings of alternating parity change every entry.
"""

import torch
from torch import Tensor


def checkerboard(shape: tuple[int, int, int], parity: int) -> Tensor:
    """Return a (C, H, W) mask of ones where row + column has the given parity."""
    _, height, width = shape
    odd = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    return (odd == parity % 2).float().expand(shape).clone()


def channel(shape: tuple[int, int, int], parity: int) -> Tensor:
    """Return a (C, H, W) mask of ones in the first (parity 0) or second half of the channels."""
    channels = shape[0]
    if channels % 2:
        raise ValueError(f"channel mask: expected an even number of channels, got {channels}")
    second = torch.arange(channels) >= channels // 2
    return (second == bool(parity % 2)).float()[:, None, None].expand(shape).clone()


def alternating(features: int, parity: int) -> Tensor:
    """Return a (D,) mask of ones at the positions of the given parity."""
    return (torch.arange(features) % 2 == parity % 2).float()
