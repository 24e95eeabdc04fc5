import pytest
import torch

from monotone_flow.activations import CPila, LipSwish
from monotone_flow.images.architectures import Dense, Plain
from monotone_flow.images.lipschitz import LipschitzLinear
from monotone_flow.images.nets import Concatenation, DenseNet, PlainNet, learn_concatenation
from tests.monotone_flow.images.small import ARCHITECTURES, SHAPE, SMALL, normal, seeded, widen


@pytest.fixture(params=ARCHITECTURES.values(), ids=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture(params=["image", "vector"])
def case(request, architecture):
    if request.param == "image":
        return architecture.image(SHAPE, False, seeded()).double(), SHAPE
    return architecture.vector(6, seeded()).double(), (6,)


def steepest(net, x):
    """Return the largest singular value of the Jacobian over the samples x."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda v: net(v[None])[0].flatten()))(x)
    return torch.linalg.matrix_norm(jacobians.flatten(2), 2).max()


def test_no_slope_exceeds_the_bound(case):
    net, shape = case
    widen(net)
    x = 3 * normal(20, *shape)
    assert steepest(net, x) <= net.lipschitz()


def test_the_published_bounds_of_both_networks():
    assert Dense().image((3, 8, 8), False, None).lipschitz() == pytest.approx(0.98**4)
    assert Dense().vector(6, None).lipschitz() == pytest.approx(0.98**5)
    assert Plain(width=4).image((3, 8, 8), False, None).lipschitz() == pytest.approx(0.98**3)


def test_a_dense_net_concatenates_weighted_features():
    net = SMALL.image(SHAPE, False, seeded()).double()
    with torch.no_grad():
        for i, part in enumerate(net.concatenations):
            part.k.copy_(torch.tensor([0.3 + i, -0.2]))
    widen(net)
    x = normal(3, *SHAPE)
    h = x
    for layer, activation, part in zip(
        net.hidden, net.activations, net.concatenations, strict=True
    ):
        a, b = part.shares()
        h = torch.cat((a * h, b * activation(layer(h))), -3)
    torch.testing.assert_close(net(x), net.last(h))


def test_what_is_added_to_the_activations_is_weighted_like_them():
    net = SMALL.image(SHAPE, False, seeded()).double()
    x, extra = normal(3, *SHAPE), [normal(3, 8, 4, 4, seed=i) for i in (1, 2)]
    h = x
    for i, layer in enumerate(net.hidden):
        a, b = net.concatenations[i].shares()
        h = torch.cat((a * h, b * (net.activations[i](layer(h)) + extra[i])), -3)
    torch.testing.assert_close(net.bind(extra)(x), net.last(h))


def test_concatenation_starts_with_equal_halves_and_norm_lip():
    shares = Concatenation(0.98).double().shares()
    torch.testing.assert_close(shares, torch.full_like(shares, 0.98 / 2**0.5))


def test_frozen_shares_get_no_gradient_until_they_are_freed():
    net = SMALL.image(SHAPE, False, seeded()).double()
    learn_concatenation(net, False)
    net(normal(2, *SHAPE)).sum().backward()
    assert all(part.k.grad is None for part in net.concatenations)
    learn_concatenation(net, True)
    net(normal(2, *SHAPE)).sum().backward()
    assert all(part.k.grad.abs().sum() > 0 for part in net.concatenations)


def test_gradients_reach_every_parameter(case):
    net, shape = case
    net(normal(4, *shape)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_bound_network_lists_all_that_its_result_depends_on(case):
    net, shape = case
    widen(net)
    bound = net.bind()
    y = bound(normal(4, *shape)).square().sum()
    gradients = torch.autograd.grad(y, bound.tensors, retain_graph=True)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    # Through them alone the gradient reaches every parameter.
    torch.autograd.backward(bound.tensors, gradients)
    found = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    net(normal(4, *shape)).square().sum().backward()
    for a, b in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)


def test_a_plain_net_may_begin_with_an_activation():
    layers = [LipschitzLinear(3, 4, 0.9, seeded(i)) for i in (0,)]
    layers.append(LipschitzLinear(4, 3, 0.9, seeded(1)))
    x = normal(2, 3)
    first, second = LipSwish(), LipSwish()
    after = PlainNet(layers, [first]).double()
    torch.testing.assert_close(after(x), layers[1](first(layers[0](x))))
    before = PlainNet(layers, [first, second]).double()
    torch.testing.assert_close(before(x), layers[1](second(layers[0](first(x)))))


def test_what_does_not_fit_is_refused():
    layers = [LipschitzLinear(3, 3)]
    with pytest.raises(ValueError, match="got 2 and 1 layers"):
        PlainNet(layers, [LipSwish(), LipSwish()])
    with pytest.raises(ValueError, match=r"at most 1, got 1\.1"):
        DenseNet(None, layers, LipschitzLinear(9, 3), [CPila()], 1.1, -1)
    with pytest.raises(ValueError, match="even growth for cpila, got 7"):
        Dense(growth=7).image(SHAPE, False, None)
    with pytest.raises(ValueError, match="cpila doubles the channels"):
        Plain("cpila").image(SHAPE, False, None)
