import copy
import json
import math

import pytest
import torch
from torch import nn

from common.bijections.base import Bijection, Chain
from common.bijections.elementwise import LeakySoftplus, Logit, Rescale
from common.bijections.lu import LULinear
from common.flows.flow import Flow, StandardNormal
from common.metrics.certificate import certificate, density_integral, logdet_error, round_trip
from common.solvers import NotConverged

BOX = ((-16.0, -16.0), (16.0, 16.0))


def lu_net(models: tuple[int, ...], features: int = 2, seed: int = 0) -> Flow:
    generator = torch.Generator().manual_seed(seed)
    flow = Flow(
        StandardNormal((features,)),
        Chain([LULinear(features, models), LeakySoftplus(0.5), LULinear(features, models)]),
    )
    with torch.no_grad():
        for p in flow.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return flow


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Wrong(Bijection):
    """Claim a log-determinant that is off by `excess` and an inverse that is off by `shift`."""

    def __init__(self, excess: float = 0.0, shift: float = 0.0) -> None:
        super().__init__()
        self.excess, self.shift = excess, shift
        self.weight = nn.Parameter(torch.ones(1))

    def forward_and_logdet(self, x):
        return 2 * x, x.new_full(x.shape[:-1], x.shape[-1] * math.log(2) + self.excess)

    def inverse_and_logdet(self, z):
        return z / 2 + self.shift, z.new_full(z.shape[:-1], -z.shape[-1] * math.log(2))


class Stuck(Wrong):
    def inverse_and_logdet(self, z):
        raise NotConverged("Stuck: residual 1.0e+00 > 1e-07 after 3 iterations")


def test_a_true_flow_earns_a_good_certificate():
    found = certificate(lu_net((1,)), normal(1, 20, 2), box=BOX, n=400)
    assert found["round_trip"]["float64"]["max"] < 1e-13
    assert 1e-9 < found["round_trip"]["float32"]["max"] < 1e-5
    assert found["round_trip"]["float32"]["median"] <= found["round_trip"]["float32"]["max"]
    assert found["logdet"] == {"max_error": pytest.approx(0, abs=1e-13), "items": 2}
    # Cells of 0.08 resolve a density whose scales are near 1 far below 1e-6.
    assert found["density"]["integral"] == pytest.approx(1, abs=1e-6)
    assert found["density"]["error"] < 1e-6
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_wrong_logdet_is_measured():
    assert logdet_error(Wrong(excess=0.25), normal(3, 4)) == pytest.approx(0.25, abs=1e-12)
    flow = Flow(StandardNormal((2,)), Wrong(excess=0.25))
    density = certificate(flow, normal(3, 2), box=BOX, n=200)["density"]
    assert density["integral"] == pytest.approx(math.exp(0.25), rel=1e-6)


def test_a_wrong_inverse_is_measured_relative_to_large_entries():
    x = torch.tensor([[0.1, -0.5], [10.0, 100.0], [0.0, 1.0]], dtype=torch.float64)
    found = round_trip(Wrong(shift=0.5), x)["float64"]
    assert found["max"] == pytest.approx(0.5, rel=1e-12)
    assert found["median"] == pytest.approx(0.5, rel=1e-12)
    assert round_trip(Wrong(shift=0.5), x[1:2])["float64"]["max"] == pytest.approx(0.05)


def test_models_that_are_stacked_are_all_examined():
    flow = lu_net((3,), features=5)
    assert logdet_error(flow.bijection, normal(3, 2, 5)) < 1e-12
    found = certificate(flow, normal(3, 7, 5), jacobian_items=2)
    assert found["logdet"]["items"] == 6
    assert "density" not in found


def test_the_worst_of_the_stacked_densities_is_reported():
    flow = lu_net((2,))
    far = copy.deepcopy(flow)
    with torch.no_grad():  # the second model's mass moves out of the box
        far.bijection.links[0].bias[1] += 1000
    assert certificate(flow, normal(2, 3, 2), box=BOX, n=200)["density"]["integral"] > 0.99
    assert certificate(far, normal(2, 3, 2), box=BOX, n=200)["density"]["integral"] < 0.01


def test_events_with_three_dimensions_have_a_jacobian_too():
    chain = Chain([Rescale(17, 3), Logit(1e-5, 3), LeakySoftplus(event_dims=3)])
    x = 17 * torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    assert logdet_error(chain, x) < 1e-11
    assert round_trip(chain, x)["float64"]["max"] < 1e-10


def test_more_outputs_than_one_pass_holds_are_all_used():
    class Scale(Wrong):  # the last of 150 entries counts
        def forward_and_logdet(self, x):
            return x * torch.linspace(1, 2, 150, dtype=x.dtype), x.new_zeros(x.shape[:-1])

    expected = torch.linspace(1, 2, 150, dtype=torch.float64).log().sum().item()
    assert logdet_error(Scale(), normal(1, 150)) == pytest.approx(expected, rel=1e-12)


def test_a_solver_that_fails_is_recorded_with_its_message():
    found = certificate(Flow(StandardNormal((2,)), Stuck()), normal(3, 2))
    message = {"error": "Stuck: residual 1.0e+00 > 1e-07 after 3 iterations"}
    assert found["round_trip"] == {"float32": message, "float64": message}
    assert found["logdet"]["max_error"] < 1e-12


def test_what_is_not_finite_is_said_in_words():
    flow = lu_net((1,))
    with torch.no_grad():
        flow.bijection.links[0].packed[0, 1, 1] = 0.0  # singular: the log-density is -inf
    found = certificate(flow, normal(1, 3, 2), box=BOX, n=100)
    assert found["round_trip"]["float64"]["max"] == "not finite"
    assert found["logdet"]["max_error"] == "not finite"
    assert found["density"]["integral"] == 0.0
    json.dumps(found, allow_nan=False)


def test_the_flow_is_left_as_it_was():
    flow = lu_net((1,)).train()
    before = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
    certificate(flow, normal(1, 3, 2).float(), box=BOX, n=10)
    assert flow.training
    assert all(p.requires_grad and p.grad is None for p in flow.parameters())
    for name, tensor in flow.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])


def test_the_integral_knows_its_own_error():
    def log_prob(points):
        return StandardNormal((2,)).log_prob(points)

    truth = math.erf(1 / math.sqrt(2)) ** 2  # the mass of [-1, 1] x [-1, 1]
    errors = []
    for n in (10, 20, 40):
        integral, claimed = density_integral(log_prob, (-1.0, -1.0), (1.0, 1.0), n)
        errors.append(abs(integral.item() - truth))
        assert errors[-1] <= claimed.item()
    # The midpoint rule is of second order: each halving of the cells quarters the error.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_an_odd_number_of_cells_is_refused():
    with pytest.raises(ValueError, match="even number of cells, got 3"):
        density_integral(lambda p: p.sum(-1), (0.0, 0.0), (1.0, 1.0), 3)
