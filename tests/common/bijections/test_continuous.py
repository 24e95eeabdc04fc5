import copy

import pytest
import torch
from torch import nn

from common.bijections.base import Chain
from common.bijections.concat_squash import ConcatSquashNet
from common.bijections.continuous import Continuous, set_probes
from common.solvers import NotConverged


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(features=3, layers=2, models=(), nonlinearity="softplus", seed=0):
    net = ConcatSquashNet(features, 5, layers, nonlinearity, models)
    for layer in net.layers:
        layer.draw(seeded(seed))
    return net.double()


def continuous(*, models=(), layers=2, seed=0, **options):
    settings = {"rtol": 1e-10, "atol": 1e-12} | options
    flow = Continuous(network(models=models, layers=layers, seed=seed), **settings)
    flow.generator = seeded(1)
    return flow.double().eval()


def batch(*shape, seed=2):
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def gradients(flow, x):
    z, logdet = flow(x)
    return torch.autograd.grad(z.square().sum() + logdet.sum(), list(flow.parameters()))


@pytest.mark.parametrize("models", [(), (2,)], ids=["one", "stacked"])
@pytest.mark.parametrize("nonlinearity", ["softplus", "tanh"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_divergence_is_the_trace_of_autograds_jacobian(layers, nonlinearity, models):
    net = network(layers=layers, models=models, nonlinearity=nonlinearity)
    x, t = batch(*models, 4, 3), torch.full((*models, 1), 0.3, dtype=torch.float64)
    velocity, divergence = net.with_divergence(t, x)
    jacobian = torch.autograd.functional.jacobian(lambda v: net(t, v), x)
    n = x[..., 0].numel()
    blocks = jacobian.reshape(n, 3, n, 3).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    torch.testing.assert_close(velocity, net(t, x))
    expected = blocks.diagonal(dim1=1, dim2=2).sum(-1).reshape(divergence.shape)
    torch.testing.assert_close(divergence, expected)


@pytest.mark.parametrize("models", [(), (2,)], ids=["one", "stacked"])
def test_probes_of_unit_vectors_add_up_to_the_divergence(models):
    net = network(models=models)
    x, t = batch(*models, 4, 3), torch.full((*models, 1), 0.3, dtype=torch.float64)
    unit = torch.eye(3, dtype=torch.float64).reshape(3, *[1] * (x.dim() - 1), 3).expand(3, *x.shape)
    velocity, terms = net.with_probes(t, x, unit)
    torch.testing.assert_close(velocity, net(t, x))
    torch.testing.assert_close(terms.sum(0), net.with_divergence(t, x)[1])


@pytest.mark.parametrize("method", ["dopri5", "dopri8"])
def test_the_exponential_of_a_linear_field_is_recovered(method):
    # With gates of 1/2, and softplus replaced by what is linear far from 0, dx/dt = A x + c.
    net = ConcatSquashNet(2, 2, 1).double()
    a = torch.tensor([[0.3, -1.0], [0.5, 0.2]], dtype=torch.float64)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    first, last = net.layers
    with torch.no_grad():
        first.weight.copy_(2 * a)
        first.bias.fill_(2 * 60.0)  # softplus(h + 60) = h + 60 to 1e-26
        last.weight.copy_(2 * torch.eye(2))
        last.bias.fill_(-2 * 60.0)
    flow = Continuous(net, rtol=1e-13, atol=1e-13, method=method).double().eval()
    x = batch(5, 2)
    z, logdet = flow(x)
    # Rounding at 60 is 1e-14. An interpolated end is 1e-9 away with the long steps of dopri8.
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(z, x @ torch.linalg.matrix_exp(a).mT, **close)
    torch.testing.assert_close(logdet, a.trace().expand(5), **close)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_the_round_trip_error_follows_the_tolerance(tolerance):
    flow, x = continuous(rtol=tolerance, atol=tolerance), batch(20, 3)
    z, logdet = flow(x)
    back, back_logdet = flow.inverse_and_logdet(z)
    # The tolerance is per step and the number of steps about ten, in either direction.
    assert (back - x).abs().max() < 50 * tolerance
    assert (logdet + back_logdet).abs().max() < 50 * tolerance


@pytest.mark.parametrize("noise", ["gaussian", "rademacher"])
def test_the_estimate_is_unbiased_and_states_its_error(noise):
    flow, x = continuous(noise=noise), batch(4, 3)
    z, exact = flow(x)
    rough, _, first = flow.forward_with_error(x, 100)
    _, estimate, error = flow.forward_with_error(x, 2000)
    assert (rough - z).abs().max() < 1e-8  # the steps differ within the tolerances
    assert ((estimate - exact).abs() < 4 * error).all()
    # The error falls with the root of the draws, itself known to a tenth from a hundred of them.
    assert 0.6 < (error * 20**0.5 / first).mean() < 1.6


def test_probes_of_signs_have_less_variance_than_gaussian_ones():
    x = batch(50, 3)
    spread = {
        noise: continuous(noise=noise).forward_with_error(x, 200)[2].square().mean()
        for noise in ("gaussian", "rademacher")
    }
    assert spread["rademacher"] < spread["gaussian"]


def test_only_training_with_probes_is_stochastic_and_says_so():
    flow, x = continuous(), batch(4, 3)
    assert not flow.stochastic
    assert torch.equal(flow(x)[1], flow(x)[1])
    flow.train()
    assert flow.stochastic
    assert not torch.equal(flow(x)[1], flow(x)[1])
    exact = continuous(trace="exact").train()
    assert not exact.stochastic
    assert torch.equal(exact(x)[1], continuous()(x)[1])


def test_the_probes_are_a_function_of_the_generator_alone():
    flow, x = continuous().train(), batch(4, 3)
    chain = Chain([flow, copy.deepcopy(flow)])
    state = torch.random.get_rng_state()
    results = []
    for _ in range(2):
        set_probes(chain, seeded(7))
        results.append(chain(x)[1])
    assert torch.equal(*results)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_training_without_a_generator_is_refused():
    flow = continuous().train()
    flow.generator = None
    with pytest.raises(ValueError, match=r"set_probes\(flow, generator\)"):
        flow(batch(4, 3))


@pytest.mark.parametrize("train", [False, True], ids=["exact", "estimate"])
@pytest.mark.parametrize("models", [(), (2,)], ids=["one", "stacked"])
def test_the_adjoint_finds_the_gradients_of_the_steps(models, train):
    x = batch(*models, 5, 3)
    found = [
        gradients(continuous(models=models, adjoint=adjoint).train(train), x)
        for adjoint in (False, True)
    ]
    for through_steps, adjoint in zip(*found, strict=True):
        # Both approximate the same gradient to the tolerances, 1e-10 per step.
        torch.testing.assert_close(adjoint, through_steps, rtol=1e-6, atol=1e-6)


def test_stacked_models_compute_what_each_alone_does():
    flow, x = continuous(models=(2,)), batch(2, 5, 3)
    z, logdet = flow(x)
    for k in range(2):
        alone = continuous()
        state = {name: value[k] for name, value in flow.state_dict().items()}
        alone.load_state_dict(state)
        single, single_logdet = alone(x[k])
        # The shared steps are other steps: equal to the tolerances.
        torch.testing.assert_close(z[k], single, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(logdet[k], single_logdet, rtol=1e-8, atol=1e-8)


def test_the_learnt_time_scales_the_field_and_its_clock():
    x = batch(5, 3)
    half, full = continuous(time=0.5), continuous(time=1.0)
    assert not torch.allclose(half(x)[0], full(x)[0])
    assert gradients(full, x)[0].abs() > 0  # the root of T is the first parameter
    fixed = continuous(learn_time=False)
    assert not fixed.root_time.requires_grad


def test_the_choice_of_the_first_step_mixes_no_gradients():
    flow, x = continuous(), batch(4, 3).requires_grad_()
    z, logdet = flow(x)
    (gradient,) = torch.autograd.grad(z[1].sum() + logdet[1], x)
    assert gradient[1].abs().sum() > 0
    assert gradient[[0, 2, 3]].count_nonzero() == 0


def test_evaluations_are_counted_per_solve_and_grow_with_precision():
    x = batch(5, 3)
    counts = []
    for tolerance in (1e-3, 1e-6, 1e-9):
        flow = continuous(rtol=tolerance, atol=tolerance)
        flow(x)
        counts.append(flow.evaluations)
        flow(x)
        assert flow.evaluations == counts[-1]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_float32_input_stays_float32_and_meets_the_published_tolerances():
    flow, x = continuous(rtol=1e-6, atol=1e-8), batch(20, 3)
    exact = flow(x)
    flow.float()
    for low, high in zip(flow(x.float()), exact, strict=True):
        assert low.dtype == torch.float32
        # Rounding of 6e-8 and tolerances of 1e-6 over some tens of evaluations.
        torch.testing.assert_close(low.double(), high, rtol=1e-5, atol=1e-5)
    assert flow.evaluations < 200


@pytest.mark.parametrize("adjoint", [False, True])
def test_too_many_evaluations_end_in_an_error_with_their_number(adjoint):
    flow = continuous(max_evaluations=20, adjoint=adjoint)
    with pytest.raises(NotConverged, match=r"not at the end after 20 evaluations, at 0\.\d+"):
        flow(batch(5, 3))


def test_the_evaluations_of_the_adjoint_count_for_themselves():
    # Each of the two solves stays below the limit, their sum does not.
    flow, x = continuous(adjoint=True), batch(5, 3)
    flow(x)
    count = flow.evaluations
    flow.max_evaluations = count + count // 2
    z, _ = flow(x)
    z.sum().backward()
    assert flow.evaluations == count


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("direction", ["forward_and_logdet", "inverse_and_logdet"])
def test_input_that_is_not_finite_is_an_error(direction, value):
    flow, x = continuous(), batch(5, 3)
    x[2, 1] = value
    with pytest.raises(NotConverged, match=r"step .* at .* of the time span after 2 evaluations"):
        getattr(flow, direction)(x)


def test_a_field_too_steep_for_any_step_is_an_error():
    flow = continuous()
    with torch.no_grad():
        flow.network.layers[-1].weight.mul_(1e200)
        flow.network.layers[0].weight.mul_(1e200)
    with pytest.raises(NotConverged, match="evaluations"):
        flow(batch(5, 3))


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="got 'skilling' and 'gaussian'"):
        Continuous(network(), trace="skilling")
    with pytest.raises(ValueError, match="got 0 and 'tanh'"):
        ConcatSquashNet(3, 5, 0, "tanh")
