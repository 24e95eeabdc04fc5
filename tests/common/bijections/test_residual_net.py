import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.residual_net import (
    ResidualBlock,
    ResidualNet,
    ResMADE,
    StackedBatchNorm,
    StackedLinear,
)

K, B, D, P = 3, 6, 5, 2


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stir(module: nn.Module, seed: int = 0) -> nn.Module:
    """Move all parameters and statistics away from their start, in float64."""
    module = module.double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5, generator=generator)
        for part in module.modules():
            if isinstance(part, StackedBatchNorm):
                part.mean.normal_(generator=generator)
                part.var.uniform_(0.5, 2.0, generator=generator)
    return module


def slice_of(module: nn.Module, k: int) -> dict[str, Tensor]:
    return {name: tensor[k] for name, tensor in module.state_dict().items()}


# Linear layers


@pytest.mark.parametrize("batch", [(B,), (2, B)])
def test_each_model_applies_its_own_affine_map(batch: tuple[int, ...]):
    layer = stir(StackedLinear(D, 4, (K,)))
    if len(batch) == 2:  # more than one leading dimension of models
        layer = stir(StackedLinear(D, 4, (K, 2)))
    x = normal(K, *batch, D)
    y = layer(x)
    for k in range(K):
        weight, bias = layer.weight[k], layer.bias[k]
        expected = x[k] @ weight.mT + bias.unsqueeze(-2)
        torch.testing.assert_close(y[k], expected)


def test_a_single_model_takes_any_leading_dimensions():
    layer = stir(StackedLinear(D, 4))
    x = normal(2, 3, B, D)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert layer(x[:, :, :0]).shape == (2, 3, 0, 4)


def test_masked_weights_neither_count_nor_learn():
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).double()
    layer = stir(StackedLinear(2, 3, (K,), mask))
    x = normal(K, B, 2)
    y = layer(x)
    torch.testing.assert_close(y[..., 0], x[..., 0] * layer.weight[:, :1, 0] + layer.bias[:, :1])
    y.square().sum().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    assert torch.equal(gradient != 0, (mask != 0).expand(K, 3, 2))


def test_the_start_is_uniform_within_the_root_of_the_fan_in():
    weight = StackedLinear(16, 400, (2,)).weight.detach()
    assert weight.abs().max() <= 0.25
    # The deviation of 12,800 uniform numbers is known to about 0.5 %.
    assert weight.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.03)


# Batch norm


def test_batch_norm_is_that_of_torch_for_each_model():
    norm = StackedBatchNorm(D, (K,)).double()
    with torch.no_grad():
        norm.weight.copy_(normal(K, D))
        norm.bias.copy_(normal(K, D, seed=1))
    peers = []
    for k in range(K):
        peer = nn.BatchNorm1d(D, eps=1e-3).double()
        peer.load_state_dict(
            {"weight": norm.weight[k], "bias": norm.bias[k]}, strict=False, assign=True
        )
        peers.append(peer)
    for step in range(3):
        x = 2 + 3 * normal(K, B, D, seed=2 + step)
        y = norm(x)
        for k, peer in enumerate(peers):
            torch.testing.assert_close(y[k], peer(x[k]))
            torch.testing.assert_close(norm.mean[k], peer.running_mean)
            torch.testing.assert_close(norm.var[k], peer.running_var)
    norm.eval()
    x = normal(K, B, D, seed=9)
    for k, peer in enumerate(peers):
        torch.testing.assert_close(norm(x)[k], peer.eval()(x[k]))


def test_in_evaluation_the_running_statistics_stay_and_items_do_not_mix():
    norm = stir(StackedBatchNorm(D, (K,))).eval()
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    x = normal(K, B, D)
    # Sums of different length round differently.
    torch.testing.assert_close(norm(x)[:, :1], norm(x[:, :1]))
    assert norm(x[:, :0]).shape == (K, 0, D)
    for name, tensor in norm.state_dict().items():
        assert torch.equal(tensor, before[name])


# Residual nets


def test_a_block_starts_near_the_identity():
    block = ResidualBlock(8, 0.0, False, (K,)).double()
    x = normal(K, B, 8)
    inner = F.relu(block.first(F.relu(x)))
    # Eight weights and a bias of at most 1e-3 each.
    assert bool(((block(x) - x).abs() <= 1e-3 * (inner.sum(-1, keepdim=True) + 1)).all())
    assert not torch.equal(block(x), x)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_stack_is_its_models_side_by_side(training: bool, batch_norm: bool):
    nets = (
        lambda models: ResidualNet(D, P, 8, 2, batch_norm=batch_norm, models=models),
        lambda models: ResMADE(D, P, 8, 2, batch_norm=batch_norm, models=models),
    )
    for make in nets:
        stacked = stir(make((K,))).train(training)
        start = stacked.state_dict()
        alone = [make(()).double().train(training) for _ in range(K)]
        for k, net in enumerate(alone):
            net.load_state_dict({name: tensor[k] for name, tensor in start.items()})
        x = normal(K, B, D)
        y = stacked(x)
        for k, net in enumerate(alone):
            torch.testing.assert_close(y[k], net(x[k]))
            for name, tensor in net.state_dict().items():  # running statistics too
                torch.testing.assert_close(slice_of(stacked, k)[name], tensor)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_of_one_model_touch_no_other(batch_norm: bool):
    net = stir(ResidualNet(D, P, 8, 2, batch_norm=batch_norm, models=(K,)))
    x = normal(K, B, D).requires_grad_()
    net(x)[1].square().sum().backward()
    for name, tensor in [*net.named_parameters(), ("x", x)]:
        gradient = tensor.grad
        assert gradient is not None
        assert bool((gradient[[0, 2]] == 0).all()), name
    # A bias ahead of a norm has no effect, every other number has.
    assert all(
        bool((p.grad[1] != 0).any())
        for name, p in net.named_parameters()
        if p.grad is not None and not (batch_norm and name.endswith("first.bias"))
    )


def test_dropout_is_a_function_of_the_global_seed_and_of_training():
    net = stir(ResidualNet(D, P, 64, 1, dropout=0.5, models=(K,)))
    x = normal(K, B, D)

    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return net(x)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
    # Models and items draw apart: equal models and equal items give different numbers.
    for parameter in net.parameters():
        parameter.data = parameter.data[:1].expand_as(parameter).clone()
    same = net(x[:1, :1].expand(K, B, D))
    assert len(same[..., 0].unique()) == K * B
    net.eval()
    assert torch.equal(net(x), net(x))


# ResMADE


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("features", [2, 3, 5])
def test_outputs_of_a_feature_see_every_feature_before_it_and_none_after(
    features: int, batch_norm: bool
):
    net = stir(ResMADE(features, P, 4 * features, 2, batch_norm=batch_norm)).eval()
    x = normal(1, features)
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v[None])[0], x[0])
    used = (jacobian != 0).unflatten(0, (P, features))  # (parameter, of feature, by feature)
    before = torch.ones(features, features).tril(-1).bool()
    assert torch.equal(used, before.expand(P, features, features))


def test_a_single_feature_has_free_constants():
    net = stir(ResMADE(1, P, 8))
    out = net(normal(B, 1))
    assert torch.equal(out, net.last.bias.expand(B, P))


def test_the_parameter_index_comes_first():
    net = stir(ResMADE(3, P, 12))
    x = normal(2, 3)
    x[1, 2] = x[0, 2] + 1
    x[1, :2] = x[0, :2]
    assert torch.equal(*net(x))  # nothing sees the last feature
    moved = net(x + torch.tensor([0.0, 1.0, 0.0]).double()) - net(x)
    # Only feature 2 sees feature 1; its P numbers lie D apart.
    expected = torch.tensor([False, False, True]).repeat(P).expand(2, -1)
    assert torch.equal(moved != 0, expected)


@pytest.mark.parametrize("models", [(), (3,)])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_the_single_step_gives_the_values_and_gradients_of_layer_by_layer(models, blocks):
    torch.manual_seed(0)
    net = ResidualNet(5, 7, 8, blocks, models=models).double()
    for block in net.blocks:
        block.second.start(0.5)  # near zero at the start, where nothing would be seen
    x = torch.randn(*models, 6, 5, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(*models, 6, 7, dtype=torch.float64)

    def layer_by_layer():
        h = net.first(x)
        for block in net.blocks:
            h = block(h)
        return net.last(h)

    tensors = (x, *net.parameters())
    found = torch.autograd.grad((net(x) * cotangent).sum(), tensors)
    expected = torch.autograd.grad((layer_by_layer() * cotangent).sum(), tensors)
    torch.testing.assert_close(net(x), layer_by_layer())
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_resmade_too_narrow_for_its_features_is_refused():
    with pytest.raises(ValueError, match="expected at least 9 hidden units"):
        ResMADE(10, 2, 8)


def test_a_batch_of_one_leaves_the_running_variance_finite():
    norm = StackedBatchNorm(3).train()
    norm(torch.randn(1, 3))
    assert norm.var.isfinite().all()
