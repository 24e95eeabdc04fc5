import math

import pytest
import torch

from common.metrics import gaussian


def points(n: int = 500, features: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(features, features, generator=generator, dtype=torch.float64)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    return x @ mix + torch.arange(features)


def test_the_fit_is_mean_and_covariance_over_n():
    x = points()
    mean, chol = gaussian.fit(x)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(chol @ chol.T, torch.cov(x.T, correction=0))
    assert torch.equal(chol, chol.tril())


def test_the_log_density_is_that_of_torch():
    x = points()
    mean, chol = gaussian.fit(x)
    reference = torch.distributions.MultivariateNormal(mean, scale_tril=chol)
    torch.testing.assert_close(gaussian.log_prob(x, mean, chol), reference.log_prob(x))


def test_the_mean_log_likelihood_of_the_fitted_points_is_minus_the_entropy():
    x = points()
    mean, chol = gaussian.fit(x)
    entropy = 0.5 * 3 * math.log(2 * math.pi * math.e) + chol.diagonal().log().sum()
    # An identity of the maximum-likelihood fit.
    torch.testing.assert_close(gaussian.log_prob(x, mean, chol).mean(), -entropy)


def test_blocks_do_not_change_the_result(monkeypatch):
    x = points()
    whole = gaussian.fit(x)
    monkeypatch.setattr(gaussian, "_BLOCK", 7)
    blocks = gaussian.fit(x)
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(gaussian.log_prob(x, *blocks), gaussian.log_prob(x, *whole))


def test_single_precision_points_far_from_zero_lose_no_digits():
    x = (points() * 1e-2 + 1e3).float()
    mean, chol = gaussian.fit(x)
    torch.testing.assert_close(chol @ chol.T, torch.cov(x.double().T, correction=0))
    assert gaussian.log_prob(x, mean, chol).dtype == torch.float64


def test_a_constant_column_is_refused():
    x = points()
    x[:, 1] = 1.0
    with pytest.raises(ValueError, match=r"not positive definite \(feature 1\)"):
        gaussian.fit(x)


def test_no_points_are_refused():
    with pytest.raises(ValueError, match=r"expected points \(N, D\), got shape \(0, 3\)"):
        gaussian.fit(torch.empty(0, 3))
    with pytest.raises(ValueError, match=r"got shape \(4,\)"):
        gaussian.fit(torch.zeros(4))
