# mypy: disable-error-code="no-untyped-def, no-untyped-call"
"""Linear rational splines on CUDA: one Triton kernel forward, one backward.

A program handles a block of scalars; the logits of its widths, and then of its heights, are a tile
of bins by scalars in registers, and of all other parameters only those of the scalar's own bin are
read. Parameters come first in memory, (P, N), so that neighbouring threads read neighbours.

This file imports Triton: import it only where that is installed. It has been run by Triton's
interpreter, whose results the tests compare with the eager path; it has NOT been run on a GPU yet.
"""

from typing import Any

import torch
import triton  # type: ignore[import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-untyped, unused-ignore]
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.bijections.splines import knots
from common.bijections.splines.plan import Plan

MIN_SIZE: tl.constexpr = tl.constexpr(knots.MIN_SIZE)
MIN_SLOPE: tl.constexpr = tl.constexpr(knots.MIN_SLOPE)
UNIT_SLOPE: tl.constexpr = tl.constexpr(knots.UNIT_SLOPE)


def evaluate(plan: Plan, v: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return image and log slope, (N,) each, of v (N,) with parameters rows (P, N), float32."""
    image, log_slope, _ = _Fused.apply(v.contiguous(), rows.contiguous(), plan)
    return image, log_slope


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(v: Tensor, rows: Tensor, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
        image, log_slope = torch.empty_like(v), torch.empty_like(v)
        k = torch.empty_like(v, dtype=torch.int32)
        grid, constants = _launch(plan, v.numel())
        _forward[grid](v, rows, image, log_slope, k, v.numel(), **constants)
        return image, log_slope, k

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Plan], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        v, rows, ctx.plan = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(v, rows, output[2])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, grad_log: Tensor, _: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        v, rows, k = ctx.saved_tensors
        grad_v, grad_rows = torch.empty_like(v), torch.empty_like(rows)
        grid, constants = _launch(ctx.plan, v.numel())
        grad, grad_log = grad.contiguous(), grad_log.contiguous()
        _backward[grid](v, rows, k, grad, grad_log, grad_v, grad_rows, v.numel(), **constants)
        return grad_v, grad_rows, None


def _launch(plan: Plan, scalars: int) -> tuple[tuple[int], dict[str, Any]]:
    """Return the grid and what the kernels are specialised on."""
    padded = triton.next_power_of_2(plan.bins)
    # A tile holds at most this many numbers: 32 for each of 128 threads.
    block = max(16, min(256, 4096 // padded))
    constants = {
        "LOWER": plan.lower,
        "UPPER": plan.upper,
        "SCALE": plan.scale,
        "K": plan.bins,
        "PADDED": padded,
        "TAILS": plan.tails,
        "INVERSE": plan.inverse,
        "BLOCK": block,
    }
    return (triton.cdiv(scalars, block),), constants


@triton.jit
def _exponentials(
    rows, first, column, inside, N,
    SCALE: tl.constexpr, K: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """Return bin numbers (PADDED, 1), exponentials (PADDED, BLOCK) and their sums (BLOCK,)."""
    j = tl.arange(0, PADDED)[:, None]
    real = j < K
    here = rows + (first + j).to(tl.int64) * N + column[None, :]
    logits = tl.load(here, mask=real & inside[None, :], other=0.0) * SCALE
    logits = tl.where(real, logits, float("-inf"))
    e = tl.exp(logits - tl.max(logits, 0)[None, :])
    return j, e, tl.sum(e, 0)


@triton.jit
def _edge(count, share, LOWER: tl.constexpr, UPPER: tl.constexpr, K: tl.constexpr):
    # Tensors on the left: the interpreter makes constants of sums that begin with one.
    floored = count * MIN_SIZE + share * (1 - K * MIN_SIZE)
    return floored * (UPPER - LOWER) + LOWER


@triton.jit
def _index(v, j, e, total, LOWER: tl.constexpr, UPPER: tl.constexpr, K: tl.constexpr):
    """Return the bin (BLOCK,) of v, searched among the interior knots."""
    edges = _edge(j, (tl.cumsum(e, 0) - e) / total[None, :], LOWER, UPPER, K)
    beyond = (v[None, :] >= edges) & (j >= 1) & (j < K)
    return tl.sum(beyond.to(tl.int32), 0)


@triton.jit
def _shares(k, j, e, total):
    """Return the softmax shares (BLOCK,) of the bins before bin k and of bin k."""
    before = tl.sum(tl.where(j < k[None, :], e, 0.0), 0) / total
    own = tl.sum(tl.where(j == k[None, :], e, 0.0), 0) / total
    return before, own


@triton.jit
def _ends(k, before, own, LOWER: tl.constexpr, UPPER: tl.constexpr, K: tl.constexpr):
    after = _edge(k + 1, before + own, LOWER, UPPER, K)
    return _edge(k, before, LOWER, UPPER, K), tl.where(k == K - 1, UPPER, after)


@triton.jit
def _sigmoid(v):
    return 1 / (1 + tl.exp(-v))


@triton.jit
def _slope(logit):
    return tl.maximum(logit, 0.0) + tl.log(1 + tl.exp(-tl.abs(logit))) + MIN_SLOPE


@triton.jit
def _own_logits(rows, k, column, inside, N, K: tl.constexpr, TAILS: tl.constexpr):
    """Return the logits (BLOCK,) of bin k's middle point and of the slopes at its two ends."""
    here = rows + column
    k = k.to(tl.int64)
    middle = tl.load(here + (2 * K + k) * N, mask=inside, other=0.0)
    if TAILS:
        first = tl.load(here + (3 * K + k - 1) * N, mask=inside & (k > 0), other=UNIT_SLOPE)
        second = tl.load(here + (3 * K + k) * N, mask=inside & (k < K - 1), other=UNIT_SLOPE)
    else:
        first = tl.load(here + (3 * K + k) * N, mask=inside, other=0.0)
        second = tl.load(here + (3 * K + k + 1) * N, mask=inside, other=0.0)
    return middle, first, second


@triton.jit
def _forward(
    v_in, rows, image_out, log_out, k_out, N,
    LOWER: tl.constexpr, UPPER: tl.constexpr, SCALE: tl.constexpr, K: tl.constexpr,
    PADDED: tl.constexpr, TAILS: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < N
    given = tl.load(v_in + column, mask=inside, other=0.0)
    v = tl.minimum(tl.maximum(given, LOWER), UPPER)
    # First the logits among whose knots the bin is searched, then the others.
    j, e, total = _exponentials(rows, K if INVERSE else 0, column, inside, N, SCALE, K, PADDED)
    k = _index(v, j, e, total, LOWER, UPPER, K)
    before, own = _shares(k, j, e, total)
    v0, v1 = _ends(k, before, own, LOWER, UPPER, K)
    j, e, total = _exponentials(rows, 0 if INVERSE else K, column, inside, N, SCALE, K, PADDED)
    before, own = _shares(k, j, e, total)
    image0, image1 = _ends(k, before, own, LOWER, UPPER, K)
    logit, first, second = _own_logits(rows, k, column, inside, N, K, TAILS)
    middle, d0, d1 = 0.025 + 0.95 * _sigmoid(logit), _slope(first), _slope(second)
    g = tl.sqrt(d0 * d1)
    if INVERSE:
        height, width = v1 - v0, image1 - image0
        left = (v - v0) * (middle * d0 + (1 - middle) * g) <= height * middle * d0
    else:
        width, height = v1 - v0, image1 - image0
        left = v - v0 <= middle * width
    s = height / width
    length = tl.where(left, middle, 1 - middle)
    d = tl.where(left, d0, d1)
    m = length * d + (1 - length) * g
    way = tl.where(left, v - v0, v1 - v)
    if INVERSE:
        r = tl.maximum(way / height, 0.0)
        denominator = s * r + m * tl.maximum(length * d / m - r, 0.0)
        move = width * length * (s * r / denominator)
        log_slope = tl.log(d) + 2 * tl.log(length / denominator)
    else:
        u = tl.minimum(tl.maximum(way / (width * length), 0.0), 1.0)
        denominator = s * (1 - u) + m * u
        move = height * length * d * u / denominator
        log_slope = tl.log(d) + 2 * tl.log(s / denominator)
    image = tl.where(left, image0 + move, image1 - move)
    image = tl.minimum(tl.maximum(image, LOWER), UPPER)
    if TAILS:
        within = (given >= LOWER) & (given <= UPPER)
        image = tl.where(within, image, given)
        log_slope = tl.where(within, log_slope, 0.0)
    tl.store(image_out + column, image, mask=inside)
    tl.store(log_out + column, log_slope, mask=inside)
    tl.store(k_out + column, k, mask=inside)


@triton.jit
def _pull_back(x, x0, x1, y0, y1, middle, d0, d1, grad, grad_log):
    """Return the gradients of all arguments of the forward map in a bin, given its results'.

    The map is that of `linear_rational.forward_in_bin`, differentiated line by line, last to first.
    """
    width, height = x1 - x0, y1 - y0
    s = height / width
    left = x - x0 <= middle * width
    sign = tl.where(left, 1.0, -1.0)
    length = tl.where(left, middle, 1 - middle)
    d = tl.where(left, d0, d1)
    g = tl.sqrt(d0 * d1)
    way = tl.where(left, x - x0, x1 - x) / (width * length)
    u = tl.minimum(tl.maximum(way, 0.0), 1.0)
    m = length * d + (1 - length) * g
    denominator = s * (1 - u) + m * u
    full = height * length * d / denominator  # rise = full * u
    of_rise = sign * grad
    through = of_rise * full * u
    of_denominator = -(through + 2 * grad_log) / denominator
    of_u = of_rise * full + of_denominator * (m - s)
    of_s = of_denominator * (1 - u) + 2 * grad_log / s
    of_m = of_denominator * u
    of_way = tl.where((way >= 0) & (way <= 1), of_u, 0.0)
    of_d = (through + grad_log) / d + of_m * length
    of_length = through / length + of_m * (d - g) - of_way * way / length
    of_g = of_m * (1 - length)
    of_height = through / height + of_s / width
    of_width = -(of_s * s + of_way * way) / width
    of_distance = of_way / (width * length)
    of_x0 = -of_width - tl.where(left, of_distance, 0.0)
    of_x1 = of_width + tl.where(left, 0.0, of_distance)
    of_y0 = -of_height + tl.where(left, grad, 0.0)
    of_y1 = of_height + tl.where(left, 0.0, grad)
    of_d0 = of_g * g / (2 * d0) + tl.where(left, of_d, 0.0)
    of_d1 = of_g * g / (2 * d1) + tl.where(left, 0.0, of_d)
    return sign * of_distance, of_x0, of_x1, of_y0, of_y1, sign * of_length, of_d0, of_d1


@triton.jit
def _pull_back_inverse(y, x0, x1, y0, y1, middle, d0, d1, grad, grad_log):
    """Return the same for `linear_rational.inverse_in_bin`, in the same order.

    Not by the implicit function theorem: its terms cancel where the log slope changes fast.
    """
    width, height = x1 - x0, y1 - y0
    s = height / width
    g = tl.sqrt(d0 * d1)
    left = (y - y0) * (middle * d0 + (1 - middle) * g) <= height * middle * d0
    sign = tl.where(left, 1.0, -1.0)
    length = tl.where(left, middle, 1 - middle)
    d = tl.where(left, d0, d1)
    m = length * d + (1 - length) * g
    share = tl.where(left, y - y0, y1 - y) / height
    r = tl.maximum(share, 0.0)
    denominator = s * r + m * tl.maximum(length * d / m - r, 0.0)  # (s - m) r + length d
    full = width * length * s / denominator  # run = full * r
    of_run = sign * grad
    through = of_run * full * r
    of_denominator = -(through + 2 * grad_log) / denominator
    of_r = of_run * full + of_denominator * (s - m)
    of_s = through / s + of_denominator * r
    of_m = -of_denominator * r
    of_share = tl.where(share >= 0, of_r, 0.0)
    of_d = grad_log / d + of_denominator * length + of_m * length
    of_length = (through + 2 * grad_log) / length + of_denominator * d + of_m * (d - g)
    of_g = of_m * (1 - length)
    of_height = of_s / width - of_share * share / height
    of_width = (through - of_s * s) / width
    of_distance = of_share / height
    of_x0 = -of_width + tl.where(left, grad, 0.0)
    of_x1 = of_width + tl.where(left, 0.0, grad)
    of_y0 = -of_height - tl.where(left, of_distance, 0.0)
    of_y1 = of_height + tl.where(left, 0.0, of_distance)
    of_d0 = of_g * g / (2 * d0) + tl.where(left, of_d, 0.0)
    of_d1 = of_g * g / (2 * d1) + tl.where(left, 0.0, of_d)
    return sign * of_distance, of_x0, of_x1, of_y0, of_y1, sign * of_length, of_d0, of_d1


@triton.jit
def _store_softmax(
    out, first, column, inside, N, k, j, e, total, before, own, of_low, of_high,
    LOWER: tl.constexpr, UPPER: tl.constexpr, SCALE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Store the gradients of K logits, given those of the two knots of bin k."""
    unit = (UPPER - LOWER) * (1 - K * MIN_SIZE)
    of_own = tl.where(k == K - 1, 0.0, of_high) * unit  # the last knot is pinned
    of_before = of_low * unit + of_own
    mean = of_before * before + of_own * own
    row = tl.where(j < k[None, :], of_before[None, :], 0.0)
    row = tl.where(j == k[None, :], of_own[None, :], row) - mean[None, :]
    here = out + (first + j).to(tl.int64) * N + column[None, :]
    tl.store(here, e * row * (SCALE / total)[None, :], mask=(j < K) & inside[None, :])


@triton.jit
def _backward(
    v_in, rows, k_in, grad_in, grad_log_in, grad_v_out, grad_rows_out, N,
    LOWER: tl.constexpr, UPPER: tl.constexpr, SCALE: tl.constexpr, K: tl.constexpr,
    PADDED: tl.constexpr, TAILS: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = column < N
    given = tl.load(v_in + column, mask=inside, other=0.0)
    k = tl.load(k_in + column, mask=inside, other=0)
    grad = tl.load(grad_in + column, mask=inside, other=0.0)
    grad_log = tl.load(grad_log_in + column, mask=inside, other=0.0)
    v = tl.minimum(tl.maximum(given, LOWER), UPPER)
    within = (given >= LOWER) & (given <= UPPER)
    if TAILS:  # without, the slope at the nearest end still counts
        g, g_log = tl.where(within, grad, 0.0), tl.where(within, grad_log, 0.0)
    else:
        g, g_log = grad, grad_log

    j, e_x, total_x = _exponentials(rows, 0, column, inside, N, SCALE, K, PADDED)
    before_x, own_x = _shares(k, j, e_x, total_x)
    x0, x1 = _ends(k, before_x, own_x, LOWER, UPPER, K)
    j, e_y, total_y = _exponentials(rows, K, column, inside, N, SCALE, K, PADDED)
    before_y, own_y = _shares(k, j, e_y, total_y)
    y0, y1 = _ends(k, before_y, own_y, LOWER, UPPER, K)
    logit, first, second = _own_logits(rows, k, column, inside, N, K, TAILS)
    sigmoid = _sigmoid(logit)
    middle, d0, d1 = 0.025 + 0.95 * sigmoid, _slope(first), _slope(second)

    if INVERSE:
        of_v, of_x0, of_x1, of_y0, of_y1, of_middle, of_d0, of_d1 = _pull_back_inverse(
            v, x0, x1, y0, y1, middle, d0, d1, g, g_log
        )
    else:
        of_v, of_x0, of_x1, of_y0, of_y1, of_middle, of_d0, of_d1 = _pull_back(
            v, x0, x1, y0, y1, middle, d0, d1, g, g_log
        )
    of_v = tl.where(within, of_v, grad if TAILS else 0.0)
    tl.store(grad_v_out + column, of_v, mask=inside)

    out = grad_rows_out
    _store_softmax(
        out, 0, column, inside, N, k, j, e_x, total_x, before_x, own_x, of_x0, of_x1,
        LOWER, UPPER, SCALE, K,
    )  # fmt: skip
    _store_softmax(
        out, K, column, inside, N, k, j, e_y, total_y, before_y, own_y, of_y0, of_y1,
        LOWER, UPPER, SCALE, K,
    )  # fmt: skip
    of_logit = of_middle * 0.95 * sigmoid * (1 - sigmoid)
    of_first, of_second = of_d0 * _sigmoid(first), of_d1 * _sigmoid(second)
    for n in tl.static_range(K):
        tl.store(out + (2 * K + n) * N + column, tl.where(k == n, of_logit, 0.0), mask=inside)
    for n in tl.static_range(K - 1 if TAILS else K + 1):
        knot = n + 1 if TAILS else n
        value = tl.where(k == knot, of_first, tl.where(k == knot - 1, of_second, 0.0))
        tl.store(out + (3 * K + n) * N + column, value, mask=inside)
