"""Bring scalars and parameters into the order of memory that the kernels want, and back."""

from collections.abc import Callable

from torch import Tensor

Pair = tuple[Tensor, Tensor]


def on_flat(evaluate: Callable[[Tensor, Tensor], Pair], v: Tensor, raw: Tensor) -> Pair:
    """Return both results (*shape) of a kernel that takes v (N,) and parameters (P, N).

    Scalars are numbered in the order in which they lie in `raw`. Where parameters come first in
    memory, as a conditioner writes them that gives (P, *shape), flattening copies nothing of them.

    Shapes: v (*shape), raw (*shape, P), any strides.
    """
    strides = raw.stride()
    order = sorted(range(v.dim()), key=lambda dim: -strides[dim])
    rows = raw.permute(-1, *order).reshape(raw.shape[-1], v.numel())
    moved = v.permute(order)
    back = [order.index(dim) for dim in range(v.dim())]
    first, second = evaluate(moved.reshape(-1), rows)
    return first.view(moved.shape).permute(back), second.view(moved.shape).permute(back)
