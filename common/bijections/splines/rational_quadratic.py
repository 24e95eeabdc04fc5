"""Monotone rational-quadratic splines."""

import torch
from torch import Tensor

from common.bijections.splines.knots import UNIT_SLOPE, bin_of, knots, pick, sizes, slopes
from common.bijections.splines.spline import Spline


def _cell(index: Tensor, across: Tensor, up: Tensor, d: Tensor) -> tuple[Tensor, ...]:
    return pick(
        index, across[..., :-1], across[..., 1:], up[..., :-1], up[..., 1:], d[..., :-1], d[..., 1:]
    )


def forward_in_bin(
    x: Tensor, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    """Return y and log dy/dx inside the bin [x0, x1] -> [y0, y1] with end slopes d0, d1."""
    width, height = x1 - x0, y1 - y0
    s = height / width
    t = ((x - x0) / width).clamp(0, 1)
    denominator, log_slope = _denominator_and_log_slope(t, s, d0, d1)
    rise = height * t * (s * t + d0 * (1 - t)) / denominator
    return y0 + rise, log_slope


def inverse_in_bin(
    y: Tensor, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    """Return x and log dx/dy inside the bin; the arguments are those of the forward direction."""
    width, height = x1 - x0, y1 - y0
    s = height / width
    r = ((y - y0) / height).clamp(0, 1)
    # The root in [0, 1] of a t^2 + b t = s r, where a = s - b.
    b = d0 - r * (d0 + d1 - 2 * s)
    tiny = torch.finfo(y.dtype).tiny
    root = (b * b + 4 * s * r * (s - b)).clamp(min=tiny).sqrt()
    both = b.abs() + root
    t = torch.where(b >= 0, 2 * s * r / both, both / (2 * (s + b.abs()))).clamp(0, 1)
    _, log_slope = _denominator_and_log_slope(t, s, d0, d1)
    return x0 + width * t, -log_slope


def _denominator_and_log_slope(
    t: Tensor, s: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    back = 1 - t
    u = t * back
    denominator = s * (1 - 2 * u) + (d0 + d1) * u
    numerator = d1 * t * t + 2 * s * u + d0 * back * back
    return denominator, numerator.log() + 2 * (s / denominator).log()


class RationalQuadratic(Spline):
    """Map by one ratio of two quadratics in each bin.

    Parameters of a scalar, in this order: K width logits, K height logits, then logits of the
    slopes at the K - 1 interior knots with tails or at all K + 1 knots without: 3 K - 1 or 3 K + 1
    numbers.

    Args and shapes: as for every spline.

    Source: Durkan, Bekasov, Murray, Papamakarios, "Neural Spline Flows", 2019,
    https://arxiv.org/abs/1906.04032, section 3.1. The root of the inverse is taken in whichever of
    its two forms adds two positive numbers, so that no argument can make it cancel.
    """

    inside = (forward_in_bin, inverse_in_bin)

    def __init__(
        self, bins: int = 8, bound: float = 3.0, tails: bool = True, logit_scale: float = 1.0
    ) -> None:
        super().__init__(bins, bound, tails, logit_scale)
        self.parameters = 3 * bins + (-1 if tails else 1)

    def identity(self) -> Tensor:
        zeros = torch.zeros(2 * self.bins)
        return torch.cat([zeros, zeros.new_full((self.parameters - 2 * self.bins,), UNIT_SLOPE)])

    def _tables(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return knots in x, knots in y and slopes, (..., K + 1) each."""
        K = self.bins
        across = knots(sizes(self.logit_scale * raw[..., :K]), self.lower, self.upper)
        up = knots(sizes(self.logit_scale * raw[..., K : 2 * K]), self.lower, self.upper)
        return across, up, slopes(raw[..., 2 * K :], self.tails)

    def _inside_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, d = self._tables(raw)
        return forward_in_bin(x, *_cell(bin_of(x, across), across, up, d))

    def _inside_inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, d = self._tables(raw)
        return inverse_in_bin(y, *_cell(bin_of(y, up), across, up, d))
