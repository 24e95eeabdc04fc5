"""Laws of the pixels sum to one where they say so, and hold at the ends of float32."""

import itertools
import math

import pytest
import torch

from inverse_problems.priors.observation import Bernoulli, DiscretisedLogistic

SHAPE = (2, 1, 2)


def every_image(levels: int) -> torch.Tensor:
    values = [j / (levels - 1) for j in range(levels)]
    images = list(itertools.product(values, repeat=math.prod(SHAPE)))
    return torch.tensor(images, dtype=torch.float64).view(-1, *SHAPE)


def logits() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.01, 0.1, 3.0])
@pytest.mark.parametrize("levels", [2, 3, 5])
def test_the_discretised_logistic_sums_to_one_over_all_images(levels, scale):
    law = DiscretisedLogistic(levels, channels=2, scale=scale).double()
    total = law.log_prob(logits(), every_image(levels)).exp().sum()
    # float32 log-scale: the parameter is rounded, the law is not.
    torch.testing.assert_close(total, torch.ones((), dtype=torch.float64))


def test_a_mass_is_the_difference_of_two_logistic_distribution_functions():
    law = DiscretisedLogistic(17, channels=2, scale=0.2).double()
    law.log_scale.data[1] = math.log(0.05)
    scale = law.log_scale.detach().exp()
    x = torch.tensor([3.0, 8.0, 0.0, 16.0], dtype=torch.float64).view(SHAPE) / 16
    mean = logits().sigmoid()
    upper = torch.sigmoid((x + 1 / 32 - mean) / scale)
    lower = torch.sigmoid((x - 1 / 32 - mean) / scale)
    upper[x == 1], lower[x == 0] = 1, 0
    expected = (upper - lower).log().sum()
    torch.testing.assert_close(law.log_prob(logits(), x).detach(), expected)


@pytest.mark.parametrize("scale", [1e-4, 1e3])
@pytest.mark.parametrize("logit", [-60.0, 60.0])
def test_an_absurd_image_costs_much_and_gives_no_nan_in_float32(scale, logit):
    law = DiscretisedLogistic(256, channels=1, scale=scale)
    wanted = torch.full((1, 2, 2), logit, requires_grad=True)
    x = torch.tensor([0.0, 1.0, 0.5, 254 / 255]).view(1, 2, 2)
    x = (x * 255).round() / 255
    nats = law.log_prob(wanted, x)
    nats.backward()
    assert nats.isfinite()
    assert nats < -4 * math.log(2)
    assert bool(wanted.grad.isfinite().all())
    assert bool(law.log_scale.grad.isfinite().all())


def test_float32_levels_are_told_from_the_ends():
    law, grey = DiscretisedLogistic(256, 1), torch.arange(256.0).div(255).view(-1, 1, 1, 1)
    torch.testing.assert_close(
        law.log_prob(torch.tensor(0.3).view(1, 1, 1), grey).exp().sum(), torch.tensor(1.0)
    )


def test_bernoulli_is_a_likelihood_of_two_levels_only():
    sums = {}
    for levels in (2, 3):
        law = Bernoulli(levels)
        sums[levels] = law.log_prob(logits(), every_image(levels)).exp().sum().item()
        assert law.is_likelihood == (levels == 2)
    assert sums[2] == pytest.approx(1, abs=1e-12)
    assert sums[3] > 1.5


def test_one_level_is_no_picture():
    with pytest.raises(ValueError, match="at least 2 levels, got 1"):
        Bernoulli(1)
