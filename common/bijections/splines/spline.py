"""The box, the tails and the precision: what surrounds the inside of every spline."""

import torch
from torch import Tensor


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
        return self._finish(x, *self._inside_forward(v, numbers))

    def inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return x (*shape) and log dx/dy (*shape)."""
        v, numbers = self._prepare(y, raw)
        return self._finish(y, *self._inside_inverse(v, numbers))

    def identity(self) -> Tensor:
        """Return numbers (parameters,) for which the map is the identity."""
        raise NotImplementedError

    def _inside_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _inside_inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _prepare(self, v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the argument, moved into the box, and the numbers, in the type of the work."""
        if raw.shape != (*v.shape, self.parameters):
            raise ValueError(
                f"{type(self).__name__}: expected {self.parameters} parameters for each of "
                f"{tuple(v.shape)} values, got raw {tuple(raw.shape)}"
            )
        work = torch.promote_types(torch.promote_types(v.dtype, raw.dtype), torch.float32)
        return v.to(work).clamp(self.lower, self.upper), raw.to(work)

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
