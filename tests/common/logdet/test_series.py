import math

import pytest

from common.logdet import MONOTONE, RESIDUAL, remainder_bound

SERIES = pytest.mark.parametrize("series", [RESIDUAL, MONOTONE], ids=lambda series: series.name)

# Bounds of the dense nets for points in the plane, for images and for a line.
FLAT, CONV, LINE = 0.98**3 * 0.9, 0.98**4, 0.99**5


@pytest.mark.parametrize("j", [-0.4, 0.3])
def test_the_series_of_a_number_sum_to_the_logarithms(j):
    residual = sum(RESIDUAL.coefficient(k) * j**k for k in range(1, 60))
    monotone = sum(MONOTONE.coefficient(k) * j**k for k in range(1, 60))
    assert residual == pytest.approx(math.log1p(j), abs=1e-15)
    assert monotone == pytest.approx(math.log1p(-j) - math.log1p(j), abs=1e-15)


@pytest.mark.parametrize("j", [-0.4, 0.3])
def test_the_kernels_of_a_number_are_the_derivatives_of_the_logarithms(j):
    residual = sum(RESIDUAL.derivative(k) * j**k for k in range(60))
    monotone = sum(MONOTONE.derivative(k) * j**k for k in range(60))
    assert residual == pytest.approx(1 / (1 + j), abs=1e-14)
    assert monotone == pytest.approx(-2 / (1 - j * j), abs=1e-14)


@pytest.mark.parametrize(
    ("series", "lipschitz", "terms", "nats", "digit"),
    [
        (MONOTONE, FLAT, 10, 0.078, 1e-3),
        (MONOTONE, FLAT, 20, 0.0086, 1e-4),
        (MONOTONE, CONV, 10, 0.305, 1e-3),
        (MONOTONE, CONV, 20, 0.084, 1e-3),
        (MONOTONE, LINE, 10, 0.555, 1e-3),
        (MONOTONE, LINE, 20, 0.217, 1e-3),
        (RESIDUAL, FLAT, 10, 0.070, 1e-3),
        (RESIDUAL, FLAT, 20, 0.0078, 1e-4),
        (RESIDUAL, CONV, 10, 0.285, 1e-3),
        (RESIDUAL, CONV, 20, 0.080, 1e-3),
        (RESIDUAL, LINE, 10, 0.527, 1e-3),
        (RESIDUAL, LINE, 20, 0.209, 1e-3),
    ],
)
def test_the_remainders_at_the_nominal_constants_are_known(series, lipschitz, terms, nats, digit):
    # The last digit is not always rounded to the nearest.
    assert remainder_bound(series, terms, lipschitz, 1) == pytest.approx(nats, abs=digit)
    assert remainder_bound(series, terms, lipschitz, 3072) == pytest.approx(
        3072 * remainder_bound(series, terms, lipschitz, 1), rel=1e-12
    )


@SERIES
def test_the_remainder_of_no_terms_is_the_largest_logdet(series):
    largest = {RESIDUAL: -math.log(1 - 0.9), MONOTONE: math.log(1.9 / 0.1)}[series]
    assert remainder_bound(series, 0, 0.9, 5) == pytest.approx(5 * largest, rel=1e-13)


@SERIES
def test_nothing_remains_of_a_constant_map(series):
    assert remainder_bound(series, 3, 0.0, 10) == 0


@SERIES
@pytest.mark.parametrize("lipschitz", [-0.1, 1.0, 1.3, math.nan])
def test_a_constant_for_which_the_series_may_diverge_is_refused(series, lipschitz):
    with pytest.raises(ValueError, match="expected a Lipschitz constant in"):
        remainder_bound(series, 10, lipschitz, 2)
