"""The bounds are those of a model small enough to be integrated; the shapes are the published."""

import math

import pytest
import torch
from torch import Tensor

from inverse_problems.priors.observation import Bernoulli, DiscretisedLogistic
from inverse_problems.priors.vae import Vae, conv_vae, dense_vae

TINY = (1, 2, 2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny(latents: int = 1, levels: int = 3) -> Vae:
    """Return a model whose posterior is wrong and whose likelihood is not flat."""
    torch.manual_seed(0)
    vae = dense_vae(TINY, latents, (3,), pixels=DiscretisedLogistic(levels, 1, 0.3)).double()
    with torch.no_grad():
        for i, parameter in enumerate(vae.parameters()):
            parameter.add_(0.5 * normal(*parameter.shape, seed=i))
    return vae


def levels(n: int, count: int = 3, shape: tuple[int, int, int] = TINY) -> Tensor:
    draws = torch.randint(count, (n, *shape), generator=torch.Generator().manual_seed(1))
    return draws.double() / (count - 1)


def grid() -> tuple[Tensor, float]:
    """Return points z (S, 1) that hold the whole of the densities here, and their distance."""
    z = torch.linspace(-40, 40, 16001, dtype=torch.float64)
    return z[:, None], float(z[1] - z[0])


def log_normal(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


def test_the_bound_is_that_of_numerical_integration():
    vae, x = tiny(), levels(5)
    z, step = grid()
    with torch.no_grad():
        log_likelihood = vae.pixels.log_prob(vae.decoder(z)[:, None], x)  # (S, B)
        evidence = ((log_likelihood + log_normal(z)[:, None]).exp() * step).sum(0).log()
        mean, log_variance = vae.posterior(x)
        deviation = (0.5 * log_variance).exp()
        log_q = log_normal((z[:, None] - mean) / deviation) - 0.5 * log_variance.sum(-1)
        integrand = log_likelihood + log_normal(z)[:, None] - log_q
        expected = (log_q.exp() * integrand * step).sum(0)
        # The same by the estimator: its noise on the same grid, weighted by the normal density.
        found = vae.elbo(x.repeat(len(z), 1, 1, 1), z.repeat_interleave(5, 0)).view(-1, 5)
        found = (found * (log_normal(z).exp() * step)[:, None]).sum(0)
        kl = vae.bound_terms(x, normal(5, 1))[1]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        kl, (log_q.exp() * (log_q - log_normal(z)[:, None]) * step).sum(0), rtol=1e-9, atol=1e-9
    )
    assert bool((found < evidence - 1e-3).all())


def test_the_importance_weighted_bound_rises_to_the_evidence():
    vae, x = tiny(), levels(4)
    z, step = grid()
    with torch.no_grad():
        log_likelihood = vae.pixels.log_prob(vae.decoder(z)[:, None], x)
        evidence = ((log_likelihood + log_normal(z)[:, None]).exp() * step).sum(0).log()
        one = vae.importance_bound(x, normal(1, 4, 1))
        torch.testing.assert_close(
            one.mean(), _one_draw(vae, x, normal(1, 4, 1)[0]).mean(), rtol=1e-12, atol=1e-12
        )
        gaps = []
        for draws in (1, 10, 100):
            bounds = [vae.importance_bound(x, normal(draws, 4, 1, seed=s)) for s in range(400)]
            gaps.append((evidence - torch.stack(bounds)).mean())
        many = vae.importance_bound(x, normal(200_000, 4, 1))
    assert gaps[0] > gaps[1] > gaps[2] > 0
    # Ten times the draws, about a tenth of the gap (Burda et al.: the bias falls as 1 / S).
    assert gaps[2] < 0.25 * gaps[1]
    torch.testing.assert_close(many, evidence, rtol=0, atol=0.02)


def _one_draw(vae: Vae, x: Tensor, noise: Tensor) -> Tensor:
    """Return log p(x|z) + log p(z) - log q(z|x) from its three densities."""
    mean, log_variance = vae.posterior(x)
    z = mean + noise * (0.5 * log_variance).exp()
    log_q = log_normal(noise) - 0.5 * log_variance.sum(-1)
    return vae.pixels.log_prob(vae.decoder(z), x) + log_normal(z) - log_q


def test_the_published_network_has_as_many_parameters():
    vae = dense_vae((1, 28, 28), pixels=Bernoulli(256))
    n, h, k = 784, 500, 20
    encoder = (n + 1) * h + (h + 1) * h + (h + 1) * 2 * k
    decoder = (k + 1) * h + (h + 1) * h + (h + 1) * n
    assert sum(p.numel() for p in vae.parameters()) == encoder + decoder == 1_316_824
    first = vae.encoder[1].weight
    # Xavier-uniform: within sqrt(6 / (in + out)), and it reaches there.
    bound = math.sqrt(6 / (n + h))
    assert 0.99 * bound < first.abs().max() <= bound


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 32, 32), (1, 28, 28), (1, 8, 8)])
def test_the_convolutional_one_makes_images_of_any_such_size(shape):
    vae = conv_vae(shape, 7, 8, pixels=DiscretisedLogistic(256, shape[0]))
    x = torch.rand(2, *shape)
    with torch.no_grad():
        found = vae.decode(torch.randn(2, 7))
        assert vae.posterior(x)[0].shape == (2, 7)
        assert vae.reconstruct(x).shape == (2, *shape)
        assert vae.elbo(x, torch.randn(2, 7)).shape == (2,)
        assert vae.importance_bound(x, torch.randn(3, 2, 7)).shape == (2,)
    assert found.shape == (2, *shape)
    assert bool(((found > 0) & (found < 1)).all())


VARIANTS = {
    "dense": lambda: dense_vae((1, 8, 8), 3, (5, 4), pixels=Bernoulli(17)),
    "conv": lambda: conv_vae((2, 8, 8), 3, 4, pixels=DiscretisedLogistic(17, 2)),
}
BOTH = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)


@BOTH
def test_gradients_reach_every_parameter(make):
    torch.manual_seed(0)
    vae = make().double()
    x = levels(6, 17, vae.shape)
    vae.elbo(x, normal(6, 3)).sum().backward()
    silent = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@BOTH
def test_the_gradient_of_decode_is_that_of_finite_differences(make):
    torch.manual_seed(0)
    vae = make().double().eval()
    z = normal(2, 3).requires_grad_()
    assert torch.autograd.gradcheck(vae.decode, (z,))


@BOTH
@pytest.mark.parametrize("training", [True, False])
def test_an_image_depends_on_its_own_latents_alone(make, training):
    torch.manual_seed(0)
    vae = make().double().train(training)
    z = normal(4, 3)
    with torch.no_grad():
        whole = vae.decode(z)
        torch.testing.assert_close(whole[1:2], vae.decode(z[1:2]), rtol=1e-12, atol=1e-12)
        assert vae.decode(z[:0]).shape == (0, *vae.shape)


def test_samples_are_a_function_of_the_generator_and_temperature_scales_the_latents():
    vae = VARIANTS["dense"]().eval()
    draw = [vae.sample(3, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])
    cold = vae.sample(2, torch.Generator().manual_seed(0), temperature=0.0)
    torch.testing.assert_close(cold[:1], vae.decode(torch.zeros(1, 3)).detach())


def test_it_claims_neither_an_inverse_nor_a_density():
    vae = VARIANTS["dense"]()
    assert not vae.invertible
    with pytest.raises(NotImplementedError, match="not invertible"):
        vae.encode(torch.zeros(1, 1, 8, 8))
    with pytest.raises(NotImplementedError, match="no density"):
        vae.log_prob(torch.zeros(1, 1, 8, 8))
