import pytest
import torch

from common.bijections.continuous import Continuous, set_probes
from common.errors import UserError
from common.flows.continuous import evaluations, ffjord
from common.metrics.certificate import density_integral


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(*shape, seed=2):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def small(**options):
    settings = {"rtol": 1e-8, "atol": 1e-8, "generator": seeded()} | options
    return ffjord(2, 8, 2, blocks=2, **settings).double().eval()


def test_the_default_is_the_published_model_of_miniboone():
    flow = ffjord(43)
    (block,) = flow.bijection.links
    assert isinstance(block, Continuous)
    widths = [tuple(layer.weight.shape) for layer in block.network.layers]
    assert widths == [(860, 43), (860, 860), (43, 860)]
    assert (block.rtol, block.atol, block.method) == (1e-6, 1e-8, "dopri5")
    assert (block.trace, block.noise) == ("hutchinson", "gaussian")
    # Three affine maps, three numbers of time per output, and T.
    weights = 860 * 43 + 860 * 860 + 43 * 860
    assert sum(p.numel() for p in flow.parameters()) == weights + 4 * (860 + 860 + 43) + 1


@pytest.mark.parametrize("nonlinearity", ["softplus", "tanh"])
def test_the_density_on_the_plane_integrates_to_one(nonlinearity):
    flow = small(nonlinearity=nonlinearity, rtol=1e-5, atol=1e-6)
    integral, error = density_integral(flow.log_prob, (-12, -12), (12, 12), 150)
    assert error.item() < 1e-3
    assert integral.item() == pytest.approx(1, abs=1e-3)


def test_samples_map_back_to_the_noise_they_came_from():
    flow = small()
    samples = flow.sample(20, generator=seeded(5))
    noise = flow.base.sample((20,), samples, seeded(5))
    # Ten steps of tolerance 1e-8 in each of two blocks, there and back.
    torch.testing.assert_close(flow.bijection(samples)[0], noise, rtol=0, atol=1e-6)


def test_a_stacked_flow_trains_each_model_on_its_own_data():
    flow = small(models=(2,), rtol=1e-4, atol=1e-5).float().train()
    set_probes(flow, seeded(3))
    x = batch(2, 64, 2).float() * torch.tensor([0.3, 2.0]).reshape(2, 1, 1) + 1
    optimiser = torch.optim.Adam(flow.parameters(), lr=3e-2)
    first = flow.eval().log_prob(x).mean(-1)
    flow.train()
    for _ in range(15):
        optimiser.zero_grad(set_to_none=True)
        (-flow.log_prob(x).mean(-1).sum()).backward()
        optimiser.step()
    assert (flow.eval().log_prob(x).mean(-1) > first + 0.3).all()
    samples = flow.sample(5, generator=seeded(1), models=(2,))
    assert samples.shape == (2, 5, 2)


def test_the_evaluations_of_all_blocks_are_added():
    flow = small()
    flow.log_prob(batch(4, 2))
    counts = [block.evaluations for block in flow.bijection.links]
    assert evaluations(flow) == sum(counts)
    assert all(count > 0 for count in counts)


def test_the_initial_weights_are_a_function_of_the_generator():
    first, again, other = (small(generator=seeded(s)).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_sizes_that_are_not_positive_are_refused():
    with pytest.raises(UserError, match="expected blocks >= 1, got 0"):
        ffjord(3, blocks=0)
