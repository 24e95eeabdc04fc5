"""Blocks against dense algebra: solutions, log-determinants and all gradients."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from common.solvers import NotConverged
from monotone_flow import saturated
from monotone_flow.blocks import KINDS, block, inverse
from tests.monotone_flow.small import normal, plain, seeded, small_nets

MODELS, BATCH = 2, 3
ROOT2 = math.sqrt(2)
# The largest error of a solution: its residual of 16 epsilon over the smallest slope 1 - L of 0.15,
# carried on through derivatives.
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[1, 2, 3])
def features(request):
    return request.param


@pytest.fixture(params=["cpila", "clipswish", "lipswish", "crelu", "sine"])
def activation(request):
    return request.param


def leaves(net):
    return net.with_tensors(tuple(tensor.detach().requires_grad_() for tensor in net.tensors()))


def some_net(features, activation, **settings):
    (net,) = small_nets(features, activation, models=MODELS, **settings).nets()
    return leaves(net)


def dense(kind, net, k, x):
    """Return z (D,) and the log-determinant of x (D,), by many plain steps and dense matrices."""

    def g(w):
        return plain(net, k, w)

    eye = torch.eye(len(x), dtype=x.dtype)
    if kind == "residual":
        jacobian = torch.autograd.functional.jacobian(g, x, create_graph=True)
        return x + g(x), torch.linalg.slogdet(eye + jacobian).logabsdet
    target = ROOT2 * x if kind == "monotone" else x
    with torch.no_grad():
        w = target
        for _ in range(400):  # 0.86^400 is far below rounding
            w = target - g(w)
    # One Newton step with a graph has the derivatives of the solution.
    w = w.detach()
    for _ in range(2):
        jacobian = torch.autograd.functional.jacobian(g, w, create_graph=True)
        w = w - torch.linalg.solve(eye + jacobian, w + g(w) - target)
    jacobian = torch.autograd.functional.jacobian(g, w, create_graph=True)
    plus = torch.linalg.slogdet(eye + jacobian).logabsdet
    if kind == "inverse_residual":
        return w, -plus
    return ROOT2 * w - x, torch.linalg.slogdet(eye - jacobian).logabsdet - plus


# Against dense algebra


def test_values_logdets_and_gradients_are_those_of_dense_algebra(kind, features, activation):
    net = some_net(features, activation)
    x = normal(MODELS, features, BATCH).requires_grad_()
    z, logdet = block(kind, net, x)
    pairs = [[dense(kind, net, k, x[k, :, b]) for b in range(BATCH)] for k in range(MODELS)]
    expected = torch.stack([torch.stack([z for z, _ in row], -1) for row in pairs])
    expected_logdet = torch.stack([torch.stack([term for _, term in row]) for row in pairs])
    torch.testing.assert_close(z, expected, **CLOSE)
    torch.testing.assert_close(logdet, expected_logdet, **CLOSE)
    weights = normal(*z.shape, seed=1), normal(*logdet.shape, seed=2)

    def gradients(z, logdet):
        loss = (weights[0] * z).sum() + (weights[1] * logdet).sum()
        return torch.autograd.grad(loss, (x, *net.tensors()), allow_unused=True)

    for mine, other in zip(gradients(z, logdet), gradients(expected, expected_logdet), strict=True):
        torch.testing.assert_close(
            mine, torch.zeros_like(mine) if other is None else other, **CLOSE
        )


@pytest.mark.parametrize("way", [block, inverse])
@pytest.mark.parametrize("logdet", [True, False])
def test_gradients_are_those_of_finite_differences(way, logdet, kind, features, activation):
    net = some_net(features, activation, depth=1)
    x = normal(MODELS, features, BATCH, seed=3).requires_grad_()

    def f(x, *tensors):
        z, term = way(kind, net.with_tensors(tensors), x, logdet=logdet)
        return (z, term) if logdet else z

    # `fast_mode` compares along random directions.
    assert gradcheck(f, (x, *net.tensors()), fast_mode=True)


def test_plain_nets_have_the_same_gradients_as_finite_differences(kind, features):
    net = some_net(features, "clipswish", concatenation=None)
    x = normal(MODELS, features, BATCH, seed=3).requires_grad_()
    assert gradcheck(
        lambda x, *tensors: block(kind, net.with_tensors(tensors), x),
        (x, *net.tensors()),
        fast_mode=True,
    )


def test_the_logdet_is_that_of_the_blocks_own_jacobian(kind, features):
    net = some_net(features, "cpila").detach()
    x = normal(MODELS, features, 1)
    for way in (block, inverse):
        logdet = way(kind, net, x)[1]
        jacobian = torch.autograd.functional.jacobian(lambda v, f=way: f(kind, net, v)[0], x)
        for k in range(MODELS):
            own = torch.linalg.slogdet(jacobian[k, :, 0, k, :, 0])
            assert own.sign == 1
            torch.testing.assert_close(logdet[k, 0], own.logabsdet, **CLOSE)
            assert not jacobian[k, :, :, 1 - k].any()


def test_without_logdets_the_map_is_the_same_and_they_are_zero(kind, features, activation):
    net = some_net(features, activation)
    x = normal(MODELS, features, BATCH).requires_grad_()
    z, logdet = block(kind, net, x, logdet=False)
    torch.testing.assert_close(z, block(kind, net, x)[0], **CLOSE)
    assert not logdet.requires_grad
    assert logdet.shape == (MODELS, BATCH)
    assert not logdet.any()


def test_without_logdets_gradients_are_the_same(kind, features, activation):
    net = some_net(features, activation)
    x = normal(MODELS, features, BATCH).requires_grad_()
    bar = normal(MODELS, features, BATCH, seed=1)
    found = [
        torch.autograd.grad((bar * block(kind, net, x, logdet=way)[0]).sum(), (x, *net.tensors()))
        for way in (True, False)
    ]
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, **CLOSE)


# There and back


@pytest.mark.parametrize("net", ["folds", "bends", "rotations"])
def test_saturated_blocks_are_inverted_and_their_logdets_cancel(kind, features, net):
    lipschitz = 0.9
    g = getattr(saturated, net)(MODELS, features, lipschitz, seeded())
    x = normal(MODELS, features, 50)
    z, logdet = block(kind, g, x)
    back, other = inverse(kind, g, z)
    # Two solutions of 16 epsilon, amplified by a slope of at most (1 + L) / (1 - L) = 19.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(other, -logdet, rtol=0, atol=1e-11)
    again, third = block(kind, g, inverse(kind, g, x)[0])
    torch.testing.assert_close(again, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(third, -inverse(kind, g, x)[1], rtol=0, atol=1e-11)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_steepest_and_the_flattest_map_of_each_kind(kind, features, sign):
    lipschitz = 0.8
    eye = torch.eye(features, dtype=torch.float64).unsqueeze(0)
    slope = {
        "residual": 1 + sign * lipschitz,
        "inverse_residual": 1 / (1 + sign * lipschitz),
        "monotone": (1 - sign * lipschitz) / (1 + sign * lipschitz),
    }[kind]
    x = normal(1, features, 5)
    z, logdet = block(kind, saturated.linear(sign * lipschitz * eye), x)
    torch.testing.assert_close(z, slope * x, **CLOSE)
    expected = torch.full((1, 5), features * math.log(slope), dtype=torch.float64)
    torch.testing.assert_close(logdet, expected, **CLOSE)


def test_logdets_stay_within_their_bound(kind, features):
    lipschitz = 0.9
    # The bound is that of slopes 1 / (1 + L) ... 1 / (1 - L) and of their quotients.
    bound = -features * math.log(1 - lipschitz)
    if kind == "monotone":
        bound += features * math.log(1 + lipschitz)
    for make in (saturated.folds, saturated.bends, saturated.rotations):
        logdet = block(kind, make(4, features, lipschitz, seeded()), normal(4, features, 100))[1]
        assert logdet.abs().max() <= bound + 1e-12


# Edges


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("logdet", [True, False])
def test_a_batch_of_none_or_one_goes_there_and_back(kind, features, n, logdet):
    net = some_net(features, "clipswish")
    for way in (block, inverse):
        x = normal(MODELS, features, n).requires_grad_()
        z, found = way(kind, net, x, logdet=logdet)
        assert (z.shape, found.shape) == (x.shape, (MODELS, n))
        (z.sum() + found.sum()).backward()
        assert x.grad.shape == x.shape
        assert all(bool(tensor.grad.isfinite().all()) for tensor in net.tensors())


def test_weights_without_gradients_leave_that_of_the_input(kind):
    net = some_net(2, "cpila")
    x = normal(MODELS, 2, BATCH).requires_grad_()
    bar = normal(MODELS, 2, BATCH, seed=1)
    (expected,) = torch.autograd.grad((bar * block(kind, net, x)[0]).sum(), x)
    (found,) = torch.autograd.grad((bar * block(kind, net.detach(), x)[0]).sum(), x)
    torch.testing.assert_close(found, expected)


def test_a_block_that_has_no_solution_says_so(kind, features):
    net = some_net(features, "cpila").detach()
    broken = net.with_tensors(tuple(tensor * torch.nan for tensor in net.tensors()))
    if kind == "residual":
        assert bool(block(kind, broken, normal(MODELS, features, 2))[0].isnan().all())
        return
    with pytest.raises(NotConverged):
        block(kind, broken, normal(MODELS, features, 2))
