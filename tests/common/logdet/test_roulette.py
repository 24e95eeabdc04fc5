from functools import partial

import pytest
import torch

from common.logdet import (
    MONOTONE,
    RESIDUAL,
    gaussian,
    geometric,
    jacobian,
    linearise,
    monotone_logdet,
    poisson,
    power_series,
    rademacher,
    residual_logdet,
    roulette,
)
from tests.common.logdet.nets import Sine, linear, normal, of_norm, seeded, within

KINDS = pytest.mark.parametrize(
    ("series", "logdet"),
    [(RESIDUAL, residual_logdet), (MONOTONE, monotone_logdet)],
    ids=["residual", "monotone"],
)
LENGTHS = pytest.mark.parametrize(
    "draw", [partial(poisson, 2.0), partial(geometric, 0.5)], ids=["poisson", "geometric"]
)


@KINDS
@LENGTHS
@pytest.mark.parametrize("exact", [0, 2])
@pytest.mark.parametrize("lipschitz", [0.3, 0.5])
def test_the_mean_is_the_logdet_of_the_whole_series(series, logdet, draw, exact, lipschitz):
    g, point, n = Sine(3, lipschitz), normal(1, 3), 40_000
    with torch.no_grad():
        j = jacobian(g, point)[0]
    rows = point.expand(n, 3)
    probes = rademacher(1, rows, seeded(1))
    draws = roulette(linear(j), probes, series, draw(exact, (n,), seeded(2))).value
    assert within(draws, logdet(j))


@KINDS
@LENGTHS
def test_without_bias_where_the_series_is_cut_with_one(series, logdet, draw):
    # J = -L I and signs: all that is random is the length.
    n, j = 100_000, -0.5 * torch.eye(2, dtype=torch.float64)
    probes = rademacher(1, normal(n, 2), seeded(1))
    lengths = draw(1, (n,), seeded(2))
    random = roulette(linear(j), probes, series, lengths).value
    cut = power_series(linear(j), probes, series, 3).value
    assert within(random, logdet(j))
    assert not within(cut + (random - random.mean()), logdet(j))


@KINDS
@LENGTHS
def test_the_standard_error_covers_probes_and_lengths(series, logdet, draw):
    j, rows = of_norm(normal(3, 3), 0.3), normal(4000, 3)
    probes = gaussian(16, rows, seeded(1))
    estimate = roulette(linear(j), probes, series, draw(1, (4000,), seeded(2), probes=16))
    # Mean squares over 4000 repetitions; heavy tails leave several percent.
    assert estimate.se.square().mean().item() == pytest.approx(estimate.value.var().item(), rel=0.2)


@KINDS
def test_the_error_falls_with_the_root_of_the_number_of_probes(series, logdet):
    j, rows = of_norm(normal(4, 4), 0.3), normal(4000, 4)
    errors = []
    for n in (4, 64):
        lengths = poisson(2.0, 2, (4000,), seeded(n + 1), probes=n)
        value = roulette(linear(j), gaussian(n, rows, seeded(n)), series, lengths).value
        errors.append((value - logdet(j)).square().mean().sqrt().item())
    # 4000 repetitions give each error to 1.2 percent or so; 4 of those of the ratio are 7 percent.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.07)


@KINDS
def test_shared_lengths_are_without_bias_over_many_draws(series, logdet):
    j, n = of_norm(normal(3, 3), 0.5), 4000
    rows = normal(2, 3)
    lengths = poisson(2.0, 1, (2,), seeded(2), probes=n, shared=True)
    estimate = roulette(linear(j), rademacher(n, rows, seeded(1)), series, lengths)
    assert ((estimate.value - logdet(j)).abs() <= 4 * estimate.se).all()


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
    lengths = poisson(2.0, 2, (n, 1), seeded(3))
    value = roulette(vjp, gaussian(1, x, seeded(2)), series, lengths).value
    draws = torch.autograd.grad(value.sum(), many.b)[0]
    assert within(draws, exact)


@KINDS
def test_gradients_reach_the_input_and_every_parameter_of_the_jacobian(series, logdet):
    g, x = Sine(3, 0.5, hidden=4), normal(2, 3).requires_grad_()
    probes, lengths = gaussian(2, x, seeded()), poisson(2.0, 2, (2,), seeded(), probes=2)

    def of(x, *parameters):
        _, vjp = linearise(g, x, create_graph=True)
        return roulette(vjp, probes, series, lengths).value

    assert torch.autograd.gradcheck(of, (x, *g.parameters()))


def test_float32_stays_float32():
    x = normal(3, 2).float()
    lengths = poisson(2.0, 2, (3,), seeded())
    value = roulette(lambda v: 0.5 * v, gaussian(1, x, seeded()), RESIDUAL, lengths).value
    assert value.dtype == torch.float32


def test_images_and_empty_batches_work():
    for batch in (0, 3):
        x = normal(batch, 1, 4, 4)
        lengths = poisson(2.0, 60, (batch,), seeded(), probes=2)
        estimate = roulette(
            lambda v: 0.5 * v, rademacher(2, x, seeded()), RESIDUAL, lengths, event_dims=3
        )
        exact = 16 * torch.tensor(1.5).double().log()
        torch.testing.assert_close(estimate.value, exact.expand(batch))
        assert estimate.se.shape == (batch,)


def test_a_length_of_zero_gives_nothing():
    lengths = poisson(1e-9, 0, (3,), seeded())
    assert lengths.n.max() == 0
    found = roulette(lambda v: v, normal(1, 3, 4), RESIDUAL, lengths).value
    assert torch.equal(found, torch.zeros(3).double())


def test_a_length_for_one_probe_is_not_taken_for_several():
    lengths = poisson(2.0, 2, (3,), seeded())
    with pytest.raises(ValueError, match="draw them with probes=2"):
        roulette(lambda v: v, normal(2, 3, 4), RESIDUAL, lengths)
