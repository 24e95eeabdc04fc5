import pytest
import torch

from common.logdet import (
    MONOTONE,
    RESIDUAL,
    dense_jacobian,
    gaussian,
    hutchinson,
    jacobian,
    linearise,
    monotone_logdet,
    power_series,
    rademacher,
    remainder_bound,
    residual_logdet,
)
from tests.common.logdet.nets import Sine, linear, normal, of_norm, seeded, within

KINDS = pytest.mark.parametrize(
    ("series", "logdet"),
    [(RESIDUAL, residual_logdet), (MONOTONE, monotone_logdet)],
    ids=["residual", "monotone"],
)


def basis(like):
    """Return probes whose mean is the exact trace: sqrt(D) times each unit vector."""
    features = like.shape[-1]
    unit = features**0.5 * torch.eye(features, dtype=like.dtype)
    return unit.reshape(features, *[1] * (like.dim() - 1), features).expand(features, *like.shape)


@KINDS
@pytest.mark.parametrize("lipschitz", [0.3, 0.6])
def test_enough_terms_over_a_basis_give_the_exact_logdet(series, logdet, lipschitz):
    x = normal(5, 3)
    _, vjp = linearise(Sine(3, lipschitz), x, create_graph=False)
    estimate = power_series(vjp, basis(x), series, 80)
    # What remains is below 1e-18 nats; left is rounding.
    torch.testing.assert_close(
        estimate.value, logdet(dense_jacobian(vjp, x)), rtol=1e-12, atol=1e-14
    )


@KINDS
def test_a_linear_map_has_the_logdet_of_its_matrix(series, logdet):
    j = of_norm(normal(3, 3), 0.6)
    x = normal(4, 3)
    _, vjp = linearise(lambda rows: rows @ j.T, x, create_graph=False)
    found = power_series(vjp, basis(x), series, 80).value
    torch.testing.assert_close(found, logdet(j).expand(4), rtol=1e-12, atol=1e-14)


@KINDS
@pytest.mark.parametrize("terms", [1, 2, 5, 10])
@pytest.mark.parametrize("lipschitz", [0.3, 0.6, 0.95])
def test_what_is_cut_off_is_below_the_bound(series, logdet, terms, lipschitz):
    j = of_norm(normal(20, 3, 3), lipschitz)
    for matrix in j:
        found = power_series(linear(matrix), basis(normal(1, 3)), series, terms).value
        error = (found - logdet(matrix)).abs().item()
        assert error <= remainder_bound(series, terms, lipschitz, 3)


@KINDS
@pytest.mark.parametrize("terms", [2, 5, 10])
def test_the_bound_is_reached_by_a_multiple_of_the_identity(series, logdet, terms):
    j = -0.8 * torch.eye(3, dtype=torch.float64)
    found = power_series(linear(j), rademacher(1, normal(2, 3), seeded()), series, terms).value
    bound = torch.tensor(remainder_bound(series, terms, 0.8, 3), dtype=torch.float64)
    torch.testing.assert_close((found - logdet(j)).abs(), bound.expand(2), rtol=1e-12, atol=0)


@KINDS
@pytest.mark.parametrize("draw", [gaussian, rademacher], ids=lambda draw: draw.__name__)
def test_the_mean_over_probes_is_the_logdet(series, logdet, draw):
    x = normal(5, 3)
    _, vjp = linearise(Sine(3, 0.6), x, create_graph=False)
    estimate = power_series(vjp, draw(500, x, seeded(1)), series, 40)
    # 0.6^40 leaves 1e-9 nats, far below the standard error.
    assert ((estimate.value - logdet(dense_jacobian(vjp, x))).abs() <= 4 * estimate.se).all()


@KINDS
@pytest.mark.parametrize("draw", [gaussian, rademacher], ids=lambda draw: draw.__name__)
def test_the_error_falls_with_the_root_of_the_number_of_probes(series, logdet, draw):
    j, rows = of_norm(normal(4, 4), 0.6), normal(4000, 4)
    errors = []
    for n in (4, 64):
        value = power_series(linear(j), draw(n, rows, seeded(n)), series, 20).value
        errors.append((value - logdet(j)).square().mean().sqrt().item())
    # 4000 repetitions give each error to 1.2 percent or so; 4 of those of the ratio are 7 percent.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.07)


@KINDS
def test_the_mean_gradient_is_that_of_the_logdet(series, logdet):
    g, point, n = Sine(3, 0.5, hidden=4), normal(1, 3), 4000
    exact = torch.autograd.grad(logdet(jacobian(g, point)).sum(), g.b)[0]
    many = Sine(3, 0.5, hidden=4, models=(n,))  # a model per draw gives a gradient per draw
    with torch.no_grad():
        for stacked, one in zip(many.parameters(), g.parameters(), strict=True):
            stacked.copy_(one.expand_as(stacked))
    x = point.expand(n, 1, 3)
    _, vjp = linearise(many, x, create_graph=True)
    value = power_series(vjp, gaussian(1, x, seeded(2)), series, 30).value
    draws = torch.autograd.grad(value.sum(), many.b)[0]
    assert within(draws, exact)


@KINDS
def test_gradients_reach_the_input_and_every_parameter_of_the_jacobian(series, logdet):
    g, x = Sine(3, 0.5, hidden=4), normal(2, 3).requires_grad_()
    probes = gaussian(2, x, seeded())

    def of(x, *parameters):
        _, vjp = linearise(g, x, create_graph=True)
        return power_series(vjp, probes, series, 5).value

    assert torch.autograd.gradcheck(of, (x, *g.parameters()))


def test_one_term_of_the_residual_series_is_the_trace_and_no_term_is_nothing():
    j, rows = of_norm(normal(4, 4), 0.6), normal(5, 4)
    probes = gaussian(3, rows, seeded())
    first = power_series(linear(j), probes, RESIDUAL, 1)
    torch.testing.assert_close(first.value, hutchinson(linear(j), probes).value)
    torch.testing.assert_close(first.se, hutchinson(linear(j), probes).se)
    assert torch.equal(power_series(linear(j), probes, RESIDUAL, 0).value, torch.zeros(5).double())


def test_no_product_is_made_for_a_last_coefficient_of_zero():
    calls = []

    def vjp(v):
        calls.append(v)
        return 0.5 * v

    power_series(vjp, normal(2, 5, 3), MONOTONE, 10)
    assert len(calls) == 2 * 9


def test_images_and_empty_batches_work():
    for batch in (0, 3):
        x = normal(batch, 1, 4, 4)
        estimate = power_series(
            lambda v: 0.5 * v, rademacher(2, x, seeded()), RESIDUAL, 60, event_dims=3
        )
        exact = 16 * torch.tensor(1.5).double().log()
        torch.testing.assert_close(estimate.value, exact.expand(batch))
