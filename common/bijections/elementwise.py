"""Transforms that act on each coordinate alone."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from common.bijections.base import Bijection
from common.solvers import NotConverged


class LeakySoftplus(Bijection):
    """Apply phi(x) = a x + (1 - a) ln(1 + e^x), whose slope a + (1 - a) sigmoid(x) lies in (a, 1).

    The inverse is found by Newton's method. phi is convex and increasing, so its inverse lies below
    each of its tangents: started on the lowest of four, the iterates fall to the root from any y.

    Args:
        slope: a, between 0 and 1; the slope at minus infinity.
        event_dims: number of trailing dimensions summed in the logdet.

    Shapes: x and z (*batch, *event); logdet (*batch,).
    Raises: NotConverged by the inverse, for input that is not finite.

    Source: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based on Matrix
    Factorization", 2023, https://arxiv.org/abs/2302.10524 (a = 0.1).
    """

    def __init__(self, slope: float = 0.1, event_dims: int = 1) -> None:
        super().__init__()
        if not 0 < slope < 1:
            raise ValueError(f"LeakySoftplus: expected a slope between 0 and 1, got {slope}")
        self.slope = slope
        self.event_dims = event_dims

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = _LeakySoftplus.apply(x, self.slope)
        return z, self.sum_event(log_slope)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self.inverse(z)
        return x, -self.sum_event(_slope(x, self.slope).log())

    def inverse(self, z: Tensor) -> Tensor:
        x: Tensor = _LeakySoftplusInverse.apply(z, self.slope)
        return x

    def extra_repr(self) -> str:
        return f"slope={self.slope}"


# Where the inverse is bounded by tangents, beside its two asymptotes: for a = 0.1 these leave the
# start at most 0.3 above the root.
TANGENTS = (-2.2, -0.1)
MOST_STEPS = 30


def _reach(dtype: torch.dtype) -> float:
    """Return the |x| beyond which phi is its asymptotes, to rounding."""
    return 40.0 if dtype == torch.float64 else 20.0


# In place on what autograd does not need; on images these functions cost as much as memory does.
def _value(x: Tensor, a: float) -> Tensor:
    return F.softplus(x, threshold=_reach(x.dtype)).mul_(1 - a).add_(x, alpha=a)


def _slope(x: Tensor, a: float) -> Tensor:
    return torch.sigmoid(x).mul(1 - a).add_(a)


class _LeakySoftplus(torch.autograd.Function):
    """Return phi(x) and ln phi'(x); one pass saves x only."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, a: float) -> tuple[Tensor, Tensor]:
        return _value(x, a), _slope(x, a).log_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, ...]) -> None:
        x, ctx.slope = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_log: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(x)
        slope = sigmoid.mul(1 - ctx.slope).add_(ctx.slope)
        bend = torch.addcmul(sigmoid, sigmoid, sigmoid, value=-1).div_(slope)
        return torch.addcmul(grad * slope, grad_log, bend, value=1 - ctx.slope), None


class _LeakySoftplusInverse(torch.autograd.Function):
    """Return phi^-1(y); its derivative is 1 / phi'(x) by the implicit function theorem."""

    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, a: float) -> Tensor:
        if y.numel() == 0:
            return y.clone()
        # Solved within reach, with the rest of the asymptote added afterwards: so e^x does not
        # overflow, and no power of it is subnormal, which would make log1p twenty times slower.
        # On a CPU new memory costs more than a pass; hence `out`.
        reach = _reach(y.dtype)
        rest = F.leaky_relu(y, 1 / a)
        t, move = torch.empty_like(rest), torch.empty_like(rest)
        infinite = torch.sub(rest, rest, out=t).sum()  # nan unless all are finite, then 0
        x = rest.clamp(-reach, reach)
        rest.sub_(x)
        target = y.clamp(-reach * a, reach).mul_(1 / (1 - a))
        for p in TANGENTS:
            slope = a + (1 - a) / (1 + math.exp(-p))
            value = a * p + (1 - a) * math.log1p(math.exp(p))
            torch.mul(target, (1 - a) / slope, out=t).add_(p - value / slope)
            torch.minimum(x, t, out=x)
        # A step from an error e leaves at most e^2 / 2, so a step this small reaches the rounding
        # floor: the third in float32, the fourth in float64.
        small = math.sqrt(torch.finfo(y.dtype).eps)
        for step in range(1, MOST_STEPS + 1):
            # All divided by 1 - a. With t = e^x, 1 / phi' = (1 + t) / (a + t).
            torch.exp(x, out=t)
            last = step > 2  # perhaps; the steps before need fewer digits, and log is faster
            logarithm = torch.log1p(t, out=move) if last else torch.add(t, 1, out=move).log_()
            move = logarithm.add_(x, alpha=a / (1 - a)).sub_(target)
            move.addcdiv_(move, t.add_(a), value=1 - a)
            x.sub_(move, alpha=1 - a)
            if last and bool((worst := move.abs_().amax() + infinite) <= small):
                return x.add_(rest)
        raise NotConverged(
            f"LeakySoftplus inverse: still moves by {worst.item():.1e} after {MOST_STEPS} "
            "Newton steps; expected finite input"
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.slope = inputs[1]
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grad / _slope(x, ctx.slope), None


class Rescale(Bijection):
    """Divide by a constant and shift, z = x / divisor + shift: the last step of dequantisation.

    Eight-bit values v plus noise u in [0, 1) lie in [0, 256); divisor 256 maps them to [0, 1), and
    a shift of -1/2 centres them.

    Shapes: x and z (*batch, *event); logdet (*batch,), minus event size times ln divisor.
    """

    def __init__(self, divisor: float, event_dims: int = 1, shift: float = 0.0) -> None:
        super().__init__()
        if divisor <= 0:
            raise ValueError(f"Rescale: expected a positive divisor, got {divisor}")
        self.divisor = float(divisor)
        self.shift = float(shift)
        self.event_dims = event_dims

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / self.divisor + self.shift, self._logdet(x, -1)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return (z - self.shift) * self.divisor, self._logdet(z, 1)

    def _logdet(self, x: Tensor, sign: int) -> Tensor:
        batch = x.shape[: x.dim() - self.event_dims]
        size = math.prod(x.shape[x.dim() - self.event_dims :])
        return x.new_full(batch, sign * size * math.log(self.divisor))

    def extra_repr(self) -> str:
        return f"divisor={self.divisor:g}, shift={self.shift:g}"


class Logit(Bijection):
    """Map [0, 1] to the real line: s = (1 - margin) x + margin / 2, z = ln s - ln(1 - s).

    Args:
        margin: width kept free at both ends together, so that 0 and 1 stay finite.
        event_dims: number of trailing dimensions summed in the logdet.

    Shapes: x and z (*batch, *event); logdet (*batch,), sum of ln(1 - margin) - ln s - ln(1 - s).
    Source: Papamakarios, Pavlakou, Murray, "Masked Autoregressive Flow for Density Estimation",
    2017, https://arxiv.org/abs/1705.07057, appendix on preprocessing.
    """

    def __init__(self, margin: float, event_dims: int = 1) -> None:
        super().__init__()
        if not 0 <= margin < 1:
            raise ValueError(f"Logit: expected a margin in [0, 1), got {margin}")
        self.margin = margin
        self.event_dims = event_dims

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_s = torch.log((1 - self.margin) * x + self.margin / 2)
        # Not from s: near 1 the difference 1 - s has lost the digits that 1 - x still has.
        log_complement = torch.log((1 - self.margin) * (1 - x) + self.margin / 2)
        jacobian = math.log1p(-self.margin) - log_s - log_complement
        return log_s - log_complement, self.sum_event(jacobian)

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        jacobian = F.logsigmoid(z) + F.logsigmoid(-z) - math.log1p(-self.margin)
        return self.inverse(z), self.sum_event(jacobian)

    def inverse(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z) - self.margin / 2) / (1 - self.margin)

    def extra_repr(self) -> str:
        return f"margin={self.margin:g}"
