import math

import pytest
import torch

from common.flows.bank import Stack
from common.flows.flow import Flow, StandardNormal
from common.solvers import NotConverged
from monotone_flow.chain import GROUP, VARIANCE_FLOOR, OperatorChain, StackedActNorm
from tests.monotone_flow.small import normal, small_nets

LAYOUT = ("actnorm", "monotone", "actnorm", "residual", "inverse_residual", "actnorm")


def chain(features=2, activation="cpila", models=2, layout=LAYOUT, seed=0):
    """Return a chain in evaluation mode whose scales have started."""
    blocks = sum(part != "actnorm" for part in layout)
    nets = small_nets(features, activation, models=models, nets=blocks, seed=seed)
    found = OperatorChain(layout, nets).double()
    with torch.no_grad():
        for k, scale in enumerate(found.scales):
            scale.log_scale.copy_(0.3 * normal(models, features, seed=10 + k))
            scale.shift.copy_(normal(models, features, seed=20 + k))
            scale.started.fill_(1)
    return found.eval()


@pytest.mark.parametrize("features", [1, 2, 3])
@pytest.mark.parametrize("activation", ["cpila", "clipswish", "crelu"])
def test_a_chain_goes_there_and_back_and_its_logdets_cancel(features, activation):
    operators = chain(features, activation)
    x = normal(2, 20, features)
    z, logdet = operators.forward_and_logdet(x)
    back, other = operators.inverse_and_logdet(z)
    # Three blocks whose slopes are at most (1 + L) / (1 - L) = 13.
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    torch.testing.assert_close(other, -logdet, rtol=0, atol=1e-11)
    torch.testing.assert_close(operators.inverse(z), back)


def test_parts_are_passed_in_the_order_of_the_layout():
    operators = chain()
    x = normal(2, 5, 2)
    h = x
    for k in range(len(LAYOUT)):
        alone = OperatorChain(
            LAYOUT[k : k + 1],
            _only(operators, sum(part != "actnorm" for part in LAYOUT[:k]), LAYOUT[k]),
        ).double()
        if LAYOUT[k] == "actnorm":
            before = LAYOUT[:k].count("actnorm")
            alone.scales[0].load_state_dict(operators.scales[before].state_dict())
        h = alone.eval()(h)[0]
    torch.testing.assert_close(operators(x)[0], h)


def _only(operators, n, part):
    """Return the chain's n-th net alone, or no net."""
    count = 0 if part == "actnorm" else 1
    nets = small_nets(models=2, nets=count)
    state = operators.nets.state_dict()
    nets.load_state_dict({name: tensor[:, n : n + count] for name, tensor in state.items()})
    return nets


def test_without_logdets_the_scales_are_counted_alone():
    operators = chain()
    x = normal(2, 5, 2)
    z, found = operators.transform(x, logdet=False)
    torch.testing.assert_close(z, operators(x)[0])
    scales = sum(scale.log_scale.sum(-1) for scale in operators.scales)
    torch.testing.assert_close(found, scales.unsqueeze(-1).expand(-1, 5))


def test_large_batches_without_a_graph_pass_in_groups():
    operators = chain()
    x = normal(2, 2 * GROUP + 3, 2)
    z, logdet = operators(x)  # with a graph: at once
    with torch.no_grad():
        grouped, term = operators(x)
        back = operators.inverse(grouped)
    torch.testing.assert_close(grouped, z)
    torch.testing.assert_close(term, logdet)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-11)
    with torch.no_grad():
        empty, none = operators(x[:, :0])
    assert (empty.shape, none.shape) == ((2, 0, 2), (2, 0))


def test_models_side_by_side_are_those_alone():
    both = Stack(Flow(StandardNormal((2,)), chain(models=3)), 3).eval()
    x = normal(3, 6, 2)
    for k in range(3):
        alone = Stack(Flow(StandardNormal((2,)), chain(models=1, seed=5)), 1).eval()
        alone.load_tensors({name: tensor[k : k + 1] for name, tensor in both.tensors().items()})
        torch.testing.assert_close(alone.log_prob(x[k : k + 1])[0], both.log_prob(x)[k])


def test_a_density_of_the_plane_integrates_to_one():
    flow = Flow(StandardNormal((2,)), chain(models=1, layout=("monotone", "residual"))).eval()
    side = torch.linspace(-12, 12, 241, dtype=torch.float64)
    points = torch.cartesian_prod(side, side).unsqueeze(0)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * 0.1**2
    # Slopes below 26 leave the density smooth on cells of 0.1; its tails end before 12.
    assert mass.item() == pytest.approx(1, abs=1e-3)


# Scales


def test_a_scale_starts_from_its_first_batch_with_a_floor_under_the_variance():
    scale = StackedActNorm(2, 3).double()
    x = normal(3, 2, 200) * torch.tensor([2.0, 0.1]).view(1, 2, 1) + 5
    z, logdet = scale(x)
    variance = x.var(-1)
    torch.testing.assert_close(z.mean(-1), torch.zeros(3, 2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(z[:, 0].var(-1), torch.ones(3).double())
    torch.testing.assert_close(z[:, 1].var(-1), variance[:, 1] / VARIANCE_FLOOR)
    assert VARIANCE_FLOOR == 0.2
    expected = -0.5 * (variance[:, 0].log() + math.log(0.2))
    torch.testing.assert_close(logdet, expected.unsqueeze(-1).expand(-1, 200))
    back, other = scale.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -logdet)


def test_a_scale_starts_once_and_only_in_training():
    scale = StackedActNorm(2, 1).double().eval()
    x = 3 * normal(1, 2, 50)
    torch.testing.assert_close(scale(x)[0], x)
    scale.train()
    first = scale(x)[0]
    second = scale(x + 1)[0]
    torch.testing.assert_close(second - first, scale.log_scale.exp().unsqueeze(-1).expand(1, 2, 50))


def test_a_scale_waits_for_samples_and_refuses_to_start_from_one():
    scale = StackedActNorm(2, 1).double()
    assert scale(normal(1, 2, 0))[0].shape == (1, 2, 0)
    assert not scale.started.any()
    with pytest.raises(ValueError, match="two samples or more, got 1"):
        scale(normal(1, 2, 1))


def test_a_restored_chain_does_not_start_anew():
    def fresh(seed):
        nets = small_nets(2, models=2, nets=3, seed=seed)
        flow = Flow(StandardNormal((2,)), OperatorChain(LAYOUT, nets))
        return Stack(flow, 2).double().train()

    stack = fresh(0)
    stack.log_prob(4 * normal(2, 100, 2) + 1)
    tensors = {name: tensor.clone() for name, tensor in stack.tensors().items()}
    assert sum(name.endswith("started") for name in tensors) == 3
    other = fresh(1)
    other.load_tensors(tensors)
    x = normal(2, 10, 2)
    torch.testing.assert_close(other.log_prob(x), stack.log_prob(x), rtol=0, atol=0)
    for name, tensor in other.tensors().items():
        assert torch.equal(tensor, tensors[name]), name


def test_gradients_reach_scales_and_nets():
    operators = chain(activation="clipswish")
    z, logdet = operators(normal(2, 5, 2))
    ((normal(*z.shape, seed=1) * z).sum() + logdet.square().sum()).backward()
    for name, parameter in operators.named_parameters():
        assert bool((parameter.grad != 0).any()), name


# Refused


@pytest.mark.parametrize("layout", [("monotone",), ("monotone", "cayley"), ("actnorm",) * 2])
def test_a_layout_that_does_not_fit_the_nets_is_refused(layout):
    with pytest.raises(ValueError, match="expected 2 blocks out of actnorm, residual"):
        OperatorChain(layout, small_nets(nets=2))


def test_a_chain_without_finite_weights_says_so():
    operators = chain()
    with torch.no_grad():
        operators.nets.weights[0].fill_(torch.nan)
    with pytest.raises(NotConverged):
        operators(normal(2, 5, 2))
