"""The networks have the published sizes, and an image depends on its own latents alone."""

import pytest
import torch
from torch import Tensor

from inverse_problems.priors.dcgan import Dcgan


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(shape: tuple[int, int, int] = (1, 8, 8)) -> Dcgan:
    """Return a network with running averages of its own, as after a training."""
    torch.manual_seed(0)
    gan = Dcgan(shape, 5, 4).double()
    with torch.no_grad():
        for parameter in gan.parameters():
            parameter.mul_(10)
        for seed in range(20):
            gan.discriminator(gan.decode(normal(16, 5, seed=seed)))
    return gan


def test_the_published_networks_have_as_many_parameters():
    gan = Dcgan((3, 64, 64))
    # Convolutions without bias, and two parameters for each channel that is normalised.
    up = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    down = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1)
    generator = sum(p.numel() for p in gan.generator.parameters())
    discriminator = sum(p.numel() for p in gan.discriminator.parameters())
    assert generator == up + 2 * (512 + 256 + 128 + 64) == 3_576_704
    assert discriminator == down + 2 * (128 + 256 + 512) == 2_765_568
    outputs = [m.out_channels for m in gan.generator if isinstance(m, torch.nn.ConvTranspose2d)]
    assert outputs == [512, 256, 128, 64, 3]


def test_weights_start_as_published():
    torch.manual_seed(0)
    gan = Dcgan((3, 64, 64))
    for module in gan.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            # Two per cent is four standard errors of the smallest layer, of 3072 weights.
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.06)
            assert abs(module.weight.mean().item()) < 0.002
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert not module.bias.any()


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 32, 32), (1, 28, 28), (1, 8, 8)])
def test_it_makes_images_of_any_such_size_and_judges_them(shape):
    gan = Dcgan(shape, 6, 4).eval()
    with torch.no_grad():
        found = gan.decode(torch.randn(3, 6))
        assert gan.discriminator(found).shape == (3,)
    assert found.shape == (3, *shape)
    assert bool(((found > 0) & (found < 1)).all())
    assert found.std() > 0


def test_a_recovery_sees_the_image_of_its_own_latents_alone():
    gan, z = small(), normal(4, 5)
    with torch.no_grad():
        trained = gan.train().decode(z)
        gan = small().eval()
        whole = gan.decode(z)
        torch.testing.assert_close(whole[1:2], gan.decode(z[1:2]), rtol=1e-12, atol=1e-12)
        assert gan.decode(z[:0]).shape == (0, 1, 8, 8)
    # What evaluation mode is for: the batch's own statistics would show.
    assert (trained - whole).abs().max() > 1e-3


def test_gradients_reach_every_parameter():
    gan = small().train()
    gan.discriminator(gan.decode(normal(8, 5))).sum().backward()
    silent = [name for name, p in gan.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_gradient_of_decode_is_that_of_finite_differences():
    gan = small().eval()
    assert torch.autograd.gradcheck(gan.decode, (normal(2, 5).requires_grad_(),))


def test_the_discriminator_sees_images_around_zero():
    gan = small().eval()
    # Without biases before its first normalisation, a grey image is silence to the first layer.
    grey = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
    assert not gan.discriminator.net[0](2 * grey - 1).any()
    assert gan.discriminator(grey) == 0


def test_it_claims_neither_an_inverse_nor_a_density():
    gan = small()
    assert not gan.invertible
    with pytest.raises(NotImplementedError, match="not invertible"):
        gan.encode(torch.zeros(1, 1, 8, 8))
    with pytest.raises(NotImplementedError, match="no density"):
        gan.log_prob(torch.zeros(1, 1, 8, 8))
