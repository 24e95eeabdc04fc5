"""Random vectors of mean 0 and covariance I."""

import torch
from torch import Tensor


def gaussian(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return n standard normal probes (n, *batch, *event) for an input like (*batch, *event)."""
    noise = torch.randn(
        _shape(n, like), generator=generator, device=generator.device, dtype=like.dtype
    )
    return noise.to(like.device, non_blocking=True)


def rademacher(n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return n probes of independent signs (n, *batch, *event) for an input (*batch, *event).

    The variance of v' J v is 2 |S|^2 for Gaussian probes, with S the symmetric part of J and |.|
    the Frobenius norm; for signs the diagonal of S does not count. So signs are never worse.
    """
    signs = torch.randint(
        0, 2, _shape(n, like), generator=generator, device=generator.device, dtype=like.dtype
    )
    return (2 * signs - 1).to(like.device, non_blocking=True)


def _shape(n: int, like: Tensor) -> tuple[int, ...]:
    if n < 1:
        raise ValueError(f"probes: expected at least one, got {n}")
    return (n, *like.shape)
