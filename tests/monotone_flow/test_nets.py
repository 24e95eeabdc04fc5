import pytest
import torch

from monotone_flow.activations import BETA
from monotone_flow.nets import LipschitzNets
from monotone_flow.profiles import PROFILES
from monotone_flow.tape import evaluate
from tests.monotone_flow.small import normal, seeded, small_nets, unfolded


@pytest.fixture(params=[0.98, None], ids=["dense", "plain"])
def concatenation(request):
    return request.param


@pytest.fixture(params=PROFILES)
def activation(request):
    return request.param


def values(nets: LipschitzNets, n: int, x):
    """Return g(x) of net n at x (K, B, D), without a graph."""
    with torch.no_grad():
        return evaluate(nets.nets()[n], x.mT, tangents=False).value.mT


# What they compute


def test_folded_weights_are_those_of_weighted_concatenations(activation, concatenation):
    nets = small_nets(3, activation, concatenation=concatenation, depth=3, nets=2)
    x = normal(2, 7, 3)
    for n in range(2):
        expected = torch.stack([unfolded(nets, k, n, x[k]) for k in range(2)])
        # The norms' estimates are off by the square of what the singular vectors are.
        torch.testing.assert_close(values(nets, n, x), expected.detach(), rtol=1e-9, atol=1e-9)


def test_every_parameter_gets_a_gradient(activation, concatenation):
    nets = small_nets(2, activation, concatenation=concatenation)
    (net,) = nets.nets()
    sum((t * normal(*t.shape)).sum() for t in net.tensors()).backward()
    for name, parameter in nets.named_parameters():
        assert bool((parameter.grad != 0).any()), name


def test_gradients_go_through_the_norms_at_fixed_singular_vectors():
    nets = small_nets(2, "clipswish", models=1)
    names = list(dict(nets.named_parameters()))

    def tensors(*parameters):
        # (A functional call takes what `forward` does.)
        nets.forward = lambda: nets.nets()[0].tensors()
        return torch.func.functional_call(nets, dict(zip(names, parameters, strict=True)), ())

    assert torch.autograd.gradcheck(tensors, tuple(nets.parameters()), fast_mode=True)


def test_models_side_by_side_are_those_alone():
    nets = small_nets(2, "clipswish", models=3, nets=2)
    state = nets.state_dict()
    x = normal(3, 5, 2)
    for k in range(3):
        alone = small_nets(2, "clipswish", models=1, nets=2, seed=9)
        alone.load_state_dict({name: tensor[k : k + 1] for name, tensor in state.items()})
        for n in range(2):
            torch.testing.assert_close(values(alone, n, x[k : k + 1])[0], values(nets, n, x)[k])
        torch.testing.assert_close(alone.bounds()[0], nets.bounds()[k])


def test_weights_are_a_function_of_the_generator():
    def make(seed):
        return LipschitzNets(
            2, 2, 4, "cpila", coefficient=0.9, concatenation=0.98, generator=seeded(seed)
        ).state_dict()

    first, second, other = make(1), make(1), make(2)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["weights.0"], other["weights.0"])


def test_weights_start_uniform_by_their_inputs_and_shares_equal():
    nets = LipschitzNets(
        2, 2, 64, "clipswish", coefficient=0.9, concatenation=0.98, models=3, generator=seeded()
    )
    for layer, inputs in enumerate((2, 66, 130)):
        for tensor in (nets.weights[layer], nets.biases[layer]):
            assert tensor.abs().max() <= inputs**-0.5
        assert nets.weights[layer].abs().max() > 0.95 * inputs**-0.5
    assert bool((nets.shares == 1).all())
    assert bool((nets.betas == BETA).all())


# Lipschitz constants


def test_no_norm_is_above_the_coefficient_after_power_iterations(activation, concatenation):
    nets = small_nets(2, activation, concatenation=concatenation, depth=3, nets=2)
    for weight in nets.normalised():
        norms = torch.linalg.matrix_norm(weight, 2)
        assert norms.max() <= 0.9 * (1 + 1e-9)
        assert norms.min() > 0.9 * (1 - 1e-9)


def test_weights_whose_norms_are_small_stay_as_they_are():
    nets = small_nets(2, "cpila", factor=0.9)
    for weight, normalised in zip(nets.weights, nets.normalised(), strict=True):
        assert torch.linalg.matrix_norm(weight, 2).max() < 0.82
        assert torch.equal(weight, normalised)


def test_no_difference_quotient_is_above_the_bound(activation, concatenation):
    nets = small_nets(2, activation, concatenation=concatenation, depth=3, nets=2)
    bounds = nets.bounds()
    x = 2 * normal(2, 2000, 2)
    # Far apart and close together.
    for distance in (1.0, 1e-4):
        y = x + distance * normal(2, 2000, 2, seed=1)
        for n in range(2):
            moved = (values(nets, n, x) - values(nets, n, y)).norm(dim=-1)
            quotients = moved / (x - y).norm(dim=-1)
            assert bool((quotients.amax(-1) <= bounds[:, n]).all())


def test_bounds_follow_from_the_norms_and_are_below_the_nominal_ones():
    assert small_nets(2, "cpila", depth=3).bounds().max() < 0.98**3 * 0.9
    chained = small_nets(2, "cpila", depth=3, concatenation=None)
    assert chained.bounds().flatten().tolist() == pytest.approx([0.9**4] * 2, rel=1e-9)
    nets = small_nets(2, "cpila", depth=3)
    nets.reset_shares()
    # sqrt(a^2 + b^2 c^2) of each concatenation, times c.
    layer = 0.98 * (0.5 + 0.5 * 0.9**2) ** 0.5
    assert nets.bounds().flatten().tolist() == pytest.approx([layer**3 * 0.9] * 2, rel=1e-9)


def test_a_linear_net_reaches_its_bound():
    nets = small_nets(2, "sine", concatenation=None, depth=1, growth=2, models=1)
    with torch.no_grad():
        for weight, bias in zip(nets.weights, nets.biases, strict=True):
            weight.copy_(3 * torch.eye(2))
            bias.zero_()
    nets.power_iterate(5)
    assert nets.bounds().item() == pytest.approx(0.81)
    x = 1e-6 * normal(1, 5, 2)
    torch.testing.assert_close(values(nets, 0, x), 0.81 * x, rtol=1e-9, atol=0)


def test_shares_are_put_back_to_equal_parts():
    nets = small_nets(2, "cpila")
    nets.reset_shares()
    assert bool((nets.shares == 1).all())
    nets = small_nets(2, "cpila", concatenation=None)
    nets.reset_shares()  # has none
    assert "shares" not in dict(nets.named_parameters())


# Power iterations


def test_a_tolerance_stops_power_iterations_early():
    nets = small_nets(2, "cpila", growth=8)
    with torch.no_grad():
        for weight in nets.weights:
            weight.add_(0.01 * normal(*weight.shape, seed=5))
    before = nets.state_dict()
    before = {name: tensor.clone() for name, tensor in before.items()}
    loose = nets.power_iterate(5000, tol=1e-3)
    nets.load_state_dict(before)
    tight = nets.power_iterate(5000, tol=1e-9)
    assert 1 <= loose < tight < 5000
    norms = [torch.linalg.matrix_norm(weight, 2).max() for weight in nets.normalised()]
    assert max(norms) <= 0.9 * (1 + 1e-9)
    nets.load_state_dict(before)
    assert nets.power_iterate(7) == 7


def test_estimates_are_never_above_the_norms():
    nets = small_nets(2, "cpila", growth=8, models=3)
    for layer in range(len(nets.weights)):
        for name in ("u", "v"):
            vector = getattr(nets, f"{name}{layer}")
            vector.copy_(torch.nn.functional.normalize(normal(*vector.shape, seed=7), dim=-1))
    for iterations in (1, 2, 4):
        nets.power_iterate(iterations)
        for layer, weight in enumerate(nets.weights):
            u, v = getattr(nets, f"u{layer}"), getattr(nets, f"v{layer}")
            estimate = torch.einsum("kni,knij,knj->kn", u, weight, v)
            assert bool((estimate <= torch.linalg.matrix_norm(weight, 2) * (1 + 1e-12)).all())


def test_weights_of_zero_have_no_singular_vectors_and_no_nan():
    nets = small_nets(2, "cpila")
    with torch.no_grad():
        nets.weights[1].zero_()
    nets.power_iterate(3)
    assert all(bool(weight.isfinite().all()) for weight in nets.normalised())


def test_singular_vectors_are_saved_with_the_weights():
    nets = small_nets(2, "cpila")
    fresh = small_nets(2, "cpila", seed=4)
    fresh.load_state_dict(nets.state_dict())
    for a, b in zip(fresh.normalised(), nets.normalised(), strict=True):
        assert torch.equal(a, b)


# Refused


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"coefficient": 1.0}, "0 < coefficient < 1"),
        ({"coefficient": 0.0}, "0 < coefficient < 1"),
        ({"concatenation": 1.1}, "0 < concatenation <= 1"),
        ({"growth": 3}, "cpila doubles channels; got growth 3"),
    ],
)
def test_what_cannot_be_lipschitz_is_refused(change, expected):
    settings = {"coefficient": 0.9, "concatenation": 0.98, "growth": 4} | change
    growth = settings.pop("growth")
    with pytest.raises(ValueError, match=expected):
        LipschitzNets(2, 1, growth, "cpila", **settings)
