import math

import pytest
import torch
from torch import nn

from common.logdet import (
    dense_jacobian,
    exact_trace,
    jacobian,
    linearise,
    monotone_logdet,
    residual_logdet,
)
from tests.common.logdet.nets import Sine, normal, of_norm, seeded

DIMENSIONS = pytest.mark.parametrize("features", [1, 2, 3, 5])


@DIMENSIONS
def test_the_jacobian_is_that_of_every_sample(features):
    g, x = Sine(features, 0.6), normal(4, features)
    expected = torch.func.vmap(torch.func.jacrev(lambda row: g(row[None])[0]))(x)
    torch.testing.assert_close(jacobian(g, x), expected)


def test_stacked_models_have_their_own_jacobians():
    stacked, x = Sine(3, 0.6, models=(2,)), normal(2, 4, 3)
    whole = jacobian(stacked, x)
    assert whole.shape == (2, 4, 3, 3)
    for model in range(2):
        one = Sine(3, 0.6)
        one.load_state_dict({key: value[model] for key, value in stacked.state_dict().items()})
        torch.testing.assert_close(whole[model], jacobian(one, x[model]))


def test_an_image_is_one_flattened_event():
    conv = nn.Conv2d(2, 2, 3, padding=1).double()
    g = nn.Sequential(conv, nn.Tanh())
    x = normal(3, 2, 4, 4)
    found = jacobian(g, x, event_dims=3)
    full = torch.autograd.functional.jacobian(g, x).reshape(3, 32, 3, 32)
    torch.testing.assert_close(found, full.diagonal(dim1=0, dim2=2).permute(2, 0, 1))


def test_an_empty_batch_has_no_jacobians():
    assert jacobian(Sine(3, 0.6), normal(0, 3)).shape == (0, 3, 3)


@DIMENSIONS
@pytest.mark.parametrize("logdet", [residual_logdet, monotone_logdet])
def test_the_logdet_of_a_jacobian_can_be_differentiated_twice(features, logdet):
    g, x = Sine(features, 0.6, hidden=3), normal(2, features).requires_grad_()
    parameters = tuple(g.parameters())

    def of(x, *parameters):
        return logdet(jacobian(g, x))

    assert torch.autograd.gradcheck(of, (x, *parameters))
    assert torch.autograd.gradgradcheck(of, (x, *parameters))


def test_there_is_no_graph_under_no_grad():
    with torch.no_grad():
        assert not jacobian(Sine(3, 0.6), normal(4, 3)).requires_grad


@DIMENSIONS
def test_logdets_are_those_of_dense_matrices(features):
    j = of_norm(normal(6, features, features), 0.9)
    eye = torch.eye(features, dtype=torch.float64)
    plus, minus = (torch.linalg.slogdet(eye + sign * j).logabsdet for sign in (1, -1))
    torch.testing.assert_close(residual_logdet(j), plus)
    torch.testing.assert_close(monotone_logdet(j), minus - plus)


@DIMENSIONS
def test_the_monotone_logdet_is_that_of_the_cayley_transform_and_odd(features):
    j = of_norm(normal(6, features, features), 0.9)
    eye = torch.eye(features, dtype=torch.float64)
    whole = torch.linalg.solve(eye + j, eye - j)
    torch.testing.assert_close(monotone_logdet(j), torch.linalg.slogdet(whole).logabsdet)
    torch.testing.assert_close(monotone_logdet(-j), -monotone_logdet(j))


@DIMENSIONS
def test_multiples_of_the_identity_reach_the_largest_logdets(features):
    j = -0.9 * torch.eye(features, dtype=torch.float64)
    assert residual_logdet(j).item() == pytest.approx(features * math.log(0.1), rel=1e-13)
    assert monotone_logdet(j).item() == pytest.approx(features * math.log(19), rel=1e-13)


def test_the_exact_trace_is_that_of_the_dense_jacobian():
    g, x = Sine(4, 0.6), normal(5, 4)
    _, vjp = linearise(g, x, create_graph=False)
    dense = dense_jacobian(vjp, x)
    torch.testing.assert_close(exact_trace(vjp, x), dense.diagonal(dim1=-2, dim2=-1).sum(-1))


def test_the_exact_trace_takes_images():
    x = torch.rand(3, 2, 4, 4, generator=seeded(), dtype=torch.float64)
    _, vjp = linearise(lambda image: image**2, x, create_graph=False)
    torch.testing.assert_close(exact_trace(vjp, x, event_dims=3), 2 * x.sum((1, 2, 3)))
