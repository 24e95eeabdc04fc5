import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from monotone_flow.activations import PILA_SPEED, CLipSwish, CPila, CReLU, K, LipSwish, pila
from tests.monotone_flow.small import normal

# Fine enough for four digits of an extreme value: curvatures are below 10.
GRID = torch.linspace(-6, 6, 240_001, dtype=torch.float64)


def defined(z):
    """Return Pila as the paper writes it down."""
    return torch.where(z >= 0, z, (K**2 / 2 * z**3 - K * z**2 + z) * torch.exp(K * z))


def speeds(activation):
    """Return the grid's speeds sqrt(f1'^2 + f2'^2)."""
    x = GRID.clone().requires_grad_()
    first, second = activation.double()(x.unsqueeze(-1)).unbind(-1)
    slopes = [torch.autograd.grad(f.sum(), x, retain_graph=True)[0] for f in (first, second)]
    return torch.hypot(*slopes)


def test_pila_is_the_piecewise_function_of_the_paper():
    torch.testing.assert_close(pila(GRID), defined(GRID))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_pila_are_those_of_autograd(order):
    z = GRID[GRID != 0][::97].clone().requires_grad_()
    found = defined(z)
    for _ in range(order):
        (found,) = torch.autograd.grad(found.sum(), z, create_graph=True)
    torch.testing.assert_close(pila(z, order=order), found)
    again = pila(z)
    for _ in range(order):
        (again,) = torch.autograd.grad(again.sum(), z, create_graph=True)
    torch.testing.assert_close(again, found)


def test_pila_is_three_times_continuously_differentiable_at_zero_and_not_four_times():
    sides = torch.tensor([-1e-12, 0.0, 1e-12], dtype=torch.float64)
    for order, value in enumerate((0.0, 1.0, 0.0, 0.0)):
        # The derivative after it times the distance.
        assert (pila(sides, order=order) - value).abs().max() < 4 * K**3 * 1e-12
    below, _, above = pila(sides, order=4)
    assert above == 0
    assert below == pytest.approx(4 * K**3)


def test_slopes_of_pila_lie_between_their_published_ends():
    slope = pila(GRID, order=1)
    # Digits as given.
    assert slope.min().item() == pytest.approx(-0.348, abs=5e-4)
    assert GRID[slope.argmin()].item() == pytest.approx(-0.8, abs=1e-4)
    assert slope.max() == 1
    value = pila(GRID)
    assert value.min().item() == pytest.approx(-0.2742, abs=5e-5)
    assert GRID[value.argmin()].item() == pytest.approx(-0.454, abs=5e-4)


def test_pila_and_its_gradient_stay_finite_far_out():
    z = torch.tensor([-1e4, -200.0, 200.0, 1e4], dtype=torch.float32, requires_grad=True)
    y = pila(z)
    y.sum().backward()
    assert y.tolist() == [0, 0, 200, 1e4]
    assert z.grad.tolist() == [0, 0, 1, 1]


def test_pila_can_be_differentiated_twice_and_under_vmap():
    z = normal(6).requires_grad_()
    assert gradcheck(pila, z)
    assert gradgradcheck(pila, z)
    slopes = torch.func.vmap(torch.func.grad(pila))(z.detach())
    torch.testing.assert_close(slopes, pila(z.detach(), order=1))


def test_the_speed_of_cpila_is_at_most_one_and_never_small():
    speed = speeds(CPila())
    assert speed.min().item() == pytest.approx(0.9434, abs=5e-5)
    assert speed.max().item() == pytest.approx(0.9989, abs=5e-5)
    assert abs(GRID[speed.argmax()].item()) == pytest.approx(0.6, abs=5e-3)
    assert PILA_SPEED * speed.max().item() == pytest.approx(1.0588, abs=5e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_the_speed_of_clipswish_is_that_of_every_beta(beta):
    activation = CLipSwish()
    with torch.no_grad():
        activation.beta.fill_(beta)
    speed = speeds(activation)
    # The curve's slowest point is at zero, where both slopes are 1/2 / 1.1 / 1.004.
    assert speed.min().item() == pytest.approx(0.640, abs=5e-4)
    assert speed.max().item() == pytest.approx(0.99997, abs=5e-6)


def test_the_speed_of_crelu_is_one():
    speed = speeds(CReLU())
    assert bool((speed[GRID != 0] == 1).all())


def test_the_slope_of_lipswish_is_at_most_one():
    x = GRID.clone().requires_grad_()
    y = LipSwish().double()(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert 0.999 < slope.max() <= 1


@pytest.mark.parametrize("kind", [CPila, CReLU, LipSwish, CLipSwish])
def test_channels_double_where_they_are(kind):
    x = normal(2, 3, 4, 4)
    activation = kind(dim=-3).double()
    y = activation(x)
    assert y.shape == (2, activation.channels(3), 4, 4)
    last = kind().double()(x.movedim(-3, -1)).movedim(-1, -3)
    torch.testing.assert_close(y, last, rtol=0, atol=0)
    if kind is not LipSwish:
        torch.testing.assert_close(activation(-x), y.roll(3, -3))


@pytest.mark.parametrize("kind", [CPila, CReLU, CLipSwish])
def test_pairs_are_one_lipschitz_as_maps_of_vectors(kind):
    activation = kind().double()
    a, b = 2 * normal(500, 3), 2 * normal(500, 3, seed=1)
    moved = (activation(a) - activation(b)).norm(dim=-1)
    assert bool((moved <= (a - b).norm(dim=-1)).all())
