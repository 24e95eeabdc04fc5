"""The product of a network's transposed Jacobian with a vector."""

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""v -> J^T v, both of x's shape (*batch, *event); linear, and each sample on its own."""


def linearise(
    g: Callable[[Tensor], Tensor], x: Tensor, create_graph: bool
) -> tuple[Tensor, Product]:
    """Evaluate g once and return its value and the product v -> J^T v at x.

    Products of the transpose are all that this package needs: J^T has the traces of J, of all
    powers. They work for every module that trains. Forward mode would ask for more: an autograd
    function of a module's own rarely defines it, and two backward passes in its place cost more.

    Each product is one backward pass to the input alone, without gradients of the parameters. A
    product under `torch.no_grad()` carries no graph. The graph of g lives as long as the product.

    Args:
        g: maps (*batch, *event) to the same shape, each sample on its own. It may use its leading
            dimensions, as stacked models do.
        x: (*batch, *event).
        create_graph: let value and products be differentiated in what g closes over, and in x if
            that requires a gradient. Under `torch.no_grad()` there is no graph in any case.
    """
    graph = create_graph and torch.is_grad_enabled()
    with torch.enable_grad():
        start = x if graph and x.requires_grad else x.detach().requires_grad_()
        y = g(start)

    def product(v: Tensor) -> Tensor:
        differentiable = graph and torch.is_grad_enabled()
        return torch.autograd.grad(y, start, v, retain_graph=True, create_graph=differentiable)[0]

    return y if graph else y.detach(), product
