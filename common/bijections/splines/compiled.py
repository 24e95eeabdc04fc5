"""Spline kernels made by torch.compile: one pass over the scalars, forward or backward.

Scalars are flattened to one dimension whose size the kernel leaves open, and parameters come first,
(P, N): neighbouring scalars then fill one vector register, which is up to nine times as fast as
parameters last. Only the argument, the parameters and the bin are kept for the backward pass, which
looks the bin's numbers up again.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from common.bijections.splines import tabular, unrolled
from common.bijections.splines.knots import MIN_SLOPE, UNIT_SLOPE
from common.bijections.splines.linear_rational import middle_point
from common.bijections.splines.plan import Plan

# Written out, 32 bins take a minute to compile.
MOST_UNROLLED = 16


def evaluate(plan: Plan, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and log slope, (N,) each, of v (N,) with parameters rows (P, N), float32."""
    image, log_slope, _ = _Kernel.apply(v.contiguous(), rows.contiguous(), plan)
    return image, log_slope


class _Kernel(torch.autograd.Function):
    """Return image, log slope and bin, (N,) each, of v (N,) with raw (P, N)."""

    @staticmethod
    def forward(v: Tensor, raw: Tensor, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
        return _compiled(forward, plan)(v.detach(), raw.detach())

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Plan], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        v, raw, ctx.plan = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(v, raw, output[2])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, grad_log: Tensor, _: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        v, raw, k = (tensor.detach() for tensor in ctx.saved_tensors)
        run = _compiled(backward, ctx.plan)
        grad_v, grad_raw = run(v, raw, k, grad.contiguous(), grad_log.contiguous())
        return grad_v, grad_raw, None


@functools.cache
def _compiled(function: Callable[..., Any], plan: Plan) -> Callable[..., Any]:
    def kernel(*tensors: Tensor) -> Any:
        return function(plan, *tensors)

    # All plans share this line, and each counts as one more version of it.
    torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
    # Without a cap on fusion everything becomes one loop, with nothing written in between.
    options: dict[str, Any] = {"max_fusion_size": 100_000}
    return torch.compile(kernel, dynamic=True, fullgraph=True, options=options)


def forward(plan: Plan, v: Tensor, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, log slope and bin, (N,) each, of v (N,) with raw (P, N)."""
    tables = _tables(plan)
    inner = v.clamp(plan.lower, plan.upper)
    widths, heights = _softmax_logits(plan, raw)
    k = tables.index(plan, inner, heights if plan.inverse else widths)
    image, log_slope = _inside(plan, k, inner, *_look_up(plan, k, raw))
    if plan.tails:
        within = (v >= plan.lower) & (v <= plan.upper)
        image = torch.where(within, image, v)
        log_slope = torch.where(within, log_slope, 0.0)
    return image, log_slope, k


def backward(
    plan: Plan, v: Tensor, raw: Tensor, k: Tensor, grad: Tensor, grad_log: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of v (N,) and raw (P, N), given those of image and log slope (N,)."""
    tables = _tables(plan)
    inner = v.clamp(plan.lower, plan.upper)
    within = (v >= plan.lower) & (v <= plan.upper)
    found = _look_up(plan, k, raw)
    inside = functools.partial(_inside, plan, k)
    pull_back = torch.func.vjp(inside, inner, *found)[1]
    if plan.tails:
        of = pull_back((torch.where(within, grad, 0.0), torch.where(within, grad_log, 0.0)))
        grad_v = torch.where(within, of[0], grad)
    else:
        of = pull_back((grad, grad_log))
        grad_v = torch.where(within, of[0], 0.0)
    parts = []
    for n, logits in enumerate(_softmax_logits(plan, raw)):
        before, own = (found[2 * n], of[1 + 2 * n]), (found[2 * n + 1], of[2 + 2 * n])
        part = tables.shares_backward(logits, k, before, own)
        parts.append(_times(part, plan.scale))
    if plan.middle:
        parts.append(tables.entry_backward(plan, k, of[5]))
    parts.append(tables.pair_backward(plan, k, of[-2], of[-1]))
    return grad_v, tables.join(parts)


def _tables(plan: Plan) -> Any:
    return unrolled if plan.bins <= MOST_UNROLLED else tabular


def _times(part: Any, scale: float) -> Any:
    return [row * scale for row in part] if isinstance(part, list) else part * scale


def _softmax_logits(plan: Plan, raw: Tensor) -> tuple[Tensor, Tensor]:
    K = plan.bins
    return raw[:K] * plan.scale, raw[K : 2 * K] * plan.scale


def _look_up(plan: Plan, k: Tensor, raw: Tensor) -> tuple[Tensor, ...]:
    """Return, (N,) each: shares before and of the bin in x, in y; its logits of middle, slopes."""
    tables = _tables(plan)
    widths, heights = _softmax_logits(plan, raw)
    found = [*tables.shares(widths, k), *tables.shares(heights, k)]
    if plan.middle:
        found.append(tables.entry(raw[2 * plan.bins : 3 * plan.bins], k))
    return (*found, *tables.pair(plan, raw[plan.slopes_at :], k, UNIT_SLOPE))


def _inside(plan: Plan, k: Tensor, v: Tensor, *found: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and log slope from what was looked up for bin k."""
    ends = []
    for before, own in (found[:2], found[2:4]):
        after = plan.edge(k + 1, before + own)
        ends += [plan.edge(k, before), torch.where(k == plan.bins - 1, plan.upper, after)]
    middle = (middle_point(found[4]),) if plan.middle else ()
    slopes = [MIN_SLOPE + F.softplus(logit) for logit in found[-2:]]
    image, log_slope = plan.inside(v, *ends, *middle, *slopes)
    return image.clamp(plan.lower, plan.upper), log_slope
