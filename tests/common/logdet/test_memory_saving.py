import weakref

import pytest
import torch
from torch import nn

from common.logdet import (
    MONOTONE,
    RESIDUAL,
    gaussian,
    linearise,
    memory_saving_surrogate,
    neumann_surrogate,
    poisson,
)
from tests.common.logdet.nets import Sine, normal, of_norm, seeded

SERIES = pytest.mark.parametrize("series", [RESIDUAL, MONOTONE], ids=lambda series: series.name)
EQUAL, UNEQUAL = torch.full((5,), 0.3).double(), normal(5, seed=9)
WEIGHTS = pytest.mark.parametrize("weights", [EQUAL, UNEQUAL], ids=["equal", "unequal"])


def both(g, x, series, parameters, n=2, event_dims=1):
    """Return the plain surrogate and the one that saves memory, of the same draws."""
    batch = x.shape[:-event_dims]
    probes = gaussian(n, x.detach(), seeded(1))
    lengths = poisson(2.0, 3, batch, seeded(2), probes=n)
    _, vjp = linearise(g, x, create_graph=True)
    plain = neumann_surrogate(vjp, probes, series, lengths, event_dims)
    saving = memory_saving_surrogate(g, x, probes, series, lengths, parameters, event_dims)
    return plain.surrogate, saving.surrogate


def compare(plain, saving, weights, wanted):
    torch.testing.assert_close(saving, plain)
    expected = torch.autograd.grad((weights * plain).sum(), wanted, retain_graph=True)
    found = torch.autograd.grad((weights * saving).sum(), wanted)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)  # order of the sums


@SERIES
@WEIGHTS
def test_gradients_are_those_of_the_plain_path(series, weights):
    g, x = Sine(3, 0.6), normal(5, 3).requires_grad_()
    parameters = tuple(g.parameters())
    compare(*both(g, x, series, parameters), weights, (x, *parameters))


@SERIES
def test_stacked_models_may_weigh_differently(series):
    g, x = Sine(3, 0.6, models=(2,)), normal(2, 5, 3).requires_grad_()
    parameters = tuple(g.parameters())
    for weights in (torch.ones(2, 5).double(), normal(2, 1).expand(2, 5), normal(2, 5)):
        compare(*both(g, x, series, parameters), weights, (x, *parameters))


@WEIGHTS
def test_images_through_convolutions_have_the_gradients_of_the_plain_path(weights):
    g = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1))
    for parameter in g.double().parameters():
        nn.init.normal_(parameter, std=0.05, generator=seeded(3))
    x = normal(5, 2, 4, 4).requires_grad_()
    parameters = tuple(parameter for parameter in g.parameters() if parameter.dim() > 1)
    pair = both(g, x, MONOTONE, parameters, event_dims=3)
    compare(*pair, weights, (x, *parameters))


@WEIGHTS
def test_weights_normalised_outside_of_the_net_pass_their_gradient_on(weights):
    raw = normal(3, 3).requires_grad_()
    x = normal(5, 3).requires_grad_()
    weight = of_norm(raw, 0.6)
    pair = both(lambda rows: torch.sin(rows @ weight), x, RESIDUAL, (weight,))
    compare(*pair, weights, (x, raw))


@WEIGHTS
def test_weights_normalised_inside_of_the_net_pass_their_gradient_on(weights):
    raw = normal(3, 3).requires_grad_()
    x = normal(5, 3).requires_grad_()
    pair = both(lambda rows: torch.sin(rows @ of_norm(raw, 0.6)), x, RESIDUAL, (raw,))
    compare(*pair, weights, (x, raw))


@WEIGHTS
def test_an_input_without_gradient_and_frozen_parameters_are_left_out(weights):
    g, x = Sine(3, 0.6), normal(5, 3)
    g.a.requires_grad_(False)
    parameters = tuple(g.parameters())
    compare(*both(g, x, RESIDUAL, parameters), weights, (g.b, g.bias))
    for parameter in parameters:
        parameter.requires_grad_(False)
    x = x.requires_grad_()
    compare(*both(g, x, RESIDUAL, parameters), weights, (x,))
    compare(*both(g, x, RESIDUAL, ()), weights, (x,))


def test_a_parameter_that_the_jacobian_does_not_see_gets_no_gradient():
    g = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    for weights in (EQUAL, UNEQUAL):
        g.zero_grad()
        _, saving = both(g, normal(5, 3), RESIDUAL, tuple(g.parameters()))
        (weights * saving).sum().backward()
        assert g[2].bias.grad is None
        assert g[2].weight.grad is not None


def test_an_empty_batch_has_gradients_of_zero():
    g, x = Sine(3, 0.6), normal(0, 3).requires_grad_()
    _, saving = both(g, x, RESIDUAL, tuple(g.parameters()))
    saving.sum().backward()
    assert x.grad.shape == (0, 3)
    assert all(not parameter.grad.any() for parameter in g.parameters())


@pytest.mark.parametrize(("weights", "evaluations"), [(EQUAL, 0), (UNEQUAL, 1)])
def test_the_net_is_evaluated_anew_for_unequal_weights_alone(weights, evaluations):
    g, x = Sine(3, 0.6), normal(5, 3).requires_grad_()
    calls = []
    g.register_forward_hook(lambda *_: calls.append(1))
    probes, lengths = gaussian(1, x.detach(), seeded()), poisson(2.0, 3, (5,), seeded())
    saving = memory_saving_surrogate(g, x, probes, RESIDUAL, lengths, tuple(g.parameters()))
    assert len(calls) == 1
    (weights * saving.surrogate).sum().backward()
    assert len(calls) == 1 + evaluations


class Packed:
    """A tensor that autograd keeps, as long as autograd keeps it."""

    def __init__(self, tensor):
        self.tensor = tensor


def held(make):
    """Return what make() returns, and how many numbers autograd holds for its backward pass."""
    packed = weakref.WeakSet()

    def pack(tensor):
        box = Packed(tensor)
        packed.add(box)
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        result = make()
    storages = {}
    for box in packed:
        storage = box.tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes() // box.tensor.element_size()
    return result, sum(storages.values())


@SERIES
def test_what_is_held_until_the_backward_pass_does_not_grow_with_the_net(series):
    x = normal(200, 3).requires_grad_()
    probes, lengths = gaussian(1, x.detach(), seeded()), poisson(2.0, 3, (200,), seeded())
    for hidden in (32, 256):
        g = Sine(3, 0.6, hidden=hidden)
        parameters = tuple(g.parameters())

        def plain(g=g):
            _, vjp = linearise(g, x, create_graph=True)
            return neumann_surrogate(vjp, probes, series, lengths).surrogate

        def saving(g=g, parameters=parameters):
            return memory_saving_surrogate(g, x, probes, series, lengths, parameters).surrogate

        of_input, of_net = x.numel(), sum(parameter.numel() for parameter in parameters)
        _, whole = held(plain)
        result, little = held(saving)
        # x, its gradient, probes, kernels; parameters and their gradients.
        assert little <= 4 * of_input + 2 * of_net
        assert whole > len(x) * hidden
        result.sum().backward()


def test_a_parameter_changed_before_the_backward_pass_is_noticed():
    g, x = Sine(3, 0.6), normal(5, 3)
    _, saving = both(g, x, RESIDUAL, tuple(g.parameters()))
    with torch.no_grad():
        g.a.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        saving.sum().backward()


def test_what_can_have_no_gradient_is_refused():
    g, x = Sine(3, 0.6), normal(5, 3)
    probes, lengths = gaussian(1, x, seeded()), poisson(2.0, 3, (5,), seeded())
    with pytest.raises(ValueError, match="that requires a gradient"):
        memory_saving_surrogate(g, x, probes, RESIDUAL, lengths, ())
    with torch.no_grad(), pytest.raises(ValueError, match=r"outside of torch\.no_grad"):
        memory_saving_surrogate(g, x, probes, RESIDUAL, lengths, tuple(g.parameters()))
