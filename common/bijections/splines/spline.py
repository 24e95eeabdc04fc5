"""The box, the tails and the precision: what surrounds the inside of every spline."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from common.bijections.splines.backend import backend_for
from common.bijections.splines.flat import on_flat
from common.bijections.splines.plan import Plan


class Spline:
    """Map a scalar by a monotone spline on a box, whose parameters come with each call.

    With tails the box is [-bound, bound] and the map is the identity outside; where the slope at
    both ends is one, it is continuously differentiable on the whole line. Without tails the box is
    [0, 1], arguments outside are moved to its nearest end, and results never leave it.

    The spline itself is computed in float32 at least, also for half-precision arguments; values
    come back in the type of the argument, log slopes in the type of the computation. Nothing here
    depends on values on the host, so a CUDA graph can hold it.

    A subclass sets `parameters` and implements `_inside_forward`, `_inside_inverse`, `identity`.

    Args:
        bins: K, the number of bins, at least 2.
        bound: B, half the width of the box with tails.
        tails: identity outside the box.
        logit_scale: factor of the width and height logits alone; published code divides them by
            the root of the number of hidden units.

    Shapes: x and y (*shape); raw (*shape, parameters), any strides; log slopes (*shape).
    """

    parameters: int
    # The map inside a bin in either direction and whether it has a middle point, for the kernels.
    inside: tuple[Callable[..., tuple[Tensor, Tensor]], ...] | None = None
    middle: bool = False

    def __init__(
        self, bins: int = 8, bound: float = 3.0, tails: bool = True, logit_scale: float = 1.0
    ) -> None:
        if not 2 <= bins <= 500:
            raise ValueError(f"{type(self).__name__}: expected 2 to 500 bins, got {bins}")
        if not bound > 0:
            raise ValueError(f"{type(self).__name__}: expected a positive bound, got {bound}")
        self.bins = bins
        self.bound = float(bound)
        self.tails = tails
        self.logit_scale = float(logit_scale)
        self.lower, self.upper = (-self.bound, self.bound) if tails else (0.0, 1.0)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (*shape) and log dy/dx (*shape)."""
        v, numbers = self._prepare(x, raw)
        fast = self._by_kernel(v, numbers, inverse=False)
        if fast is not None:
            return fast[0].to(x.dtype), fast[1]
        inner = v.clamp(self.lower, self.upper)
        return self._finish(x, *self._inside_forward(inner, numbers))

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (*shape) and log dx/dy (*shape)."""
        v, numbers = self._prepare(y, raw)
        fast = self._by_kernel(v, numbers, inverse=True)
        if fast is not None:
            return fast[0].to(y.dtype), fast[1]
        inner = v.clamp(self.lower, self.upper)
        return self._finish(y, *self._inside_inverse(inner, numbers))

    def identity(self) -> Tensor:
        """Return numbers (parameters,) for which the map is the identity."""
        raise NotImplementedError

    def _inside_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _inside_inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _prepare(self, v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the argument and the numbers in the type of the work."""
        if raw.shape != (*v.shape, self.parameters):
            raise ValueError(
                f"{type(self).__name__}: expected {self.parameters} parameters for each of "
                f"{tuple(v.shape)} values, got raw {tuple(raw.shape)}"
            )
        work = torch.promote_types(torch.promote_types(v.dtype, raw.dtype), torch.float32)
        return v.to(work), raw.to(work)

    def _by_kernel(self, v: Tensor, raw: Tensor, inverse: bool) -> tuple[Tensor, Tensor] | None:
        """Return image and log slope from a fast kernel, or None where eager is to be used."""
        if self.inside is None:
            return None
        chosen = backend_for(v)
        if chosen == "eager":
            return None
        plan = Plan(
            bins=self.bins,
            lower=self.lower,
            upper=self.upper,
            tails=self.tails,
            scale=self.logit_scale,
            middle=self.middle,
            inverse=inverse,
            inside=self.inside[inverse],
        )
        # Only now: importing either starts its compiler.
        if chosen == "triton" and self.middle:
            from common.bijections.splines import fused as kernels
        else:
            from common.bijections.splines import compiled as kernels  # type: ignore[no-redef]
        return on_flat(partial(kernels.evaluate, plan), v, raw)

    def _finish(self, v: Tensor, image: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the image in the box, and take the identity for what lies outside."""
        image = image.clamp(self.lower, self.upper).to(v.dtype)
        if not self.tails:
            return image, log_slope
        inside = (v >= self.lower) & (v <= self.upper)
        return torch.where(inside, image, v), torch.where(inside, log_slope, 0.0)

    def __repr__(self) -> str:
        box = f"bound={self.bound:g}" if self.tails else "tails=False"
        return f"{type(self).__name__}(bins={self.bins}, {box}, logit_scale={self.logit_scale:g})"
