"""A variational autoencoder: fully connected as published for MNIST, or convolutional."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from inverse_problems.priors.base import Prior
from inverse_problems.priors.observation import Pixels
from inverse_problems.priors.pyramid import halvings

GROUPS = 8


class Vae(Prior):
    """Bound the likelihood of images by an approximate posterior N(mean(x), diag(variance(x))).

    G(z) is the mean image of p(x|z), in [0, 1]: it needs no clamp.

    Source: Kingma, Welling, "Auto-Encoding Variational Bayes", 2014,
    https://arxiv.org/abs/1312.6114.

    Args:
        shape: (C, H, W).
        latents: k.
        encoder: (B, C, H, W) -> (B, 2 k), the means and then the logarithms of the variances.
        decoder: (B, k) -> (B, C, H, W), the logits of the mean image.
        pixels: p(x|z) around the mean image.

    Shapes: x (B, C, H, W); z, mean and log_variance (B, k); bounds (B,), in nats per image.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latents: int,
        encoder: nn.Module,
        decoder: nn.Module,
        pixels: Pixels,
    ) -> None:
        super().__init__(shape, latents)
        self.encoder = encoder
        self.decoder = decoder
        self.pixels = pixels

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(z))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x)."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, log_variance

    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the mean image at the posterior mean."""
        return self.decode(self.posterior(x)[0])

    def bound_terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x|z) at one z drawn from q, and the divergence KL(q || N(0, I)).

        Their difference is the evidence lower bound; its mean over the noise is exact but for the
        first term, which is an unbiased estimate.

        Args:
            x: images.
            noise: standard normal (B, k).
        """
        mean, log_variance = self.posterior(x)
        z = mean + noise * (0.5 * log_variance).exp()
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(-1)
        return self.pixels.log_prob(self.decoder(z), x), kl

    def elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the evidence lower bound, estimated with one draw (see `bound_terms`)."""
        log_likelihood, kl = self.bound_terms(x, noise)
        return log_likelihood - kl

    def importance_bound(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the importance-weighted bound of S draws; it rises with S towards log p(x).

        Source: Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders", 2016,
        https://arxiv.org/abs/1509.00519.

        Args:
            x: images.
            noise: standard normal (S, B, k).
        """
        mean, log_variance = self.posterior(x)
        z = mean + noise * (0.5 * log_variance).exp()
        # log N(z; 0, I) - log q(z|x), whose constants cancel.
        log_weight = 0.5 * (noise.square() - z.square() + log_variance).sum(-1)
        logits = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        log_weight = log_weight + self.pixels.log_prob(logits, x)
        return log_weight.logsumexp(0) - math.log(len(noise))


def dense_vae(
    shape: tuple[int, int, int],
    latents: int = 20,
    hidden: Sequence[int] = (500, 500),
    *,
    pixels: Pixels,
) -> Vae:
    """Build a fully connected autoencoder, as published for MNIST with the defaults.

    Softplus units; Xavier-uniform weights and biases of 0. The decoder's widths are those of the
    encoder in reverse.

    Source: Bora, Jalal, Price, Dimakis, "Compressed Sensing using Generative Models", 2017,
    https://arxiv.org/abs/1703.03208, and the code published with it.

    Args:
        shape: (C, H, W).
        latents: k.
        hidden: widths of the encoder's hidden layers.
        pixels: p(x|z).
    """
    n = int(torch.Size(shape).numel())
    encoder = nn.Sequential(nn.Flatten(), *_dense(n, *hidden, 2 * latents))
    decoder = nn.Sequential(*_dense(latents, *reversed(hidden), n), nn.Unflatten(-1, shape))
    return Vae(shape, latents, encoder, decoder, pixels)


def _dense(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        linear = nn.Linear(before, after)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Softplus()]
    return layers[:-1]


def conv_vae(
    shape: tuple[int, int, int], latents: int = 100, width: int = 64, *, pixels: Pixels
) -> Vae:
    """Build a convolutional autoencoder.

    Every stage halves the image by a 4 x 4 convolution and doubles the channels, from `width` on;
    the decoder goes the same way back (see `pyramid.halvings`). Group normalisation rather than
    batch normalisation, so that an image depends on its own z alone also while training.

    Args:
        shape: (C, H, W); H and W even, at least 8.
        latents: k.
        width: channels at half the image's resolution.
        pixels: p(x|z).

    Raises:
        ValueError: the image cannot be halved.
    """
    channels, height, breadth = shape
    stages = halvings(height, breadth)
    widths = [width * 2**stage for stage in range(stages)]
    coarse = (widths[-1], height >> stages, breadth >> stages)
    features = int(torch.Size(coarse).numel())
    down: list[nn.Module] = []
    for before, after in zip([channels, *widths], widths, strict=False):
        down += [nn.Conv2d(before, after, 4, 2, 1), _norm(after), nn.SiLU()]
    up: list[nn.Module] = [nn.Linear(latents, features), nn.Unflatten(-1, coarse)]
    for before, after in zip(widths[::-1], [*widths[-2::-1], channels], strict=True):
        up += [_norm(before), nn.SiLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(features, 2 * latents))
    return Vae(shape, latents, encoder, nn.Sequential(*up), pixels)


def _norm(channels: int) -> nn.Module:
    return nn.GroupNorm(GROUPS if channels % GROUPS == 0 else 1, channels)
