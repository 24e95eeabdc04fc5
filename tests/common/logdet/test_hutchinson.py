import pytest
import torch

from common.logdet import exact_trace, gaussian, hutchinson, linearise, rademacher
from tests.common.logdet.nets import Sine, linear, normal, of_norm, seeded

PROBES = pytest.mark.parametrize("draw", [gaussian, rademacher], ids=lambda draw: draw.__name__)


@PROBES
def test_the_mean_is_the_trace(draw):
    x = normal(5, 4)
    _, vjp = linearise(Sine(4, 0.6), x, create_graph=False)
    estimate = hutchinson(vjp, draw(1000, x, seeded(1)))
    assert ((estimate.value - exact_trace(vjp, x)).abs() <= 4 * estimate.se).all()


@PROBES
def test_the_error_falls_with_the_root_of_the_number_of_probes(draw):
    j, rows = of_norm(normal(4, 4), 0.6), normal(4000, 4)
    errors = []
    for n in (4, 64):
        value = hutchinson(linear(j), draw(n, rows, seeded(n))).value
        errors.append((value - j.trace()).square().mean().sqrt().item())
    # 4000 repetitions give each error to 1.2 percent or so; 4 of those of the ratio are 7 percent.
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.07)


@PROBES
def test_the_standard_error_is_that_of_repetitions(draw):
    j, rows = of_norm(normal(4, 4), 0.6), normal(4000, 4)
    estimate = hutchinson(linear(j), draw(16, rows, seeded()))
    # Mean squares over 4000 repetitions; heavy tails of the squares leave a few percent.
    assert estimate.se.square().mean() == pytest.approx(estimate.value.var().item(), rel=0.12)


def test_signs_have_the_variance_of_the_off_diagonal_alone():
    j, rows = of_norm(normal(4, 4), 0.6), normal(100_000, 4)
    symmetric = (j + j.T) / 2
    whole, diagonal = symmetric.square().sum(), symmetric.diagonal().square().sum()
    variances = [
        hutchinson(linear(j), draw(1, rows, seeded())).value.var()
        for draw in (gaussian, rademacher)
    ]
    # A variance of 100,000 draws of kurtosis up to 15 is known to 1.2 percent.
    torch.testing.assert_close(variances[0], 2 * whole, rtol=0.05, atol=0)
    torch.testing.assert_close(variances[1], 2 * (whole - diagonal), rtol=0.05, atol=0)
    assert variances[1] < variances[0]


def test_signs_are_exact_for_a_diagonal_matrix():
    j, rows = normal(4).diag(), normal(6, 4)
    estimate = hutchinson(linear(j), rademacher(2, rows, seeded()))
    torch.testing.assert_close(estimate.value, j.trace().expand(6))
    torch.testing.assert_close(estimate.se, torch.zeros(6).double(), rtol=0, atol=1e-15)


def test_one_probe_has_no_standard_error():
    rows = normal(6, 4)
    assert hutchinson(linear(normal(4, 4)), gaussian(1, rows, seeded())).se is None


def test_images_and_empty_batches_work():
    for batch in (0, 3):
        x = normal(batch, 1, 4, 4)
        estimate = hutchinson(lambda v: 2 * v, rademacher(2, x, seeded()), event_dims=3)
        torch.testing.assert_close(estimate.value, torch.full((batch,), 32.0).double())
        assert estimate.se.shape == (batch,)
