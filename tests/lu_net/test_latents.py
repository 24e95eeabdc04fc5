import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from lu_net.latents import RIDGE, FittedGaussian

MODELS, ITEMS, DIMS = 3, 60, 4


def latents(*shape: int, seed: int = 0) -> Tensor:
    """Draws that are far from N(0, I), and of another distribution for each model."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(*shape, generator=generator, dtype=torch.float64)
    mix = torch.randn(shape[0], shape[-1], shape[-1], generator=generator, dtype=torch.float64)
    return white @ mix + 3 * torch.arange(shape[-1])


def whole(z: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(z, torch.ones(z.shape[:2]))]


def covariance(fitted: FittedGaussian) -> Tensor:
    return fitted.factor @ fitted.factor.mT


def test_the_moments_are_those_of_torch():
    z = latents(MODELS, ITEMS, DIMS)
    fitted = FittedGaussian.of(whole(z))
    torch.testing.assert_close(fitted.mean, z.mean(1))
    for k in range(MODELS):
        expected = torch.cov(z[k].T, correction=0)
        ridge = RIDGE * expected.diagonal().mean() * torch.eye(DIMS)
        torch.testing.assert_close(covariance(fitted)[k], expected + ridge)


def test_chunks_add_up_to_the_whole():
    z = latents(MODELS, ITEMS, DIMS)
    together = FittedGaussian.of(whole(z))
    chunks = FittedGaussian.of((part, torch.ones(part.shape[:2])) for part in z.split(7, 1))
    torch.testing.assert_close(chunks.mean, together.mean)
    torch.testing.assert_close(chunks.factor, together.factor)


def test_padding_is_ignored():
    z = latents(MODELS, ITEMS, DIMS)
    weights = torch.ones(MODELS, ITEMS)
    weights[1, 40:] = 0
    poisoned = z.clone()
    poisoned[1, 40:] = 1e6
    fitted = FittedGaussian.of([(poisoned, weights)])
    short = FittedGaussian.of(whole(z[1:2, :40]))
    torch.testing.assert_close(fitted.mean[1:2], short.mean)
    torch.testing.assert_close(fitted.factor[1:2], short.factor)
    others = FittedGaussian.of(whole(z))
    torch.testing.assert_close(fitted.factor[[0, 2]], others.factor[[0, 2]])


def test_log_densities_are_those_of_the_multivariate_normal():
    root = latents(MODELS, DIMS + 2, DIMS, seed=1)
    mean, matrix = latents(MODELS, 1, DIMS, seed=2)[:, 0], root.mT @ root
    z = latents(MODELS, 11, DIMS, seed=3)
    found = FittedGaussian(mean, matrix).log_prob(z)
    for k in range(MODELS):
        expected = MultivariateNormal(mean[k], matrix[k]).log_prob(z[k])
        torch.testing.assert_close(found[k], expected)


def test_coloured_noise_has_the_fitted_moments():
    fitted = FittedGaussian.of(whole(latents(MODELS, ITEMS, DIMS)))
    n = 100_000
    white = torch.randn(MODELS, n, DIMS, generator=torch.Generator().manual_seed(0))
    z = fitted.sample(white)
    expected = covariance(fitted)
    variance = expected.diagonal(dim1=-2, dim2=-1)
    # Four standard errors: of a mean sqrt(v / n), of a covariance sqrt((v w + c^2) / n).
    assert ((z.mean(1) - fitted.mean).abs() < 4 * (variance / n).sqrt()).all()
    error = ((variance.unsqueeze(-1) * variance.unsqueeze(-2) + expected**2) / n).sqrt()
    for k in range(MODELS):
        assert ((torch.cov(z[k].T) - expected[k]).abs() < 4 * error[k]).all()


def test_fewer_items_than_dimensions_still_give_a_density():
    z = latents(MODELS, 3, 8)
    fitted = FittedGaussian.of(whole(z))
    assert fitted.log_prob(z).isfinite().all()


def test_latents_that_are_not_finite_spoil_their_own_model_only():
    z = latents(MODELS, ITEMS, DIMS)
    z[1, 5, 2] = torch.inf
    fitted = FittedGaussian.of(whole(z))
    probe = latents(MODELS, 2, DIMS)
    assert fitted.log_prob(probe)[1].isnan().all()
    assert fitted.sample(probe)[1].isnan().all()
    assert fitted.log_prob(probe)[[0, 2]].isfinite().all()


def test_no_latents_at_all_are_refused():
    with pytest.raises(ValueError, match="at least one chunk"):
        FittedGaussian.of([])
