import copy

import pytest
import torch
import torch.nn.functional as F

from monotone_flow.images.lipschitz import (
    LipschitzConv2d,
    LipschitzLinear,
    LipschitzPointwise,
    update_norms,
)
from monotone_flow.images.power_iteration import Fixed
from tests.monotone_flow.images.small import normal, seeded, settle, widen

LAYERS = {
    "linear": (lambda: LipschitzLinear(5, 7, 0.9, seeded()), (5,)),
    "pointwise": (lambda: LipschitzPointwise(2, 3, 0.9, seeded()), (2, 4, 3)),
    "convolution": (lambda: LipschitzConv2d(2, 3, (4, 3), 3, 0.9, seeded()), (2, 4, 3)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS)
def case(request):
    make, shape = request.param
    return make().double(), shape


def matrix(layer, shape):
    """Return the linear part of a layer as a matrix, column by column."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    units = torch.eye(zero.numel(), dtype=torch.float64).reshape(-1, *shape)
    return (layer(units) - layer(zero)).flatten(1).T


def test_an_enlarged_layer_has_its_coefficient_as_norm(case):
    layer, shape = case
    widen(layer)
    norm = torch.linalg.matrix_norm(matrix(layer, shape), 2)
    # Power iteration stops when the norm rises by less than 1e-9 of itself.
    torch.testing.assert_close(norm, torch.full_like(norm, 0.9), rtol=1e-5, atol=0)


def test_a_small_layer_is_left_as_it_is(case):
    layer, _ = case
    with torch.no_grad():
        layer.weight.mul_(1e-3)
    settle(layer)
    assert torch.equal(layer.normalised(), layer.weight)


def test_sigma_never_exceeds_the_norm_of_the_padded_operator(case):
    layer, shape = case
    plain = copy.deepcopy(layer)
    with torch.no_grad():
        plain.weight.mul_(0.01)  # so that nothing is divided
    norm = torch.linalg.matrix_norm(matrix(plain, shape), 2)
    for _ in range(6):
        assert plain.sigma() <= norm * (1 + 1e-12)  # rounding
        plain.update(Fixed(1))


def test_the_norm_of_a_convolution_is_not_that_of_its_flattened_kernel():
    layer = widen(LipschitzConv2d(2, 3, (4, 3), 3, 0.9, seeded()).double())
    flat = torch.linalg.matrix_norm(layer.normalised().flatten(1), 2)
    assert abs(flat - 0.9) > 0.05


def test_operate_and_adjoint_are_transposes(case):
    layer, _ = case
    v, u = normal(*layer.v.shape, seed=1), normal(*layer.u.shape, seed=2)
    forward = (u * layer.operate(v, layer.weight)).sum()
    torch.testing.assert_close(forward, (v * layer.adjoint(u, layer.weight)).sum())


def test_the_gradient_flows_through_sigma_with_u_and_v_constant(case):
    layer, _ = case
    widen(layer)
    weight = layer.weight.detach().clone().requires_grad_()
    sigma = (layer.u * layer.operate(layer.v, weight)).sum()
    probe = normal(*layer.weight.shape, seed=3)
    (expected,) = torch.autograd.grad((probe * weight * 0.9 / sigma).sum(), weight)
    (found,) = torch.autograd.grad((probe * layer.normalised()).sum(), layer.weight)
    torch.testing.assert_close(found, expected)
    # Along W the normalised weights do not change.
    along = (found * layer.weight).sum()
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-10)


def test_evaluation_training_and_backward_leave_the_vectors_alone(case):
    layer, shape = case
    before = copy.deepcopy(layer.state_dict())
    layer.train()(normal(2, *shape)).square().sum().backward()
    layer.eval()(normal(2, *shape))
    after = layer.state_dict()
    assert torch.equal(after["u"], before["u"])
    assert torch.equal(after["v"], before["v"])


def test_an_update_between_the_passes_does_no_harm_to_the_backward_one(case):
    layer, shape = case
    widen(layer)
    x = normal(2, *shape)
    layer(x).sum().backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    y = layer(x).sum()
    layer.update(Fixed(1))
    y.backward()
    torch.testing.assert_close(layer.weight.grad, expected)


def test_the_vectors_are_saved_and_restored(case):
    layer, shape = case
    fresh = copy.deepcopy(layer)
    layer.update(Fixed(3))
    assert not torch.equal(fresh.sigma(), layer.sigma())
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(normal(2, *shape)), layer(normal(2, *shape)))


def test_pointwise_is_the_1x1_convolution():
    layer = LipschitzPointwise(2, 3, 0.9, seeded()).double()
    x = normal(2, 2, 4, 3)
    expected = F.conv2d(x, layer.normalised()[:, :, None, None], layer.bias)
    torch.testing.assert_close(layer(x), expected)


def test_updating_a_model_updates_every_layer():
    model = torch.nn.Sequential(LipschitzLinear(3, 4), LipschitzLinear(4, 3)).double()
    before = [layer.sigma().item() for layer in model]
    assert update_norms(model, Fixed(5)) == 5
    assert all(layer.sigma() > old for layer, old in zip(model, before, strict=True))
    assert update_norms(torch.nn.Linear(2, 2)) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.0"):
        LipschitzLinear(2, 2, 1.0)
    with pytest.raises(ValueError, match="odd kernel, got 2"):
        LipschitzConv2d(1, 1, (4, 4), 2)
    with pytest.raises(ValueError, match=r"made for images of \(4, 4\), got \(5, 4\)"):
        LipschitzConv2d(1, 1, (4, 4))(torch.zeros(1, 1, 5, 4))
