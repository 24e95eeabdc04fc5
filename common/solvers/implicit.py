"""Solutions of w + g(w) = target that can be differentiated."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from common.solvers.errors import NotConverged
from common.solvers.iterate import Map
from common.solvers.precision import full_precision
from common.solvers.solution import event_max, spread
from common.solvers.solve import solve


def implicit(
    g: Map,
    target: Tensor,
    *,
    start: Tensor | None = None,
    tol: float,
    backward_tol: float,
    limit: int,
    event_dims: int = 1,
) -> Tensor:
    """Solve w + g(w) = target for a contraction g, differentiable in target and in g's parameters.

    The root is found without a graph. One evaluation of g at it records a graph, which serves both
    the backward solve and the gradients of all that g closes over: for a cotangent a of w, the
    gradient of target is z with z + J^T z = a, and that of a parameter is -z^T dg/dparameter. The
    backward solve multiplies by J^T alone and finds no gradient of a parameter on its way. What is
    returned is target - g(root), one plain step closer than the root. Gradients of gradients are
    refused. Without grad mode no graph is made, and w is the same.

    Args:
        g: maps (*batch, *event) to the same shape, sample by sample, with Lipschitz constant below
            1; evaluated often, so it should close over normalised weights, not normalise them.
        target: (*batch, *event).
        start: first guess of w, target if None; it changes the number of evaluations alone.
        tol: bound on max |w + g(w) - target| of each sample, relative to 1 + max |target|.
        backward_tol: likewise for the backward solve, relative to max |cotangent|; so the scale of
            the loss does not matter.
        limit: most evaluations of g, and of J^T in the backward solve.
        event_dims: number of trailing dimensions that form one sample.

    Raises: NotConverged, here or in the backward pass, where a solve does not reach its tolerance.

    Reference: Deep equilibrium models, Bai, Kolter and Koltun, 2019,
    https://arxiv.org/abs/1909.01377, theorem 1; Invertible monotone operators for normalizing
    flows, Ahn, Kim, Hong and Kim, 2022, https://arxiv.org/abs/2210.08176.
    """
    fixed = target.detach()
    root = _root(
        lambda w: fixed - g(w),
        fixed if start is None else start.detach(),
        "implicit, forward",
        tol=tol,
        limit=limit,
        event_dims=event_dims,
        scale=1 + event_max(fixed, event_dims),
    )
    if not torch.is_grad_enabled():
        with full_precision():
            return target - g(root)
    leaf = root.requires_grad_()
    with full_precision():
        value = g(leaf)
    if value.numel() == 0:
        return target - value

    def solve_backward(value: Tensor, leaf: Tensor, cotangent: Tensor) -> Tensor:
        # The equation is linear: with max |a| = 1 nothing under- or overflows, whatever the loss.
        scale = event_max(cotangent, event_dims)
        scale = torch.where(scale == 0, 1, scale)
        unit = cotangent / spread(scale, event_dims)
        z = _root(
            lambda z: unit - torch.autograd.grad(value, leaf, z, retain_graph=True)[0],
            unit,
            "implicit, backward",
            tol=backward_tol,
            limit=limit,
            event_dims=event_dims,
            scale=torch.ones_like(scale),
        )
        return z * spread(scale, event_dims)

    result: Tensor = _SolveBackward.apply(target - value, value, leaf, solve_backward)
    return result


def _root(f: Map, start: Tensor, name: str, **settings: Any) -> Tensor:
    try:
        return solve(f, start, **settings).x
    except NotConverged as error:
        raise NotConverged(f"{name}: {error}") from error


class _SolveBackward(torch.autograd.Function):
    """Pass w on; backwards, turn its cotangent a into z.

    The graph of g then takes z to all that g closes over. It lies between this node and the leaf,
    and nothing in it refers to this node: there is no cycle, and reference counts free it all.
    """

    @staticmethod
    def forward(
        ctx: Any,
        w: Tensor,
        value: Tensor,
        leaf: Tensor,
        solve_backward: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(value, leaf)
        ctx.solve_backward = solve_backward
        return w.view_as(w)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None, None]:
        value, leaf = ctx.saved_tensors
        return ctx.solve_backward(value, leaf, cotangent), None, None, None
