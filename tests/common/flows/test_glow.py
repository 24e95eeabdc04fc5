import math

import pytest
import torch
from torch import nn

from common.bijections.actnorm import ActNorm
from common.bijections.additive import Additive
from common.bijections.conditional import Coupling
from common.bijections.conv1x1 import FullConv1x1, LUConv1x1
from common.bijections.elementwise import Rescale
from common.bijections.registry import randomise
from common.bijections.splines import LinearRational, RationalQuadratic
from common.bijections.split import OnFirstHalf
from common.bijections.transformer import SigmoidAffine
from common.errors import UserError
from common.flows.glow import image_flow

SHAPE = (2, 4, 4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(**options):
    settings = {
        "levels": 2,
        "steps": 2,
        "channels": 4,
        "blocks": 1,
        "transformer": LinearRational(3),
        "generator": seeded(),
    }
    return image_flow(SHAPE, **(settings | options))


def pixels(n, seed=2):
    return 256 * torch.rand(n, *SHAPE, generator=seeded(seed), dtype=torch.float64)


def count(flow):
    return sum(parameter.numel() for parameter in flow.parameters())


FLOWS = {
    "multi-scale": {},
    "one scale": {"multi_scale": False},
    "affine, full": {"transformer": SigmoidAffine(), "mixing": "full"},
    "additive": {"transformer": Additive(), "batch_norm": False},
    "one level": {"levels": 1, "transformer": RationalQuadratic(3)},
}


@pytest.fixture(params=FLOWS.values(), ids=FLOWS)
def flow(request):
    return randomise(small(**request.param)).double()


CIFAR = {"levels": 3, "steps": 7, "channels": 96, "blocks": 3, "multi_scale": False}
IMAGENET = {"levels": 4, "steps": 7, "channels": 96, "blocks": 3, "multi_scale": True}


@pytest.mark.parametrize(
    ("shape", "sizes", "transformer", "published"),
    [
        ((3, 32, 32), CIFAR, LinearRational(4), 12_177_270),
        ((3, 32, 32), CIFAR, RationalQuadratic(4), 11_835_054),
        ((3, 32, 32), CIFAR, SigmoidAffine(), 11_065_068),
        ((3, 64, 64), IMAGENET, LinearRational(8), 16_042_434),
        ((3, 64, 64), IMAGENET, RationalQuadratic(8), 15_553_554),
        ((3, 64, 64), IMAGENET, SigmoidAffine(), 14_270_244),
    ],
)
def test_the_parameter_counts_are_the_published_ones(shape, sizes, transformer, published):
    assert count(image_flow(shape, transformer=transformer, **sizes)) == published


@pytest.mark.parametrize(
    ("steps", "channels", "transformer", "millions"),
    [
        (7, 128, LinearRational(32), 9.44),
        (7, 128, RationalQuadratic(32), 9.15),
        (16, 96, LinearRational(2), 10.79),
        (16, 96, RationalQuadratic(2), 10.76),
    ],
)
def test_the_mnist_models_have_the_stated_millions(steps, channels, transformer, millions):
    sizes = {"levels": 2, "steps": steps, "channels": channels, "blocks": 2, "multi_scale": False}
    flow = image_flow((1, 28, 28), transformer=transformer, **sizes)
    assert round(count(flow) / 1e6, 2) == millions


def test_the_round_trip_returns_the_input_in_both_directions(flow):
    x = pixels(4)
    z, logdet = flow.bijection(x)
    assert z.shape == x.shape
    back, inverse_logdet = flow.bijection.inverse_and_logdet(z)
    # Spline slopes of up to some hundreds, four couplings deep, on values of 256.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-8)
    torch.testing.assert_close(inverse_logdet, -logdet)


def test_the_logdet_is_that_of_autograd(flow):
    for x in pixels(2):
        logdet = flow.bijection(x)[1]
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.bijection(v)[0], x)
        square = jacobian.reshape(x.numel(), x.numel())
        torch.testing.assert_close(logdet, torch.linalg.slogdet(square).logabsdet)


def test_gradients_reach_every_parameter(flow):
    flow.log_prob(pixels(8)).sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_densities_are_those_of_values_up_to_256():
    flow = small(identity_start=True).double().eval()
    x = pixels(4)
    centred = x / 256 - 0.5  # a new flow only permutes what it is given
    size = math.prod(SHAPE)
    expected = -0.5 * centred.square().sum((1, 2, 3)) - size * (
        0.5 * math.log(2 * math.pi) + math.log(256)
    )
    # The identity's logits are numbers of float32.
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-6, atol=1e-6)
    raw = small(identity_start=True, values=None).double().eval()
    torch.testing.assert_close(raw.log_prob(centred) - size * math.log(256), flow.log_prob(x))


def test_steps_and_levels_are_those_of_the_paper():
    links = list(small(levels=1, steps=2).bijection.links)
    names = [type(link).__name__ for link in links]
    step = ["ActNorm", "LUConv1x1", "Coupling"]
    assert names == ["Rescale", "Squeeze", *step, *step, "LUConv1x1", "Unsqueeze"]
    assert isinstance(links[0], Rescale)
    assert (links[0].divisor, links[0].shift) == (256, -0.5)


def test_the_first_half_of_the_channels_rounded_up_is_changed():
    flow = image_flow(
        (3, 8, 8),
        levels=2,
        steps=1,
        channels=2,
        blocks=1,
        transformer=SigmoidAffine(),
        multi_scale=True,
    )
    changed = [m.changed.tolist() for m in flow.modules() if isinstance(m, Coupling)]
    assert changed == [list(range(6)), list(range(12))]


@pytest.mark.parametrize(("multi_scale", "splits"), [(True, 2), (False, 0)])
def test_channels_are_factored_out_after_each_level_but_the_last(multi_scale, splits):
    flow = image_flow(
        (1, 8, 8),
        levels=3,
        steps=1,
        channels=2,
        blocks=1,
        transformer=SigmoidAffine(),
        multi_scale=multi_scale,
    )
    assert sum(isinstance(m, OnFirstHalf) for m in flow.modules()) == splits
    norms = [len(m.shift) for m in flow.modules() if isinstance(m, ActNorm)]
    assert norms == ([4, 8, 16] if multi_scale else [4, 16, 64])
    assert flow.base.event == (1, 8, 8)


def test_the_first_training_batch_normalises_at_every_depth():
    flow = small(multi_scale=False, batch_norm=False).double().train()
    x = pixels(64)
    flow.log_prob(x)
    for link in flow.bijection.links:
        x, _ = link(x)
        if isinstance(link, ActNorm):
            channels = x.movedim(1, 0).flatten(1)
            # eps = 1e-6 against variances of a hundredth.
            torch.testing.assert_close(channels.mean(1), torch.zeros_like(channels[:, 0]))
            ones = torch.ones_like(channels[:, 0])
            torch.testing.assert_close(channels.var(1, correction=0), ones, rtol=1e-3, atol=0)


def test_a_loaded_flow_is_the_saved_one_whatever_its_seed(tmp_path):
    flow = small().train()
    flow.log_prob(pixels(8).float())
    flow.eval()
    torch.save(flow.state_dict(), tmp_path / "flow.pt")
    fresh = small(generator=seeded(1))
    fresh.load_state_dict(torch.load(tmp_path / "flow.pt", weights_only=True))
    x = pixels(4).float()
    assert torch.equal(fresh.eval().log_prob(x), flow.log_prob(x))
    before = fresh.state_dict()["bijection.links.2.shift"].clone()
    fresh.train().log_prob(x)
    assert torch.equal(fresh.state_dict()["bijection.links.2.shift"], before)


@pytest.mark.parametrize("mixing", ["lu", "full"])
def test_the_start_is_a_function_of_the_generator(mixing):
    first, again, other = (
        small(mixing=mixing, generator=seeded(s)).state_dict() for s in (0, 0, 1)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    weights = [name for name in first if name.endswith(("first.weight", "permutation"))]
    assert weights
    assert not any(torch.equal(first[name], other[name]) for name in weights)


def test_the_mixing_is_the_one_asked_for():
    for mixing, kind in (("lu", LUConv1x1), ("full", FullConv1x1)):
        flow = small(mixing=mixing)
        assert sum(isinstance(m, kind) for m in flow.modules()) == 2 * (2 + 1)


@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_or_one_works(flow, n):
    x = pixels(n)
    assert flow.log_prob(x).shape == (n,)
    assert flow.sample(n, generator=seeded()).shape == x.shape


def test_the_flow_fits_better_after_a_few_steps():
    flow = small(channels=8).train()
    x = (pixels(64).float() / 4).cumsum(-1) / 4  # neighbouring pixels are dependent
    optimiser = torch.optim.Adam(flow.parameters(), lr=5e-3)
    losses = []
    for _ in range(20):
        loss = -flow.log_prob(x).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 5
    flow.eval()
    assert flow.log_prob(x).isfinite().all()
    assert flow.sample(3, generator=seeded(), temperature=0.7).isfinite().all()


def test_batch_norms_of_the_conditioners_can_be_left_out():
    assert not any(isinstance(m, nn.BatchNorm2d) for m in small(batch_norm=False).modules())
    assert any(isinstance(m, nn.BatchNorm2d) for m in small().modules())


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match="expected steps >= 1, got 0"):
        small(steps=0)
    with pytest.raises(UserError, match="3 levels halve the image as often, but its size is 4 x 4"):
        small(levels=3)
    with pytest.raises(UserError, match="got 'qr'"):
        small(mixing="qr")
