"""A residual network as one differentiable step: fewer tensors kept, and gradients in place."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Writes grad where input > 0, else 0: what ReLU does to a gradient, without a mask in between.
_through_relu = torch.ops.aten.threshold_backward.grad_input


def residual_product(x: Tensor, weights: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return last(h) with h = first(x), then h + second(ReLU(first(ReLU(h)))) for each block.

    The result has the batch innermost in memory, as splines read their parameters. Layer by layer
    the same takes a third longer: every sum makes a tensor, and so does every gradient. It can be
    differentiated once.

    Args:
        x: (K, B, inputs).
        weights: (K, outputs, inputs) and (K, outputs) of each affine layer, in order: first, two
            for each block, last.

    Shapes: the result is (K, B, outputs).
    """
    flat = [tensor for pair in weights for tensor in pair]
    out: Tensor = _ResidualProduct.apply(x, *flat)
    return out.mT


class _ResidualProduct(torch.autograd.Function):
    """Return the outputs (K, outputs, B); what both ReLUs of a block gave is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *flat: Tensor) -> Tensor:
        first, offset, *inner, last, last_offset = flat
        h = torch.baddbmm(offset.unsqueeze(-2), x, first.mT)
        kept = []
        for i in range(0, len(inner), 4):
            into, into_offset, back, back_offset = inner[i : i + 4]
            outer = h.clamp_min(0)
            middle = torch.baddbmm(into_offset.unsqueeze(-2), outer, into.mT).clamp_min_(0)
            h.add_(back_offset.unsqueeze(-2)).baddbmm_(middle, back.mT)
            kept += [outer, middle]
        ctx.save_for_backward(x, h, *kept, *flat)
        ctx.kept = len(kept)
        return torch.baddbmm(last_offset.unsqueeze(-1), last, h.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, h, *rest = ctx.saved_tensors
        kept, flat = rest[: ctx.kept], rest[ctx.kept :]
        first, _, *inner, last, _ = flat
        found = [grad @ h, grad.sum(-1)]
        grad_h = grad.mT @ last
        for i in reversed(range(0, len(inner), 4)):
            into, _, back, _ = inner[i : i + 4]
            outer, middle = kept[i // 2 : i // 2 + 2]
            of_back = [grad_h.mT @ middle, grad_h.sum(-2)]
            inside = grad_h @ back
            _through_relu(inside, middle, 0, grad_input=inside)
            of_into = [inside.mT @ outer, inside.sum(-2)]
            outside = inside @ into
            _through_relu(outside, outer, 0, grad_input=outside)
            grad_h.add_(outside)
            found = [*of_into, *of_back, *found]
        grad_x = grad_h @ first if ctx.needs_input_grad[0] else None
        return (grad_x, grad_h.mT @ x, grad_h.sum(-2), *found)
