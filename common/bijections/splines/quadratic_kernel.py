"""The quadratic spline as one pass over the scalars, made by torch.compile.

All bins are written out and every step acts on all scalars alike, parameters first in memory, as in
the other kernels. Here the area couples all bins, so the backward pass is derived from the map.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.bijections.splines.knots import MIN_SIZE

# Written out, more bins than this take too long to compile.
MOST_BINS = 16


@dataclass(frozen=True)
class QuadraticPlan:
    """Fix all that is known before the numbers come.

    Args:
        bins: K, at most `MOST_BINS`.
        lower: lower end of the box.
        upper: upper end of the box.
        tails: identity outside the box.
        published: take the published density at the ends.
        scale: of the width logits.
        inverse: map back.
    """

    bins: int
    lower: float
    upper: float
    tails: bool
    published: bool
    scale: float
    inverse: bool


def evaluate(plan: QuadraticPlan, v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and log slope, (N,) each, of v (N,) with raw (P, N); differentiable once."""
    image, log_slope = _Kernel.apply(v, raw, plan)
    return image, log_slope


class _Kernel(torch.autograd.Function):
    """Keep the arguments only; the backward pass goes through the map again, in its own kernel."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, raw: Tensor, plan: QuadraticPlan) -> tuple[Tensor, Tensor]:
        ctx.plan = plan
        ctx.save_for_backward(v, raw)
        out: tuple[Tensor, Tensor] = _compiled(_map, plan)(v.detach(), raw.detach())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_log: Tensor) -> tuple[Tensor, Tensor, None]:
        # Leaves: the compiler looks at the gradients that its arguments have.
        v, raw = (tensor.detach() for tensor in ctx.saved_tensors)
        run = _compiled(_pull_back, ctx.plan)
        grad_v, grad_raw = run(v, raw, grad.contiguous(), grad_log.contiguous())
        return grad_v, grad_raw, None


@functools.cache
def _compiled(function: Callable[..., Any], plan: QuadraticPlan) -> Callable[..., Any]:
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    options: dict[str, Any] = {"max_fusion_size": 100_000}
    run = functools.partial(function, plan)
    return torch.compile(run, dynamic=True, fullgraph=True, options=options)


def _map(plan: QuadraticPlan, v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    low, high = plan.lower, plan.upper
    unit = (v.clamp(low, high) - low) / (high - low)
    widths, across, up, h = _tables(raw, plan.bins, plan.tails, plan.published, plan.scale)
    x0, y0, width, h0, h1 = _cell(unit, across, up, widths, h, plan.inverse)
    if plan.inverse:
        area = ((unit - y0) / width).clamp(min=0)
        least = torch.minimum(h0, h1).square()
        root = torch.maximum(h0 * h0 + 2 * (h1 - h0) * area, least).sqrt()
        t = (2 * area / (h0 + root)).clamp(0, 1)
        image, sign = x0 + width * t, -1.0
    else:
        t = ((unit - x0) / width).clamp(0, 1)
        image, sign = y0 + width * t * (h0 + t * (h1 - h0) / 2), 1.0
    image = (low + (high - low) * image).clamp(low, high)
    log_slope = sign * (h0 * (1 - t) + h1 * t).log()
    if plan.tails:
        within = (v >= low) & (v <= high)
        image = torch.where(within, image, v)
        log_slope = torch.where(within, log_slope, 0.0)
    return image, log_slope


def _pull_back(
    plan: QuadraticPlan, v: Tensor, raw: Tensor, grad: Tensor, grad_log: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of v (N,) and raw (P, N), given those of image and log slope."""
    pull = torch.func.vjp(functools.partial(_map, plan), v, raw)[1]
    out: tuple[Tensor, Tensor] = pull((grad, grad_log))
    return out


def _tables(
    raw: Tensor, bins: int, tails: bool, published: bool, scale: float
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """Return K widths, then K + 1 knots in x and in y and densities at the knots, (N,) each."""
    logits = [scale * row for row in raw[:bins].unbind(0)]
    largest = reduce(torch.maximum, logits)
    exponentials = [(row - largest).exp() for row in logits]
    total = sum(exponentials[1:], exponentials[0])
    widths = [MIN_SIZE + (1 - bins * MIN_SIZE) * e / total for e in exponentials]
    rows = list(raw[bins:].unbind(0))
    top = reduce(torch.maximum, rows).detach()
    v = [(row - top).exp() for row in rows]
    if tails:
        first, last = widths[0], widths[-1]
        if published:
            first, last = first / 2, last / 2
        pairs = zip(v[:-1], v[1:], widths[1:-1], strict=True)
        rest = first * v[0] / 2 + last * v[-1] / 2
        rest = sum(((a + b) / 2 * w for a, b, w in pairs), rest)
        end = rest / (1 - first / 2 - last / 2)
        v = [end, *v, end]
    pieces = [(a + b) / 2 * w for a, b, w in zip(v[:-1], v[1:], widths, strict=True)]
    area = sum(pieces[1:], pieces[0])
    heights = [
        MIN_SIZE * w + (1 - MIN_SIZE) * piece / area
        for w, piece in zip(widths, pieces, strict=True)
    ]
    h = [MIN_SIZE + (1 - MIN_SIZE) * row / area for row in v]
    return widths, _knots(widths), _knots(heights), h


def _knots(sizes: list[Tensor]) -> list[Tensor]:
    """Return the running sums from 0; the last one is 1."""
    edges = [torch.zeros_like(sizes[0])]
    for size in sizes[:-1]:
        edges.append(edges[-1] + size)
    return [*edges, torch.ones_like(sizes[0])]


def _cell(
    unit: Tensor,
    across: list[Tensor],
    up: list[Tensor],
    widths: list[Tensor],
    h: list[Tensor],
    inverse: bool,
) -> tuple[Tensor, ...]:
    """Return left knot in x and y, width and both densities of the bin that holds each scalar."""
    knots = up if inverse else across
    last = across[-1] - across[-2]
    found = [across[0], up[0], widths[0], h[0], h[1]]
    for k in range(1, len(widths)):
        here = unit >= knots[k]
        width = widths[k] if k + 1 < len(widths) else last
        entries = (across[k], up[k], width, h[k], h[k + 1])
        found = [torch.where(here, new, old) for new, old in zip(entries, found, strict=True)]
    return tuple(found)
