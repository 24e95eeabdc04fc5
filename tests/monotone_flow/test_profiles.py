import pytest
import torch

from monotone_flow.profiles import PROFILES, activate, deactivate
from tests.monotone_flow.small import activation_of, normal

MODELS, CHANNELS, BATCH = 2, 3, 5


@pytest.fixture(params=PROFILES.values(), ids=PROFILES)
def profile(request):
    return request.param


def parts(profile, tangents):
    """Return products A, biases and beta of a layer, all of them leaves of a graph."""
    a = normal(MODELS, CHANNELS, (1 + tangents) * BATCH).requires_grad_()
    bias = normal(MODELS, CHANNELS, seed=1).requires_grad_()
    beta = (0.5 + normal(MODELS, 1, 1, seed=2).square()).requires_grad_()
    return a, bias, beta if profile.learned else None


def plain(profile, a, bias, beta):
    """Return activations of values and tangents (K, P, (1 + T) B) by the function itself."""
    act = activation_of(profile)
    values, *directions = a.split(BATCH, -1)
    outs = []
    for k in range(MODELS):

        def f(z, k=k):
            return act(z.mT, None if beta is None else beta[k]).mT

        z = values[k] + bias[k].unsqueeze(-1)
        moved = [
            torch.autograd.functional.jvp(f, z, d[k], create_graph=True)[1] for d in directions
        ]
        outs.append(torch.cat((f(z), *moved), -1))
    return torch.stack(outs)


def test_slopes_and_curvatures_are_those_of_autograd(profile):
    z = 2 * normal(50).requires_grad_()
    beta = torch.tensor(1.3, dtype=torch.float64) if profile.learned else None
    value, slope = profile.value_and_slope(z, beta)
    (expected,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    torch.testing.assert_close(slope, expected)
    if not profile.smooth:
        with pytest.raises(NotImplementedError, match="no curvature"):
            profile.curvature(z, beta)
        return
    (expected,) = torch.autograd.grad(slope.sum(), z)
    torch.testing.assert_close(profile.curvature(z, beta), expected)


def test_values_slopes_and_curvatures_are_finite_far_out(profile):
    z = torch.tensor([-1e4, 0.0, 1e4], dtype=torch.float32)
    beta = torch.tensor(0.974) if profile.learned else None
    found = [*profile.value_and_slope(z, beta)]
    if profile.smooth:
        found.append(profile.curvature(z, beta))
    assert all(bool(tensor.isfinite().all()) for tensor in found)


@pytest.mark.parametrize("tangents", [0, 1, 3])
def test_a_layer_activates_values_and_tangents(profile, tangents):
    a, bias, beta = parts(profile, tangents)
    rows = torch.full((MODELS, profile.width(CHANNELS), a.shape[-1]), torch.nan).double()
    with torch.no_grad():
        slope = activate(profile, a, bias, beta, profile.sign(a), rows, BATCH)
    torch.testing.assert_close(rows, plain(profile, a, bias, beta).detach())
    assert slope.shape == (MODELS, profile.width(CHANNELS), BATCH)
    assert len(profile.signs) == 1 + profile.doubles


@pytest.mark.parametrize("tangents", [0, 1, 3])
def test_a_layer_goes_back_as_autograd_does(profile, tangents):
    a, bias, beta = parts(profile, tangents)
    expected = plain(profile, a, bias, beta)
    bar = normal(*expected.shape, seed=3)
    leaves = (a, bias) if beta is None else (a, bias, beta)
    gradients = torch.autograd.grad((bar * expected).sum(), leaves)
    with torch.no_grad():
        sign = profile.sign(a)
        rows = torch.empty_like(expected)
        slope = activate(profile, a, bias, beta, sign, rows, BATCH)
        a_bar, beta_bar = deactivate(profile, a, bias, beta, sign, slope, bar, BATCH)
    torch.testing.assert_close(a_bar, gradients[0])
    torch.testing.assert_close(a_bar[..., :BATCH].sum(-1), gradients[1])
    if beta is None:
        assert beta_bar is None
    else:
        torch.testing.assert_close(beta_bar, gradients[2])
