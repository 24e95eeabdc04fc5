"""Monotone quadratic splines: the integral of a piecewise linear density."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from common.bijections.splines.backend import backend_for
from common.bijections.splines.flat import on_flat
from common.bijections.splines.knots import MIN_SIZE, bin_of, knots, pick, sizes
from common.bijections.splines.spline import Spline

Boundary = Literal["corrected", "published"]


class Quadratic(Spline):
    """Map by the integral of a density that is linear in each bin.

    Parameters of a scalar, in this order: K width logits, then logits of the density at the K - 1
    interior knots with tails or at all K + 1 knots without: 2 K - 1 or 2 K + 1 numbers. Densities
    are exponentials, divided by the area under them, and raised to at least 1e-3.

    Args:
        boundary: with tails, how the density at both ends is set. `corrected`: to the area, so that
            the slope at both ends is one. `published`: as in the code behind the published numbers,
            which halves the widths of the end bins twice; the slope jumps there (0.8815 for equal
            logits and eight bins). Has no effect without tails.

    Other arguments and shapes: as for every spline; `logit_scale` is the widths' here.

    Sources: Mueller, McWilliams, Rousselle, Gross, Novak, "Neural Importance Sampling", 2018,
    https://arxiv.org/abs/1808.03856, and, moved to [-B, B], Durkan, Bekasov, Murray, Papamakarios,
    "Neural Spline Flows", 2019, https://arxiv.org/abs/1906.04032.
    """

    def __init__(
        self,
        bins: int = 8,
        bound: float = 3.0,
        tails: bool = True,
        logit_scale: float = 1.0,
        boundary: Boundary = "corrected",
    ) -> None:
        super().__init__(bins, bound, tails, logit_scale)
        if boundary not in ("corrected", "published"):
            raise ValueError(f"Quadratic: expected corrected or published, got {boundary!r}")
        self.parameters = 2 * bins + (-1 if tails else 1)
        self.boundary = boundary

    def identity(self) -> Tensor:
        """Return numbers (parameters,) for which the map is the identity.

        Raises:
            ValueError: with the published boundary, whose slope at the ends is never that inside.
        """
        if self.tails and self.boundary == "published":
            raise ValueError(
                "Quadratic: no parameters give the identity with boundary='published'; "
                "use 'corrected'"
            )
        return torch.zeros(self.parameters)

    def _by_kernel(self, v: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, Tensor] | None:
        if backend_for(v) == "eager":
            return None
        # Only now: importing it starts the compiler.
        from common.bijections.splines import quadratic_kernel as kernels

        if self.bins > kernels.MOST_BINS:
            return None
        plan = kernels.QuadraticPlan(
            bins=self.bins,
            lower=self.lower,
            upper=self.upper,
            tails=self.tails,
            published=self.boundary == "published",
            scale=self.logit_scale,
            inverse=inverse,
        )
        return on_flat(partial(kernels.evaluate, plan), v, raw)

    def _tables(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return knots in x and in y and densities at the knots, (..., K + 1) each, on [0, 1]."""
        widths = sizes(self.logit_scale * raw[..., : self.bins])
        logits = raw[..., self.bins :]
        v = (logits - logits.detach().amax(-1, keepdim=True)).exp()
        if self.tails:
            v = self._with_ends(v, widths)
        pieces = (v[..., :-1] + v[..., 1:]) / 2 * widths
        area = pieces.sum(-1, keepdim=True)
        across = knots(widths, 0.0, 1.0)
        up = knots(MIN_SIZE * widths + (1 - MIN_SIZE) * pieces / area, 0.0, 1.0)
        return across, up, MIN_SIZE + (1 - MIN_SIZE) * v / area

    def _with_ends(self, v: Tensor, widths: Tensor) -> Tensor:
        """Add the densities at both ends to those at the interior knots (..., K - 1)."""
        first, last = widths[..., :1], widths[..., -1:]
        if self.boundary == "published":
            first, last = first / 2, last / 2
        middle = ((v[..., :-1] + v[..., 1:]) / 2 * widths[..., 1:-1]).sum(-1, keepdim=True)
        rest = first * v[..., :1] / 2 + last * v[..., -1:] / 2 + middle
        end = rest / (1 - first / 2 - last / 2)
        return torch.cat([end, v, end], -1)

    def _inside_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, h = self._tables(raw)
        v = self._to_unit(x)
        x0, x1, y0, h0, h1 = _cell(bin_of(v, across), across, up, h)
        width = x1 - x0
        t = ((v - x0) / width).clamp(0, 1)
        rise = width * t * (h0 + t * (h1 - h0) / 2)
        return self._from_unit(y0 + rise), (h0 * (1 - t) + h1 * t).log()

    def _inside_inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, h = self._tables(raw)
        v = self._to_unit(y)
        x0, x1, y0, h0, h1 = _cell(bin_of(v, up), across, up, h)
        width = x1 - x0
        area = ((v - y0) / width).clamp(min=0)
        # The root of (h1 - h0) / 2 t^2 + h0 t = area, in the form that divides by no difference.
        # Below the smaller density squared its argument is only rounding.
        least = torch.minimum(h0, h1).square()
        root = torch.maximum(h0 * h0 + 2 * (h1 - h0) * area, least).sqrt()
        t = (2 * area / (h0 + root)).clamp(0, 1)
        return self._from_unit(x0 + width * t), -(h0 * (1 - t) + h1 * t).log()

    def _to_unit(self, v: Tensor) -> Tensor:
        return (v - self.lower) / (self.upper - self.lower)

    def _from_unit(self, v: Tensor) -> Tensor:
        return self.lower + (self.upper - self.lower) * v

    def __repr__(self) -> str:
        return super().__repr__()[:-1] + f", boundary={self.boundary!r})"


def _cell(index: Tensor, across: Tensor, up: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    return pick(index, across[..., :-1], across[..., 1:], up[..., :-1], h[..., :-1], h[..., 1:])
