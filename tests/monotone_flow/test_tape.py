"""What a pass and a sweep return, against autograd through the same nets written plainly."""

import pytest
import torch

from monotone_flow.profiles import PROFILES
from monotone_flow.tape import evaluate, gradients, sweep
from tests.monotone_flow.small import normal, plain, small_nets

MODELS, BATCH = 2, 4


@pytest.fixture(params=[0.98, None], ids=["dense", "plain"])
def concatenation(request):
    return request.param


@pytest.fixture(params=PROFILES)
def activation(request):
    return request.param


@pytest.fixture(params=[1, 2, 3])
def net(request, activation, concatenation):
    """Return a net whose tensors are leaves."""
    (found,) = small_nets(request.param, activation, concatenation=concatenation, depth=3).nets()
    return found.with_tensors(tuple(t.detach().requires_grad_() for t in found.tensors()))


def reference(net, w):
    """Return values (K, D, B) and Jacobians (K, D, D, B) with a graph."""
    values, jacobians = [], []
    for k in range(len(w)):
        rows = w[k].mT
        values.append(plain(net, k, rows).mT)
        jacobian = torch.func.vmap(torch.func.jacrev(lambda v, k=k: plain(net, k, v)))(rows)
        jacobians.append(jacobian.movedim(0, -1))
    return torch.stack(values), torch.stack(jacobians)


def test_a_tape_holds_values_and_jacobians(net):
    w = normal(MODELS, net.features, BATCH)
    value, jacobian = reference(net, w)
    with torch.no_grad():
        tape = evaluate(net, w, tangents=True)
        torch.testing.assert_close(tape.value, value)
        torch.testing.assert_close(tape.jacobian, jacobian)
        torch.testing.assert_close(evaluate(net, w, tangents=False).value, value)


def test_a_sweep_goes_back_through_values_and_jacobians(net):
    w = normal(MODELS, net.features, BATCH).requires_grad_()
    out = torch.cat([part.flatten(2) for part in reference(net, w)], -1)
    bar = normal(*out.shape, seed=1)
    expected = torch.autograd.grad((bar * out).sum(), (w, *net.tensors()), allow_unused=True)
    with torch.no_grad():
        tape = evaluate(net, w, tangents=True)
        torch.testing.assert_close(tape.out, out)
        found = sweep(net, tape, bar)
        parts = found.w, *gradients(net, tape, found)
    for mine, other in zip(parts, expected, strict=True):
        # Of nets with kinks the Jacobian does not depend on w.
        torch.testing.assert_close(mine, torch.zeros_like(mine) if other is None else other)


@pytest.mark.parametrize("tangents", [False, True])
def test_a_sweep_of_values_alone_needs_no_tangents(net, tangents):
    w = normal(MODELS, net.features, BATCH).requires_grad_()
    value = reference(net, w)[0]
    bar = normal(*value.shape, seed=1)
    expected = torch.autograd.grad((bar * value).sum(), (w, *net.tensors()))
    with torch.no_grad():
        tape = evaluate(net, w, tangents=tangents)
        found = sweep(net, tape, bar)
        parts = found.w, *gradients(net, tape, found)
    for mine, other in zip(parts, expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_sweeps_add_up(net):
    w = normal(MODELS, net.features, BATCH)
    with torch.no_grad():
        tape = evaluate(net, w, tangents=True)
        bar, more = normal(*tape.out.shape, seed=1), normal(*w.shape, seed=2)
        whole = bar.clone()
        whole[..., :BATCH] += more
        expected = gradients(net, tape, sweep(net, tape, whole))
        found = sweep(net, tape, bar)
        found.add(sweep(net, tape, more))
        for mine, other in zip(gradients(net, tape, found), expected, strict=True):
            torch.testing.assert_close(mine, other)


def test_columns_of_a_tape_can_be_replaced_in_each_model():
    (net,) = small_nets(2, "cpila", models=3).nets()
    before, after = normal(3, 2, 6), normal(3, 2, 6, seed=1)
    index = torch.tensor([[0, 5], [3, 1], [2, 4]])
    at = index.unsqueeze(1).expand(-1, 2, -1)
    with torch.no_grad():
        new = evaluate(net, after.gather(-1, at), tangents=True)
        found = evaluate(net, before, tangents=True).with_columns(index, new)
        expected = evaluate(net, before.scatter(-1, at, after.gather(-1, at)), tangents=True)
    # The products of two and of six columns may round differently.
    torch.testing.assert_close(found.rows, expected.rows)
    torch.testing.assert_close(found.out, expected.out)
    torch.testing.assert_close(found.pre, expected.pre)
    torch.testing.assert_close(found.slopes, expected.slopes)
    assert found.batch == 6


def test_the_negative_of_a_net_has_opposite_values_and_jacobians(net):
    w = normal(MODELS, net.features, BATCH)
    with torch.no_grad():
        tape, other = evaluate(net, w, tangents=True), evaluate(net.negative(), w, tangents=True)
    torch.testing.assert_close(other.out, -tape.out, rtol=0, atol=0)


def test_a_net_is_rebuilt_from_its_tensors(net):
    again = net.with_tensors(net.tensors())
    assert all(a is b for a, b in zip(again.tensors(), net.tensors(), strict=True))
    assert (again.profile, again.dense) == (net.profile, net.dense)
    assert not any(tensor.requires_grad for tensor in net.detach().tensors())


def test_dense_layers_take_all_rows_before_them_and_plain_ones_the_last():
    (dense,) = small_nets(2, "cpila", depth=3, growth=4).nets()
    assert [dense.span(layer) for layer in range(4)] == [(0, 2), (0, 6), (0, 10), (0, 14)]
    (chain,) = small_nets(2, "cpila", depth=3, growth=4, concatenation=None).nets()
    assert [chain.span(layer) for layer in range(4)] == [(0, 2), (2, 6), (6, 10), (10, 14)]


def test_an_empty_batch_has_an_empty_tape(net):
    with torch.no_grad():
        tape = evaluate(net, normal(MODELS, net.features, 0), tangents=True)
        assert tape.jacobian.shape == (MODELS, net.features, net.features, 0)
        found = sweep(net, tape, tape.out)
        assert not any(gradient.any() for gradient in gradients(net, tape, found))
