"""One spline of each kind, for the tests that all of them must pass."""

from collections.abc import Callable

import torch
from torch import Tensor

from common.bijections.splines import LinearRational, Quadratic, RationalQuadratic, Spline

Make = Callable[..., Spline]
KINDS: dict[str, Make] = {
    "linear rational": LinearRational,
    "rational quadratic": RationalQuadratic,
    "quadratic": Quadratic,
}


def draw(
    spline: Spline, n: int, spread: float = 1.0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Return x (n,), some of them outside the box with tails, and logits (n, parameters)."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(n, generator=generator, dtype=dtype)
    if spline.tails:
        share = 1.4 * share - 0.2
    raw = torch.randn(n, spline.parameters, generator=generator, dtype=dtype) * spread
    return spline.lower + (spline.upper - spline.lower) * share, raw
