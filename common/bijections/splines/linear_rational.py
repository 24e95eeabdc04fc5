"""Monotone linear rational splines, which have an inverse of the same form."""

import torch
from torch import Tensor

from common.bijections.splines.knots import UNIT_SLOPE, bin_of, knots, pick, sizes, slopes
from common.bijections.splines.spline import Spline


def _cell(
    index: Tensor, across: Tensor, up: Tensor, middle: Tensor, d: Tensor
) -> tuple[Tensor, ...]:
    return pick(
        index,
        across[..., :-1],
        across[..., 1:],
        up[..., :-1],
        up[..., 1:],
        middle,
        d[..., :-1],
        d[..., 1:],
    )


def middle_point(logits: Tensor) -> Tensor:
    """Return lambda, in (0.025, 0.975)."""
    return 0.025 + 0.95 * torch.sigmoid(logits)


def forward_in_bin(
    x: Tensor,
    x0: Tensor,
    x1: Tensor,
    y0: Tensor,
    y1: Tensor,
    middle: Tensor,
    d0: Tensor,
    d1: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return y and log dy/dx inside the bin [x0, x1] -> [y0, y1] with end slopes d0, d1."""
    width, height = x1 - x0, y1 - y0
    s = height / width
    left = x - x0 <= middle * width
    length = torch.where(left, middle, 1 - middle)
    d = torch.where(left, d0, d1)
    u = (torch.where(left, x - x0, x1 - x) / (width * length)).clamp(0, 1)
    m = length * d + (1 - length) * torch.sqrt(d0 * d1)
    denominator = s * (1 - u) + m * u
    rise = height * length * d * u / denominator
    return torch.where(left, y0 + rise, y1 - rise), d.log() + 2 * (s / denominator).log()


def inverse_in_bin(
    y: Tensor,
    x0: Tensor,
    x1: Tensor,
    y0: Tensor,
    y1: Tensor,
    middle: Tensor,
    d0: Tensor,
    d1: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return x and log dx/dy inside the bin; the arguments are those of the forward direction."""
    width, height = x1 - x0, y1 - y0
    s = height / width
    g = torch.sqrt(d0 * d1)
    left = (y - y0) * (middle * d0 + (1 - middle) * g) <= height * middle * d0
    length = torch.where(left, middle, 1 - middle)
    d = torch.where(left, d0, d1)
    m = length * d + (1 - length) * g
    r = (torch.where(left, y - y0, y1 - y) / height).clamp(min=0)
    denominator = s * r + m * (length * d / m - r).clamp(min=0)
    run = width * length * (s * r / denominator)
    return torch.where(left, x0 + run, x1 - run), d.log() + 2 * (length / denominator).log()


class LinearRational(Spline):
    """Map by two linear rational pieces in each bin, joined with a common slope at a middle point.

    Parameters of a scalar, in this order: K width logits, K height logits, K logits of lambda (the
    place of the middle point, in (0.025, 0.975) of the bin), then logits of the slopes at the K - 1
    interior knots with tails or at all K + 1 knots without: 4 K - 1 or 4 K + 1 numbers.

    Written here in coordinates of half a bin. Let s be the mean slope of the bin, d0 and d1 its end
    slopes, g = sqrt(d0 d1); seen from its own end of the bin, a half has length l (lambda or
    1 - lambda, as a share of the bin's width), end slope d, and u in [0, 1] measures the way from
    its end to the middle point. With m = l d + (1 - l) g the published map is

        share of the bin's height = l d u / (s (1 - u) + m u),
        slope = d (s / (s (1 - u) + m u))^2,

    and in the inverse, for a share r of the height and f = l d / m at the middle point,

        u = s r / (s r + m (f - r)),   slope of the inverse = d (l / (s r + m (f - r)))^2.

    All terms are positive, so nothing cancels: in float32 no result leaves the box.

    Args and shapes: as for every spline.

    Source: Dolatabadi, Erfani, Leckie, "Invertible Generative Modeling using Linear Rational
    Splines", 2020, https://arxiv.org/abs/2001.05168.
    """

    inside = (forward_in_bin, inverse_in_bin)
    middle = True

    def __init__(
        self, bins: int = 8, bound: float = 3.0, tails: bool = True, logit_scale: float = 1.0
    ) -> None:
        super().__init__(bins, bound, tails, logit_scale)
        self.parameters = 4 * bins + (-1 if tails else 1)

    def identity(self) -> Tensor:
        zeros = torch.zeros(3 * self.bins)
        return torch.cat([zeros, zeros.new_full((self.parameters - 3 * self.bins,), UNIT_SLOPE)])

    def _tables(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return knots in x and in y (..., K + 1), lambda (..., K) and slopes (..., K + 1)."""
        K = self.bins
        across = knots(sizes(self.logit_scale * raw[..., :K]), self.lower, self.upper)
        up = knots(sizes(self.logit_scale * raw[..., K : 2 * K]), self.lower, self.upper)
        middle = middle_point(raw[..., 2 * K : 3 * K])
        return across, up, middle, slopes(raw[..., 3 * K :], self.tails)

    def _inside_forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, middle, d = self._tables(raw)
        return forward_in_bin(x, *_cell(bin_of(x, across), across, up, middle, d))

    def _inside_inverse(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        across, up, middle, d = self._tables(raw)
        return inverse_in_bin(y, *_cell(bin_of(y, up), across, up, middle, d))
