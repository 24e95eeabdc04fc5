import math

import pytest
import torch
from torch import Tensor

from common.bijections.base import Chain
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.bijections.registry import randomise
from common.flows.flow import Flow, StandardNormal
from common.metrics.certificate import density_integral


def lu_flow(features: int, models: tuple[int, ...] = (), seed: int = 0) -> Flow:
    chain = Chain([LULinear(features, models), LeakySoftplus(0.5), LULinear(features, models)])
    return Flow(StandardNormal((features,)), randomise(chain, seed)).double()


def pixel_flow() -> Flow:
    """The density of a dequantised pixel in [0, 17)."""
    chain = Chain([Rescale(17), Logit(1e-5), randomise(LULinear(1), seed=3)])
    return Flow(StandardNormal((1,)), chain).double()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def on_grid(flow: Flow, low: float, high: float, cells: int) -> tuple[Tensor, Tensor]:
    """Midpoints of the cells and the probabilities of the cells."""
    x = low + (high - low) * (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    with torch.no_grad():
        return x, flow.log_prob(x[:, None]).exp() * (high - low) / cells


def test_the_standard_normal_is_that_of_torch():
    z = torch.randn(2, 5, 3, 4, generator=seeded(0), dtype=torch.float64)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum((-1, -2))
    torch.testing.assert_close(StandardNormal((3, 4)).log_prob(z), expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_density_on_the_line_integrates_to_one(seed):
    # Slopes of 1/2 and more keep all mass but 1e-12 within 60 of the origin.
    _, probability = on_grid(lu_flow(1, seed=seed), -60, 60, 60_000)
    assert probability.sum().item() == pytest.approx(1, abs=1e-9)


def test_a_density_of_pixels_integrates_to_one_over_the_levels():
    # The margin cuts off what lies beyond a logit of 12; the midpoint rule is rough at the ends.
    _, probability = on_grid(pixel_flow(), 0, 17, 200_000)
    assert probability.sum().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_density_on_the_plane_integrates_to_one(seed):
    flow = lu_flow(2, seed=seed)
    integral, error = density_integral(flow.log_prob, (-30, -30), (30, 30), 600)
    assert error.item() < 1e-4
    assert integral.item() == pytest.approx(1, abs=1e-6)


def test_stacked_densities_each_integrate_to_one():
    flow = lu_flow(2, models=(3,))
    integral, _ = density_integral(
        lambda points: flow.log_prob(points.expand(3, -1, -1)), (-30, -30), (30, 30), 600
    )
    torch.testing.assert_close(integral, torch.ones(3).double(), rtol=0, atol=1e-6)


def test_samples_have_the_moments_of_the_density():
    flow, n = lu_flow(1), 40_000
    x, probability = on_grid(flow, -60, 60, 60_000)
    samples = flow.sample(n, generator=seeded(0)).squeeze(-1)
    for power in (1, 2):
        expected = (probability * x**power).sum().item()
        values = samples**power
        error = values.std().item() / math.sqrt(n)
        assert abs(values.mean().item() - expected) < 4 * error
        assert error < 0.05 * (1 + abs(expected))


def test_the_latents_of_samples_are_what_was_drawn():
    flow = lu_flow(4)
    samples = flow.sample(50, generator=seeded(5))
    drawn = flow.base.sample((50,), samples, seeded(5))
    torch.testing.assert_close(flow.bijection.forward_and_logdet(samples)[0], drawn)


def test_samples_are_a_function_of_the_generator_alone():
    flow = lu_flow(3)
    state = torch.random.get_rng_state()
    first, again = (flow.sample(7, generator=seeded(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, flow.sample(7, generator=seeded(2)))
    assert torch.equal(torch.random.get_rng_state(), state)
    generator = seeded(1)
    flow.sample(7, generator=generator)
    assert not torch.equal(flow.sample(7, generator=generator), first)  # the stream goes on


@pytest.mark.parametrize("n", [0, 1, 3])
def test_samples_carry_models_dtype_and_no_graph(n):
    flow = lu_flow(3, models=(2,)).float()
    samples = flow.sample(n, generator=seeded(0), models=(2,))
    assert samples.shape == (2, n, 3)
    assert samples.dtype == torch.float32
    assert not samples.requires_grad


def test_the_temperature_scales_the_noise():
    flow = lu_flow(4)
    samples = flow.sample(50, generator=seeded(5), temperature=0.5)
    drawn = flow.base.sample((50,), samples, seeded(5))
    torch.testing.assert_close(flow.bijection.forward_and_logdet(samples)[0], 0.5 * drawn)


def test_the_log_density_is_that_of_the_latents_plus_the_logdet():
    flow = lu_flow(3)
    x = torch.randn(4, 3, generator=seeded(0), dtype=torch.float64)
    z, logdet = flow.bijection(x)
    expected = -0.5 * z.square().sum(-1) - 1.5 * math.log(2 * math.pi) + logdet
    torch.testing.assert_close(flow(x), expected)
    assert torch.equal(flow(x), flow.log_prob(x))


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="at least one bijection, got none"):
        Chain([])
