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
    neumann_surrogate,
    poisson,
    rademacher,
    residual_logdet,
)
from tests.common.logdet.nets import Sine, normal, seeded, within

KINDS = pytest.mark.parametrize(
    ("series", "logdet"),
    [(RESIDUAL, residual_logdet), (MONOTONE, monotone_logdet)],
    ids=["residual", "monotone"],
)
DRAWS = 4000


def drawn(series, lengths, lipschitz=0.5):
    """Return one net and point, the same stacked once per draw, and the draws' surrogates."""
    one, point = Sine(3, lipschitz, hidden=4), normal(1, 3).requires_grad_()
    many = Sine(3, lipschitz, hidden=4, models=(DRAWS,))
    with torch.no_grad():
        for stacked, parameter in zip(many.parameters(), one.parameters(), strict=True):
            stacked.copy_(parameter.expand_as(stacked))
    points = point.detach().repeat(DRAWS, 1, 1).requires_grad_()
    _, vjp = linearise(many, points, create_graph=True)
    probes = gaussian(1, points, seeded(2))
    return (one, point), (many, points), neumann_surrogate(vjp, probes, series, lengths).surrogate


@KINDS
@pytest.mark.parametrize(
    "lengths",
    [poisson(2.0, 0, (DRAWS, 1), seeded(3)), geometric(0.5, 2, (DRAWS, 1), seeded(3))],
    ids=["poisson", "geometric"],
)
def test_the_mean_gradient_is_that_of_the_logdet(series, logdet, lengths):
    (one, point), (many, points), surrogate = drawn(series, lengths)
    exact = torch.autograd.grad(logdet(jacobian(one, point)).sum(), (point, *one.parameters()))
    draws = torch.autograd.grad(surrogate.sum(), (points, *many.parameters()))
    for mean, expected in zip(draws, exact, strict=True):
        assert within(mean, expected)


@KINDS
def test_the_mean_value_is_another_than_the_logdet(series, logdet):
    lengths = poisson(2.0, 8, (DRAWS, 1), seeded(3))
    (one, point), _, surrogate = drawn(series, lengths, lipschitz=0.9)
    j = jacobian(one, point).detach()[0]
    eye = torch.eye(3, dtype=torch.float64)
    stated = {
        RESIDUAL: torch.linalg.solve(eye + j, j).trace(),
        MONOTONE: -2 * torch.linalg.solve(eye - j @ j, j).trace(),
    }[series]
    assert within(surrogate.detach(), stated)
    assert not within(surrogate.detach(), logdet(j))


@KINDS
def test_a_basis_and_enough_terms_give_the_exact_gradient(series, logdet):
    g, x = Sine(3, 0.5), normal(4, 3).requires_grad_()
    wanted = (x, *g.parameters())
    exact = torch.autograd.grad(logdet(jacobian(g, x)).sum(), wanted)
    probes = (3**0.5 * torch.eye(3).double())[:, None].expand(3, 4, 3)
    lengths = poisson(1.0, 60, (4,), seeded(), probes=3)
    _, vjp = linearise(g, x, create_graph=True)
    surrogate = neumann_surrogate(vjp, probes, series, lengths).surrogate
    # 0.5^60 leaves nothing; the rest is rounding.
    for found, expected in zip(torch.autograd.grad(surrogate.sum(), wanted), exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-14)


def test_the_value_has_no_name_that_a_likelihood_could_use():
    x = normal(4, 3)
    _, vjp = linearise(Sine(3, 0.5), x, create_graph=True)
    found = neumann_surrogate(
        vjp, gaussian(1, x, seeded()), RESIDUAL, poisson(2.0, 2, (4,), seeded())
    )
    assert found.surrogate.shape == (4,)
    assert not hasattr(found, "value")


@KINDS
def test_one_product_carries_a_graph(series, logdet):
    x = normal(4, 3)
    _, vjp = linearise(Sine(3, 0.5), x, create_graph=True)
    graphs = []

    def watched(v):
        product = vjp(v)
        graphs.append(product.requires_grad)
        return product

    lengths = poisson(2.0, 5, (4,), seeded())
    neumann_surrogate(watched, gaussian(1, x, seeded()), series, lengths)
    assert sum(graphs) == 1
    assert len(graphs) - 1 in (int(lengths.n.max()), int(lengths.n.max()) - 1)


def test_a_length_of_zero_leaves_the_first_term_of_the_kernel():
    x, probes = normal(4, 3), normal(1, 4, 3, seed=1)
    _, vjp = linearise(Sine(3, 0.5), x, create_graph=True)
    lengths = poisson(1e-9, 0, (4,), seeded())
    found = neumann_surrogate(vjp, probes, MONOTONE, lengths).surrogate
    torch.testing.assert_close(found, -2 * (vjp(probes[0]) * probes[0]).sum(-1))


def test_products_without_a_graph_are_refused():
    x = normal(4, 3)
    probes, lengths = gaussian(1, x, seeded()), poisson(2.0, 2, (4,), seeded())
    _, vjp = linearise(Sine(3, 0.5), x, create_graph=False)
    with pytest.raises(ValueError, match="expected products with a graph"):
        neumann_surrogate(vjp, probes, RESIDUAL, lengths)


def test_images_and_empty_batches_work():
    for batch in (0, 3):
        x = normal(batch, 1, 4, 4).requires_grad_()
        _, vjp = linearise(lambda image: 0.5 * image.sin(), x, create_graph=True)
        probes, lengths = rademacher(2, x, seeded()), poisson(2.0, 60, (batch,), seeded(), probes=2)
        surrogate = neumann_surrogate(vjp, probes, RESIDUAL, lengths, event_dims=3).surrogate
        (found,) = torch.autograd.grad(surrogate.sum(), x)
        exact = (1 + 0.5 * x.cos()).log().sum()
        torch.testing.assert_close(found, torch.autograd.grad(exact, x)[0])
