import copy

import pytest
import torch
from torch import Tensor, nn

from common.bijections.conditional import Autoregressive, Coupling
from common.bijections.conv_conditioner import ConvConditioner
from common.bijections.registry import randomise
from common.bijections.residual_net import ResidualNet, ResMADE
from common.bijections.splines import LinearRational
from common.bijections.transformer import SigmoidAffine, Transformer

K, B, C = 3, 4, 5
# Of five features, those of even index are changed: 0, 2 and 4.
CHANGED = torch.arange(C) % 2 == 0
SPLINE = LinearRational(4)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coupling(
    transformer: Transformer = SPLINE, *, free: bool = False, models: tuple[int, ...] = ()
) -> Coupling:
    net = ResidualNet(2, 3 * transformer.parameters, 8, 1, models=models)
    made = Coupling(
        CHANGED, net, transformer, unconditional=SPLINE if free else None, models=models
    )
    randomise(made)
    return made.double()


def image_coupling(free: bool) -> Coupling:
    net = ConvConditioner(2, SPLINE.parameters, 4, 1)
    mask = torch.tensor([False, True, False])
    made = Coupling(mask, net, SPLINE, unconditional=SPLINE if free else None, event_dims=3)
    randomise(made)
    return made.double()


def autoregressive(features: int = 4, models: tuple[int, ...] = ()) -> Autoregressive:
    net = ResMADE(features, SPLINE.parameters, 16, 1, models=models)
    made = Autoregressive(net, SPLINE, features)
    randomise(made)
    return made.double()


class Fixed(nn.Module):
    """Give the same numbers to all items, and remember what came."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = numbers
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.numbers.expand(*x.shape[:-1], -1)


# Couplings


@pytest.mark.parametrize("mask", ["0011", "1100", "0001", "1000", "0110", "1001", "0101"])
def test_channels_stay_where_they_are_whether_they_lie_together_or_not(mask: str):
    changed = torch.tensor([digit == "1" for digit in mask])
    moved = int(changed.sum())
    numbers = normal(SPLINE.parameters * moved, seed=1)
    net = Fixed(numbers)
    layer, x = Coupling(changed, net, SPLINE), normal(B, 4)
    expected = x.clone()
    raw = numbers.unflatten(0, (SPLINE.parameters, moved)).T.expand(B, -1, -1)
    expected[:, changed] = SPLINE.forward(x[:, changed], raw)[0]
    z, _ = layer.forward_and_logdet(x)
    assert torch.equal(z, expected)
    assert torch.equal(net.seen[0], x[:, ~changed])
    torch.testing.assert_close(layer.inverse_and_logdet(z)[0], x, rtol=0, atol=1e-11)


@pytest.mark.parametrize("free", [False, True])
def test_a_coupling_comes_back_and_its_log_determinant_is_that_of_autograd(free: bool):
    for layer, x in (
        (coupling(free=free), normal(B, C)),
        (image_coupling(free), normal(B, 3, 2, 2)),
    ):
        z, logdet = layer.forward_and_logdet(x)
        back, inverse = layer.inverse_and_logdet(z)
        # The inverse of a bin whose slope is 1e-3 has an error a thousand times the rounding.
        torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
        torch.testing.assert_close(inverse, -logdet, rtol=0, atol=1e-9)
        for item, claimed in zip(x, logdet, strict=True):
            flat = torch.autograd.functional.jacobian(
                lambda v, layer=layer: layer.forward_and_logdet(v[None])[0].flatten(), item
            ).flatten(1)
            torch.testing.assert_close(torch.linalg.slogdet(flat).logabsdet, claimed)


def test_without_an_unconditional_part_the_kept_features_stay():
    x = normal(B, C)
    z, _ = coupling().forward_and_logdet(x)
    assert torch.equal(z[:, ~CHANGED], x[:, ~CHANGED])
    assert bool((z[:, CHANGED] != x[:, CHANGED]).any(0).all())


@pytest.mark.parametrize("free", [False, True])
def test_a_changed_feature_sees_itself_and_all_kept_ones(free: bool):
    layer = coupling(free=free)
    x = 0.5 * normal(C)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: layer.forward_and_logdet(v[None])[0][0], x
    )
    expected = torch.eye(C).bool()
    expected[CHANGED.nonzero(), ~CHANGED] = True
    assert torch.equal(jacobian != 0, expected)


def test_the_conditioner_sees_the_kept_features_ahead_of_their_own_map():
    net = Fixed(SigmoidAffine().identity().double().repeat_interleave(3))
    layer = Coupling(CHANGED, net, SigmoidAffine(), unconditional=SPLINE).double()
    x = normal(B, C)
    z, _ = layer.forward_and_logdet(x)
    assert not torch.equal(z[:, ~CHANGED], x[:, ~CHANGED])
    layer.inverse_and_logdet(z)
    torch.testing.assert_close(net.seen[0], x[:, ~CHANGED], rtol=0, atol=0)
    torch.testing.assert_close(net.seen[1], x[:, ~CHANGED])


def test_outputs_of_the_conditioner_are_ordered_by_parameter_first():
    raw_scales, shifts = [0.1, 0.2, 0.3], [10.0, 20.0, 30.0]
    net = Fixed(torch.tensor([*raw_scales, *shifts], dtype=torch.float64))
    layer = Coupling(CHANGED, net, SigmoidAffine())
    x = normal(B, C)
    z, logdet = layer.forward_and_logdet(x)
    scales = torch.sigmoid(torch.tensor(raw_scales, dtype=torch.float64) + 2) + 1e-3
    torch.testing.assert_close(z[:, CHANGED], x[:, CHANGED] * scales + torch.tensor(shifts))
    torch.testing.assert_close(logdet, scales.log().sum().expand(B))


def test_free_parameters_start_uniform_on_the_unit_interval():
    net = ResidualNet(2, 3 * SPLINE.parameters, 8, 1, models=(K,))
    raw = Coupling(CHANGED, net, SPLINE, unconditional=SPLINE, models=(K,)).raw
    assert raw.shape == (K, 2, SPLINE.parameters)
    assert 0 <= raw.min() < 0.2  # of 90 numbers; above 0.2 with probability 2e-9
    assert 0.8 < raw.max() < 1


@pytest.mark.parametrize("free", [False, True])
def test_stacked_couplings_are_their_models_side_by_side(free: bool):
    stacked = coupling(free=free, models=(K,))
    x = normal(K, B, C)
    z, logdet = stacked.forward_and_logdet(x)
    back, inverse = stacked.inverse_and_logdet(z)
    for k in range(K):
        alone = coupling(free=free)
        alone.load_state_dict({name: t[k] for name, t in stacked.state_dict().items()})
        for both in (
            zip((z[k], logdet[k]), alone.forward_and_logdet(x[k]), strict=True),
            zip((back[k], inverse[k]), alone.inverse_and_logdet(z[k]), strict=True),
        ):
            for ours, theirs in both:
                torch.testing.assert_close(ours, theirs)


def test_gradients_of_one_stacked_coupling_touch_no_other():
    stacked = coupling(free=True, models=(K,))
    x = normal(K, B, C).requires_grad_()
    z, logdet = stacked.forward_and_logdet(x)
    (z[1].square().sum() + logdet[1].sum()).backward()
    for name, tensor in [*stacked.named_parameters(), ("x", x)]:
        assert tensor.grad is not None, name
        assert bool((tensor.grad[[0, 2]] == 0).all()), name
        assert bool((tensor.grad[1] != 0).any()), name


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (torch.tensor([1, 0]), "expected a bool mask"),
        (torch.tensor([[True, False]]), "expected a bool mask"),
        (torch.tensor([True, True]), "must keep some channels and change some"),
        (torch.tensor([False, False]), "must keep some channels and change some"),
    ],
)
def test_a_mask_that_divides_nothing_is_refused(mask: Tensor, expected: str):
    with pytest.raises(ValueError, match=expected):
        Coupling(mask, nn.Identity(), SPLINE)


def test_a_copy_of_a_coupling_in_another_dtype_is_its_own():
    layer = coupling(free=True)
    single = copy.deepcopy(layer).float()
    x = normal(B, C)
    torch.testing.assert_close(
        single.forward_and_logdet(x.float())[0].double(),
        layer.forward_and_logdet(x)[0],
        rtol=0,
        atol=1e-4,  # float32, through narrow bins
    )
    assert layer.raw.dtype == torch.float64


# Autoregressive layers


def test_an_autoregressive_layer_comes_back_and_is_triangular():
    layer = autoregressive()
    x = normal(B, 4)
    z, logdet = layer.forward_and_logdet(x)
    back, inverse = layer.inverse_and_logdet(z)
    # Errors grow from feature to feature, by the slopes of the maps.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(inverse, -logdet, rtol=0, atol=1e-8)
    jacobian = torch.autograd.functional.jacobian(
        lambda v: layer.forward_and_logdet(v[None])[0][0], 0.5 * x[0]
    )
    assert torch.equal(jacobian != 0, torch.ones(4, 4).tril().bool())
    torch.testing.assert_close(
        jacobian.diagonal().log().sum(), layer.forward_and_logdet(0.5 * x[:1])[1][0]
    )


def test_forward_asks_the_conditioner_once_and_the_inverse_once_for_each_feature():
    net = Fixed(SPLINE.identity().double().repeat_interleave(4))
    layer = Autoregressive(net, SPLINE, 4)
    layer.forward_and_logdet(normal(B, 4))
    assert len(net.seen) == 1
    layer.inverse_and_logdet(normal(B, 4))
    assert len(net.seen) == 5


def test_stacked_autoregressive_layers_are_their_models_side_by_side():
    stacked = autoregressive(models=(K,))
    x = normal(K, B, 4)
    z, logdet = stacked.forward_and_logdet(x)
    back = stacked.inverse(z)
    for k in range(K):
        alone = autoregressive()
        alone.load_state_dict({name: t[k] for name, t in stacked.state_dict().items()})
        ours = alone.forward_and_logdet(x[k])
        torch.testing.assert_close((z[k], logdet[k]), ours)
        torch.testing.assert_close(back[k], alone.inverse(z[k]))


def test_one_feature_is_mapped_by_free_parameters():
    layer = autoregressive(1)
    x = torch.linspace(-2.9, 2.9, 50, dtype=torch.float64)[:, None]
    z, _ = layer.forward_and_logdet(x)
    assert bool((z.diff(dim=0) > 0).all())
    torch.testing.assert_close(layer.inverse(z), x, rtol=0, atol=1e-11)
