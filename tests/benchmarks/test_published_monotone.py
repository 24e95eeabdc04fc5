import dataclasses
import math

import pytest
import torch
from torch.testing import assert_close

from benchmarks.published_monotone import (
    PublishedDense,
    PublishedDensity,
    PublishedFit,
    PublishedMonotone,
    density_step,
    fit_step,
    fresh_weights,
)
from benchmarks.published_monotone.activations import cpila, crelu, pila
from benchmarks.published_monotone.blocks import FORWARD_EPS
from benchmarks.published_monotone.solver import solve

ROOT2 = math.sqrt(2)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(shape, generator=source(seed), dtype=torch.float64)


def weights(features, depth, growth, gain=3.0):
    """Return weights in float64, large enough that all norms are at their bounds."""
    fresh = fresh_weights(features, depth, growth, source(features))
    return {
        name: tensor.double() * (gain if "weight" in name else 1.0)
        for name, tensor in fresh.items()
    }


def block(features):
    """Return a block as of the line, or of the plane, narrower."""
    if features == 1:
        net = PublishedDense(weights(1, 4, 16), crelu, 0.99, 0.99, source(1))
    else:
        net = PublishedDense(weights(2, 3, 16), cpila, 0.9, 0.98, source(1))
    return PublishedMonotone(net)


def plain_cpila(x):
    """Return CPila by its formula, which every transform of functions can differentiate."""
    z = torch.cat((x - 0.2, -x - 0.2), -1)
    low = z.clamp(max=0)
    return torch.where(z > 0, z, (12.5 * low**3 - 5 * low**2 + low) * torch.exp(5 * low)) / 1.06


def reference(theirs):
    """Return g of a block of the plane with the plain activation."""
    return dataclasses.replace(theirs.net.normalised(), activation=plain_cpila)


def picard(net, x):
    """Return w of w + g(w) = sqrt(2) x, by as many steps as the worst Lipschitz constant takes."""
    w = ROOT2 * x
    # 0.951^700 = 5e-16 on the line, and 0.882^300 = 4e-17 in the plane.
    for _ in range(700 if x.shape[-1] == 1 else 300):
        w = ROOT2 * x - net(w)
    return w


def dense_jacobian(net, w):
    return torch.func.vmap(torch.func.jacrev(lambda row: net(row[None])[0]))(w)


@pytest.mark.parametrize("features", [1, 2])
def test_a_block_meets_the_dense_reference_up_to_the_tolerance_of_its_solver(features):
    theirs, x = block(features), noise(40, features)
    with torch.no_grad():
        net = theirs.net.normalised()
        y = ROOT2 * picard(net, x) - x
        # A residual of 1e-6 (1 + |sqrt(2) x|) is an error of that over 1 - L, L <= 0.951.
        atol = ROOT2 * FORWARD_EPS * float(1 + ROOT2 * x.abs().max()) / (1 - 0.951)
        assert_close(theirs(x), y, rtol=0, atol=atol)


@pytest.mark.parametrize("features", [1, 2])
def test_a_block_has_the_gradients_of_the_unrolled_iteration(features):
    theirs, x = block(features), noise(40, features).requires_grad_()
    cotangent = noise(40, features, seed=1)
    parameters = [x, *theirs.parameters()]
    mine = torch.autograd.grad(theirs(x), parameters, cotangent)
    y = ROOT2 * picard(theirs.net.normalised(), x) - x
    unrolled = torch.autograd.grad(y, parameters, cotangent)
    # J is that at a root which is 2e-5 off at most; parameters sum over 40 rows.
    assert_close(mine, unrolled, rtol=1e-4, atol=1e-4)


def test_the_logdet_and_its_gradients_are_those_of_the_dense_jacobian():
    theirs, x = block(2), noise(40, 2).requires_grad_()
    parameters = [x, *theirs.parameters()]
    y, logdet = theirs.forward_and_logdet(x)
    mine = torch.autograd.grad((logdet + y.sum(-1)).sum(), parameters)

    net = reference(theirs)
    w = picard(net, x)
    jacobian, one = dense_jacobian(net, w), torch.eye(2, dtype=torch.float64)
    of_map = torch.linalg.solve(one + jacobian, one - jacobian)
    dense = torch.linalg.slogdet(of_map).logabsdet
    # The point is off by 1e-6 over 1 - L, L <= 0.847, for x of about 2; slopes are of order one.
    assert_close(logdet, dense, rtol=0, atol=1e-4)
    expected = torch.autograd.grad((dense + (ROOT2 * w - x).sum(-1)).sum(), parameters)
    assert_close(mine, expected, rtol=1e-4, atol=1e-3)


def test_the_norms_are_held_at_their_bounds():
    net = block(2).net
    for weight in net.normalised().weights:
        assert_close(torch.linalg.matrix_norm(weight, 2).item(), 0.9, rtol=1e-6, atol=0)
    scales = net.normalised().scales
    assert_close(scales, torch.full_like(scales, 0.98 / ROOT2))


def test_singular_vectors_can_be_taken_over_and_are_kept_up_after_a_change():
    net = block(2).net
    taken = {**weights(2, 3, 16), **dict(net.named_buffers())}
    other = PublishedDense(taken, cpila, 0.9, 0.98)
    x = noise(5, 2)
    assert_close(other.normalised()(x), net.normalised()(x), rtol=0, atol=0)
    with torch.no_grad():
        other.weights[0].add_(noise(*other.weights[0].shape, seed=2))
    stale = torch.linalg.matrix_norm(other.normalised().weights[0], 2).item()
    other.update(tolerance=1e-4)
    fresh = torch.linalg.matrix_norm(other.normalised().weights[0], 2).item()
    assert abs(fresh - 0.9) < min(1e-3, abs(stale - 0.9))


def test_pila_has_the_derivatives_of_its_formula_and_no_overflow():
    z = noise(50).requires_grad_()
    assert torch.autograd.gradcheck(pila, z)
    assert torch.autograd.gradgradcheck(pila, z)
    bent = (12.5 * z**3 - 5 * z**2 + z) * torch.exp(5 * z)
    assert_close(pila(z), torch.where(z > 0, z, bent))
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    assert_close(torch.autograd.grad(pila(far).sum(), far)[0], torch.tensor([0.0, 1.0]))


def test_cpila_and_crelu_double_the_features_and_stretch_nothing():
    x = torch.linspace(-3, 3, 2001, dtype=torch.float64)[:, None]
    for activation, fastest in ((cpila, 0.9989), (crelu, 1.0)):
        y = activation(x)
        assert y.shape == (2001, 2)
        speed = y.diff(dim=0).norm(dim=-1) / x.diff(dim=0)[:, 0]
        assert_close(speed.max().item(), fastest, rtol=0, atol=1e-4)


def test_the_solver_falls_back_to_the_damped_iteration():
    # On numbers so small the ridge switches mixing off, and f alone, a rotation by a right angle,
    # circles for ever. The average of w and f(w) comes nearer by sqrt(1/2) a step.
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    start, shift = 1e-13 * noise(6, 2), 1e-13 * noise(6, 2, seed=3)
    w, calls = solve(lambda w: w @ turn.mT + shift, start, 1e-15, 2000)
    root = torch.linalg.solve(torch.eye(2, dtype=torch.float64) - turn, shift.mT).mT
    assert_close(w, root, rtol=0, atol=2e-15)
    assert 11 < calls < 60


def test_mixing_saves_calls_near_a_linear_map():
    start, shift = noise(6, 1), noise(6, 1, seed=3)
    w, calls = solve(lambda w: shift - 0.9 * w, start, 1e-6, 2000)
    assert_close(w, shift / 1.9, rtol=0, atol=1e-5)
    # Without mixing, log(1e6) / log(1 / 0.9) = 131.
    assert calls < 20


def test_what_does_not_converge_is_logged_and_returned(caplog):
    with caplog.at_level("INFO"):
        w, calls = solve(lambda w: w + 1, noise(3, 2), 1e-6, 40)
    assert w.isfinite().all()
    assert calls <= 80
    assert "not converged" in caplog.text


def test_the_published_sizes_have_the_published_parameter_counts():
    line = PublishedFit([fresh_weights(1, 4, 128, source()) for _ in range(2)], source())
    plane = PublishedDensity([fresh_weights(2, 3, 16, source()) for _ in range(10)], source())
    assert sum(p.numel() for p in line.parameters()) == 100_378
    assert sum(p.numel() for p in plane.parameters()) == 5_640


def test_the_scales_start_from_data_with_a_floor_for_the_variance():
    fit = PublishedFit([weights(1, 2, 8) for _ in range(2)], source())
    x = 4 * torch.rand(4000, 1, generator=source(), dtype=torch.float64) - 2
    fit.start(x)
    with torch.no_grad():
        y = fit(x)
        assert_close(y.mean().item(), 0.0, rtol=0, atol=1e-6)
        assert_close(y.var(correction=0).item(), 1.0, rtol=0, atol=1e-6)
        fit.start(0.1 * x)
    assert_close(fit.log_scales[0].exp().item(), 0.2**-0.5)


def test_steps_on_the_line_lower_the_loss():
    fit = PublishedFit([fresh_weights(1, 2, 8, source(s)) for s in range(2)], source())
    x = 4 * torch.rand(200, 1, generator=source()) - 2
    y = 2 * x
    fit.start(x)
    optimiser = torch.optim.Adam(fit.parameters(), lr=0.01)
    losses = [fit_step(fit, optimiser, x, y) for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
    assert fit.solver_calls()["forward"] > 0


@pytest.mark.parametrize("learn", [False, True])
def test_steps_on_the_plane_lower_the_loss_and_set_the_concatenation_back_if_asked(learn):
    density = PublishedDensity([fresh_weights(2, 2, 8, source(s)) for s in range(2)], source())
    x = 3 * torch.randn(50, 2, generator=source())
    optimiser = torch.optim.Adam(density.parameters(), lr=0.01, weight_decay=1e-5)
    losses = [density_step(density, optimiser, x, learn) for _ in range(10)]
    assert losses[-1] < losses[0]
    moved = bool((density.blocks[0].net.concat != 1).any())
    assert moved == learn


def test_the_density_is_that_of_the_pulled_back_normal():
    density = PublishedDensity([weights(2, 2, 8) for _ in range(2)], source())
    x = noise(20, 2)

    def whole(row):
        # The reference needs no solver's tolerance: unrolled iterations, block by block.
        v = row[None]
        for part in density.blocks:
            v = ROOT2 * picard(reference(part), v) - v
        return v[0]

    with torch.no_grad():
        z = torch.func.vmap(whole)(x)
        jacobian = torch.func.vmap(torch.func.jacrev(whole))(x)
    expected = -0.5 * z.square().sum(-1) - math.log(2 * math.pi)
    expected = expected + torch.linalg.slogdet(jacobian).logabsdet
    # Two blocks, each off by about 1e-5, and slopes below 12.
    assert_close(density.log_prob(x), expected, rtol=0, atol=1e-3)
