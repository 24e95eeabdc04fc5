"""The generator and the discriminator of a DCGAN."""

import torch
from torch import Tensor, nn

from inverse_problems.priors.base import Prior
from inverse_problems.priors.pyramid import halvings

STD = 0.02  # of the initial weights
LEAK = 0.2


class Dcgan(Prior):
    """Generate images by transposed convolutions, trained against a discriminator.

    z is taken to a map of 4 x 4 pixels (7 x 7 for 28 pixels, see `pyramid.halvings`), which every
    stage doubles in size while its channels are halved; batch normalisation and ReLU between, and
    (tanh + 1) / 2 at the end. With width 64 it is the published network at 64 pixels:
    100 -> 512 -> 256 -> 128 -> 64 -> 3 channels.

    In training mode an image depends on its batch, by the batch normalisation; recovery is in
    evaluation mode, with the running averages.

    Source: Radford, Metz, Chintala, "Unsupervised Representation Learning with Deep Convolutional
    Generative Adversarial Networks", 2016, https://arxiv.org/abs/1511.06434; sizes as in the code
    that Asim et al., "Invertible generative models for inverse problems", 2020,
    https://arxiv.org/abs/1905.11672, published.

    Args:
        shape: (C, H, W); H and W even, at least 8.
        latents: k.
        width: channels at half the image's resolution, of both networks.

    Shapes: z (B, k), x (B, C, H, W).

    Raises:
        ValueError: the image cannot be halved.
    """

    def __init__(self, shape: tuple[int, int, int], latents: int = 100, width: int = 64) -> None:
        super().__init__(shape, latents)
        channels, height, breadth = shape
        stages = halvings(height, breadth)
        coarse = (height >> stages, breadth >> stages)
        widths = [width * 2**stage for stage in range(stages)]
        up: list[nn.Module] = [
            nn.ConvTranspose2d(latents, widths[-1], coarse, bias=False),
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(),
        ]
        for after in widths[-2::-1]:
            up += [
                nn.ConvTranspose2d(2 * after, after, 4, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        up.append(nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False))
        self.generator = nn.Sequential(*up, nn.Tanh())
        self.discriminator = Discriminator(channels, widths, coarse)
        self.apply(_initialise)

    def decode(self, z: Tensor) -> Tensor:
        return 0.5 * (self.generator(z[..., None, None]) + 1)


class Discriminator(nn.Module):
    """Tell images of the data from generated ones.

    Args:
        channels: C of the images.
        widths: channels after each halving.
        coarse: pixels (H, W) after the last one.

    Shapes: x (B, C, H, W) with values from 0 to 1 -> (B,), the logit of "from the data".
    """

    def __init__(self, channels: int, widths: list[int], coarse: tuple[int, int]) -> None:
        super().__init__()
        down: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False),
            nn.LeakyReLU(LEAK),
        ]
        for after in widths[1:]:
            down += [
                nn.Conv2d(after // 2, after, 4, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(LEAK),
            ]
        self.net = nn.Sequential(*down, nn.Conv2d(widths[-1], 1, coarse, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logit: Tensor = self.net(2 * x - 1).flatten()
        return logit


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02^2), the factors of batch normalisation around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, STD)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, STD)
        nn.init.zeros_(module.bias)
