import gc
import weakref

import torch
from torch import nn

from common.logdet import linearise
from tests.common.logdet.nets import Sine, normal


def test_products_are_those_of_the_transposed_jacobian():
    g, x, v = Sine(3, 0.6), normal(5, 3), normal(5, 3, seed=1)
    y, vjp = linearise(g, x, create_graph=False)
    blocks = torch.func.vmap(torch.func.jacrev(lambda row: g(row[None])[0]))(x)
    torch.testing.assert_close(y, g(x))
    torch.testing.assert_close(vjp(v), torch.einsum("bij,bi->bj", blocks, v))


def test_products_without_a_graph_leave_no_gradient_anywhere():
    g, x = Sine(3, 0.6), normal(5, 3).requires_grad_()
    y, vjp = linearise(g, x, create_graph=False)
    product = vjp(normal(5, 3, seed=1))
    assert not y.requires_grad
    assert not product.requires_grad
    assert x.grad is None
    assert all(parameter.grad is None for parameter in g.parameters())


def test_a_graph_is_made_where_it_was_asked_for_and_gradients_are_on():
    g, x = Sine(3, 0.6), normal(5, 3)
    y, vjp = linearise(g, x, create_graph=True)
    assert y.requires_grad
    assert vjp(y.detach()).requires_grad
    with torch.no_grad():
        assert not vjp(y.detach()).requires_grad
        y, vjp = linearise(g, x, create_graph=True)
        assert not y.requires_grad
    assert not vjp(y).requires_grad


def test_the_gradient_goes_through_the_point_to_what_it_came_from():
    g = Sine(3, 0.6)
    source, v = normal(5, 3).requires_grad_(), normal(5, 3, seed=1)

    def of(source):
        y, vjp = linearise(g, source.tanh(), create_graph=True)
        return y + vjp(v)

    assert torch.autograd.gradcheck(of, source)


def test_a_function_without_forward_mode_is_enough():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gradient):
            return 3 * ctx.saved_tensors[0] ** 2 * gradient

    x, v = normal(4, 2), normal(4, 2, seed=1)
    _, vjp = linearise(Cube.apply, x, create_graph=True)
    torch.testing.assert_close(vjp(v), 3 * x**2 * v)


def test_the_graph_goes_with_the_product():
    class Kept(nn.Module):
        def forward(self, x):
            h = x.sin()
            self.watch = weakref.ref(h)
            return h * h

    g = Kept()
    y, vjp = linearise(g, normal(4, 2), create_graph=True)
    vjp(y.detach())
    gc.disable()  # no cycle may be needed to free it
    try:
        assert g.watch() is not None
        del y, vjp
        assert g.watch() is None
    finally:
        gc.enable()
