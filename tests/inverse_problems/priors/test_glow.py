"""The architecture of Glow: sizes, starts, latents."""

import pytest
import torch
from torch import Tensor, nn

from common.bijections.actnorm import ActNorm
from common.errors import UserError
from common.flows.flow import Flow
from inverse_problems.priors.frozen_conv import FrozenConv1x1
from inverse_problems.priors.glow import Architecture, glow
from inverse_problems.priors.glow_net import GlowAffine, GlowNet, Standardise, ZeroConv

SMALL = Architecture(levels=2, steps=2, last_steps=2, width=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(n: int, seed: int = 1) -> Tensor:
    return 16 * torch.rand(n, 1, 8, 8, generator=generator(seed), dtype=torch.float64)


def started(cfg: Architecture) -> Flow:
    """Return a flow whose norms have seen a batch, with couplings that do something."""
    flow = glow((1, 8, 8), cfg, 16, generator()).double()
    flow.train().log_prob(pixels(64))
    for net in flow.modules():
        if isinstance(net, ZeroConv):
            nn.init.normal_(net.weight, std=0.1, generator=generator(2))
    return flow.eval()


def size(steps: int, last_steps: int) -> int:
    """Return the trained numbers of a flow of 64 pixels with four levels of 512 channels."""
    flow = glow((3, 64, 64), Architecture(steps=steps, last_steps=last_steps))
    return sum(p.numel() for p in flow.parameters())


def expected_step(channels: int, width: int = 512) -> int:
    """Return the trained numbers of one flow step."""
    first, second, last = 9 * channels // 2 * width, width * width, 9 * width * channels
    norms = 2 * channels + 2 * (2 * width)
    return norms + channels * channels + first + second + last + 2 * channels


def test_the_published_sizes_have_the_published_numbers_of_parameters():
    # Not built in full: a step more adds one at each of the three levels that have K of them.
    small = size(1, 1)
    three, last = size(2, 1) - small, size(1, 2) - small
    assert three == sum(expected_step(channels) for channels in (12, 24, 48))
    assert last == expected_step(96)
    assert small == three + last
    for last_steps, millions in ((1, 66.9), (48, 110.9)):
        found = 48 * three + last_steps * last
        # The counts on record are of networks that have a bias in place of each norm's scale and
        # shift, which are as many numbers less as there are scales.
        assert (found - (3 * 48 + last_steps) * 2 * 512) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_first_batch_starts_all_norms_and_only_that():
    flow = glow((1, 8, 8), SMALL, 16, generator()).double()
    norms = [m for m in flow.modules() if isinstance(m, ActNorm)]
    assert len(norms) == 3 * 4  # of each step: its own, and two of its network
    flow.eval().log_prob(pixels(9))
    assert not any(bool(norm.initialised) for norm in norms)
    flow.train().log_prob(pixels(9))
    before = [norm.log_scale.clone() for norm in norms]
    assert all(bool(norm.initialised) for norm in norms)
    flow.log_prob(pixels(9, seed=5))
    assert all(torch.equal(norm.log_scale, b) for norm, b in zip(norms, before, strict=True))


def test_a_loaded_flow_does_not_start_its_norms_again():
    flow = started(SMALL)
    saved = flow.state_dict()
    assert sum(name.endswith("initialised") for name in saved) == 12
    fresh = glow((1, 8, 8), SMALL, 16, generator(7)).double()
    fresh.load_state_dict(saved)
    x = pixels(5, seed=8)
    torch.testing.assert_close(fresh.train().log_prob(x), flow.log_prob(x))
    assert all(torch.equal(a, saved[name]) for name, a in fresh.state_dict().items())


def test_an_untrained_state_loaded_into_a_started_network_waits_for_a_batch():
    net = GlowNet(2, 4, width=8, generator=generator())
    fresh = net.state_dict()
    kept = {name: tensor.clone() for name, tensor in fresh.items()}
    x = 3 + torch.randn(20, 2, 4, 4, generator=generator(1))
    net.train()(x)
    shift = net.first_norm.shift.clone()
    net.load_state_dict(kept)
    net(x)
    assert bool(net.first_norm.initialised)
    torch.testing.assert_close(net.first_norm.shift, shift)


def test_the_network_normalises_what_its_hidden_layers_give():
    net = GlowNet(2, 4, width=8, generator=generator()).double()
    x = 3 + torch.randn(50, 2, 4, 4, generator=generator(1), dtype=torch.float64)
    net.train()(x)
    hidden = net.first_norm.forward_and_logdet(net.first(x))[0]
    torch.testing.assert_close(hidden.mean((0, 2, 3)), torch.zeros(8).double())
    # The norm adds 1e-6 to a variance of (0.01 * 3)^2 and more.
    torch.testing.assert_close(hidden.std((0, 2, 3)), torch.ones(8).double(), rtol=1e-2, atol=0)


def test_convolution_and_norm_in_one_are_the_two_in_turn():
    net = GlowNet(3, 4, width=8, generator=generator()).double()
    x = torch.randn(6, 3, 4, 4, generator=generator(1), dtype=torch.float64)
    net.train()(x)
    nn.init.normal_(net.last.weight, generator=generator(2))
    nn.init.normal_(net.last.bias, generator=generator(3))
    nn.init.normal_(net.last.log_scale, std=0.2, generator=generator(4))
    h = x
    for conv, norm in ((net.first, net.first_norm), (net.second, net.second_norm)):
        h = norm.forward_and_logdet(conv(h))[0].relu()
    scale = (3 * net.last.log_scale).exp()[:, None, None]
    expected = nn.functional.conv2d(h, net.last.weight, net.last.bias, padding=1) * scale
    torch.testing.assert_close(net.eval()(x), expected)


def test_new_couplings_give_scale_sigmoid_of_two_and_no_shift():
    net = GlowNet(2, 4, width=8, generator=generator()).eval()
    assert net(torch.randn(3, 2, 4, 4, generator=generator())).count_nonzero() == 0
    y, log_slope = GlowAffine().forward(torch.ones(1), torch.zeros(1, 2))
    torch.testing.assert_close(y, torch.tensor([2.0]).sigmoid())
    torch.testing.assert_close(log_slope, torch.tensor([2.0]).sigmoid().log())


def test_the_bias_bounds_the_scale_from_below():
    raw = torch.tensor([[-1e3, 0.0]])
    assert GlowAffine(0.1).forward(torch.ones(1), raw)[0].item() == pytest.approx(0.1)
    assert GlowAffine(0.1).inverse(torch.ones(1), raw)[0].item() == pytest.approx(10)
    assert GlowAffine().forward(torch.ones(1), raw)[0].item() == 0
    with pytest.raises(ValueError, match="at least 0"):
        GlowAffine(-0.1)


def test_a_learned_split_makes_zero_latents_of_zero_standardised_residual():
    raw = torch.tensor([0.7, -3.0])
    x = Standardise().inverse(torch.zeros(1), raw[None])[0]
    assert x.item() == -3
    generator_ = generator()
    draws = -3 + torch.randn(20_000, generator=generator_).double() * torch.tensor(0.7).exp()
    y, log_slope = Standardise().forward(draws, raw.double().expand(20_000, 2))
    assert y.mean().abs() < 4 / 20_000**0.5
    assert y.std().item() == pytest.approx(1, abs=4 / 40_000**0.5)
    assert log_slope[0].item() == pytest.approx(-0.7)
    flow = started(Architecture(levels=2, steps=1, width=8, split="learned"))
    z = torch.zeros(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(flow.bijection.forward_and_logdet(flow.bijection.inverse(z))[0], z)


@pytest.mark.parametrize("cfg", [SMALL, Architecture(2, 2, 2, 8, "additive", split="learned")])
def test_a_glow_inverts_itself_in_float32_and_float64(cfg):
    flow = started(cfg)
    x = pixels(7, seed=3)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        flow.to(dtype)
        z = flow.bijection.forward_and_logdet(x.to(dtype))[0]
        back = flow.bijection.inverse(z)
        assert (back - x.to(dtype)).abs().max() < tolerance * 16


def test_the_latents_of_a_level_are_half_of_its_channels():
    flow = glow((3, 16, 16), Architecture(levels=3, steps=1, last_steps=2, width=4), 32)
    convolutions = [m for m in flow.modules() if isinstance(m, FrozenConv1x1)]
    assert [len(c.weight) for c in convolutions] == [12, 24, 48, 48]


def test_a_kept_inverse_follows_the_weight():
    conv = FrozenConv1x1(4, generator()).double().requires_grad_(False)
    z = torch.randn(2, 4, 3, 3, generator=generator(1), dtype=torch.float64)

    def error() -> float:
        return (conv.forward_and_logdet(conv.inverse(z))[0] - z).abs().max().item()

    assert error() < 1e-14
    kept = conv._inverse()
    assert conv._inverse() is kept
    conv.weight.mul_(2)
    assert error() < 1e-14
    conv.load_state_dict(FrozenConv1x1(4, generator(5)).double().state_dict())
    assert error() < 1e-14
    conv.weight.data = 3 * conv.weight.data
    assert error() < 1e-14
    conv.float()
    assert conv.inverse(z.float()).dtype == torch.float32


def test_the_inverse_of_a_free_weight_has_a_gradient():
    conv = FrozenConv1x1(3, generator()).double()
    z = torch.randn(2, 3, 2, 2, generator=generator(1), dtype=torch.float64)
    with torch.no_grad():
        conv.inverse(z)  # keeps an inverse
    conv.inverse(z).square().sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["levels", "steps", "last_steps", "width"])
def test_sizes_must_be_positive(name):
    with pytest.raises(UserError, match=f"expected {name} >= 1, got 0"):
        glow((1, 8, 8), Architecture(**{name: 0}))  # type: ignore[arg-type]


def test_an_image_that_cannot_be_halved_so_often_is_refused():
    with pytest.raises(UserError, match=r"3 levels .* 28 x 28"):
        glow((1, 28, 28), Architecture(levels=3))


def test_a_loaded_network_takes_the_same_path_as_the_one_it_was_saved_from():
    one, other = (glow((1, 8, 8), SMALL, 16, generator()) for _ in range(2))
    for flow in (one, other):
        flow.train()
    one.log_prob(pixels(9).float())
    other.load_state_dict(one.state_dict())
    found = []
    for flow in (one, other):
        (-flow.log_prob(pixels(9).float()).mean()).backward()
        found.append([p.grad for p in flow.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
