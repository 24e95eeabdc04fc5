"""A flow as a prior: units, directions, densities."""

import math

import pytest
import torch
from torch import Tensor

from common.bijections.registry import randomise
from common.errors import UserError
from inverse_problems.priors.flow import FlowPrior
from inverse_problems.priors.glow import Architecture, glow
from inverse_problems.priors.spline import spline_flow

SHAPE, LEVELS = (1, 4, 4), 5


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def glow_prior() -> FlowPrior:
    flow = glow(SHAPE, Architecture(levels=2, steps=2, width=4), LEVELS)
    randomise(flow.bijection)
    return FlowPrior(flow, SHAPE, LEVELS).double().eval()


def spline_prior() -> FlowPrior:
    flow = spline_flow(SHAPE, levels=2, steps=1, width=4, bins=3, values=LEVELS)
    randomise(flow.bijection)
    return FlowPrior(flow, SHAPE, LEVELS).double().eval()


BOTH = pytest.mark.parametrize("make", [glow_prior, spline_prior])


@BOTH
def test_decode_and_encode_are_inverses(make):
    prior, z, x = make(), draws(6, 16), draws(6, *SHAPE, seed=1).sigmoid()
    assert prior.invertible
    assert prior.n == prior.latents == 16
    assert prior.decode(z).shape == (6, *SHAPE)
    torch.testing.assert_close(prior.encode(prior.decode(z)), z)
    torch.testing.assert_close(prior.decode(prior.encode(x)), x)


@BOTH
def test_the_density_is_that_of_images_in_the_unit_interval(make):
    prior, x = make(), draws(2, *SHAPE, seed=2).sigmoid()
    z = prior.encode(x)
    jacobian = torch.autograd.functional.jacobian(prior.encode, x)
    own = torch.stack([jacobian[i, :, i].reshape(16, 16) for i in range(2)])
    normal = -0.5 * (z.square().sum(1) + 16 * math.log(2 * math.pi))
    expected = normal + torch.linalg.slogdet(own).logabsdet
    torch.testing.assert_close(prior.log_prob(x), expected)


def test_the_image_of_a_pixel_value_is_the_middle_of_its_bin():
    prior = glow_prior()
    p = torch.arange(LEVELS, dtype=torch.float64)
    torch.testing.assert_close(prior.values(p / (LEVELS - 1)), p + 0.5)


@BOTH
def test_recovery_can_differentiate_with_respect_to_latents_alone(make):
    prior, z = make().requires_grad_(False), draws(3, 16)
    target = draws(3, *SHAPE, seed=3)

    def loss(latents: Tensor) -> Tensor:
        return (prior.decode(latents) - target).square().sum()

    gradient = torch.autograd.grad(loss(moved := z.clone().requires_grad_()), moved)[0]
    direction, h = draws(3, 16, seed=4), 1e-6
    slope = (loss(z + h * direction) - loss(z - h * direction)) / (2 * h)
    # Rounding of the loss over the step, and the third derivative times the step's square.
    torch.testing.assert_close((gradient * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def test_samples_of_temperature_zero_are_the_image_of_zero():
    prior = glow_prior()
    zero = prior.decode(torch.zeros(1, 16, dtype=torch.float64))
    found = prior.sample(3, torch.Generator().manual_seed(0), temperature=0.0)
    torch.testing.assert_close(found, zero.expand(3, -1, -1, -1))
    warm = prior.sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(prior.encode(warm).std().item(), 1.0, rtol=0.5, atol=0)


def test_a_single_level_is_refused():
    with pytest.raises(UserError, match="at least 2 levels, got 1"):
        FlowPrior(glow_prior().flow, SHAPE, 1)
