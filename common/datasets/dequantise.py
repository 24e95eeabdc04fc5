"""Make integers continuous by noise, so that a density of them is a bound on their probability."""

import torch
from torch import Tensor


def dequantise(x: Tensor, levels: int | None, noise: torch.Generator) -> Tensor:
    """Add noise from U[0, 1) to integer values; continuous data (levels None) pass unchanged.

    Source: Theis, van den Oord, Bethge, "A note on the evaluation of generative models", 2016,
    https://arxiv.org/abs/1511.01844, section 3.1.
    """
    if levels is None:
        return x
    u = torch.rand(x.shape, generator=noise, device=x.device, dtype=x.dtype)
    # In float32 the sum with 255 may round up to 256, an event of density 0 under every model.
    return (x + u).clamp_(max=levels * (1 - torch.finfo(x.dtype).eps))
