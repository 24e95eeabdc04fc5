"""LU-Net as it was published: the algorithm, written anew from its description.

Where the description leaves a choice, the faster one is taken, so that nothing is gained over a
careless copy. Source: Chan, Penquitt, Gottschalk, "LU-Net: Invertible Neural Networks Based on
Matrix Factorization", 2023, https://arxiv.org/abs/2302.10524, and the code of its authors.
"""

import math

import numpy as np
import torch
from scipy import interpolate
from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.lu import LULinear

# The grid on which the inverse of the activation is interpolated: 2,000,001 points.
REACH, SPACING = 1000.0, 1e-3


class PublishedLULayer(nn.Module):
    """Map x to L (U x) + b with both factors dense, D^2 entries each.

    The structural zeros, and the ones of L, stay what they are at the start because their
    gradients are multiplied by zero.

    Args:
        layer: ours, whose numbers are taken over.
        k: which of its models.
    """

    def __init__(self, layer: LULinear, k: int = 0) -> None:
        super().__init__()
        packed = layer.packed.detach().reshape(-1, layer.features, layer.features)[k]
        bias = layer.bias.detach().reshape(-1, layer.features)[k]
        self.upper = nn.Parameter(packed.triu())
        self.lower = nn.Parameter(packed.tril(-1) + torch.eye(len(packed), device=packed.device))
        self.bias = nn.Parameter(bias.clone())
        above, below = torch.ones_like(packed).triu(), torch.ones_like(packed).tril(-1)
        self.upper.register_hook(lambda gradient: gradient * above)
        self.lower.register_hook(lambda gradient: gradient * below)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.upper), self.lower, self.bias)

    def log_diagonal(self) -> Tensor:
        """Return ln |u_dd|, summed over d."""
        return self.upper.diagonal().abs().log().sum()

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """Return x (B, D) of z (B, D) by two general solves, each with its own factorisation."""
        half: Tensor = torch.linalg.solve(self.lower, (z - self.bias).T)
        x: Tensor = torch.linalg.solve(self.upper, half).T
        return x


class PublishedLUNet(nn.Module):
    """Be one LU-Net in logit space, as published, with the numbers of slice k of ours.

    Args:
        layers: our LU layers.
        k: which of their models.
        slope: of the leaky softplus at minus infinity.
        margin: of the logit.
        levels: number of pixel values.
        spacing: of the spline's points on (-1000, 1000).
    """

    def __init__(
        self,
        layers: list[LULinear],
        k: int = 0,
        slope: float = 0.1,
        margin: float = 1e-5,
        levels: int = 256,
        spacing: float = SPACING,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PublishedLULayer(layer, k) for layer in layers)
        self.features = layers[0].features
        self.slope, self.margin, self.levels, self.spacing = slope, margin, levels, spacing

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return latents (B, D) and the detached inputs of the activations."""
        stored = []
        for m, layer in enumerate(self.layers):
            x = layer(x)
            if m < len(self.layers) - 1:
                stored.append(x.detach())
                x = leaky_softplus(x, self.slope)
        return x, stored

    def loss(self, x: Tensor, weight: float) -> Tensor:
        """Return the published loss of a batch, the sum in nats.

        Args:
            x: (B, D) in logit space.
            weight: of ln |u_dd|, 100 for images.
        """
        z, stored = self(x)
        constant = 0.5 * z.numel() * math.log(math.pi)
        slopes = [torch.log(self.slope + (1 - self.slope) * torch.sigmoid(y)).sum() for y in stored]
        diagonals = torch.stack([layer.log_diagonal() for layer in self.layers]).sum()  # type: ignore[operator]
        return constant + 0.5 * z.square().sum() - sum(slopes) - weight * len(z) * diagonals

    def preprocess(self, v: Tensor) -> Tensor:
        """Return pixel values (B, D) plus noise in logit space."""
        s = (v + torch.rand_like(v)) / self.levels * (1 - self.margin) + 0.5 * self.margin
        return torch.log(s) - torch.log(1 - s)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return pixel values (B, D) in [0, levels) of latents (B, D)."""
        for m, layer in enumerate(reversed(list(self.layers))):
            if m > 0:
                z = inverse_by_spline(z, self.slope, self.spacing)
            z = layer.inverse(z)  # type: ignore[operator]
        return (torch.sigmoid(z) - 0.5 * self.margin) / (1 - self.margin) * self.levels

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n draws (n, D) in [0, levels)."""
        z = torch.randn(n, self.features, generator=generator, device=generator.device)
        return self.decode(z)


def training_step(model: PublishedLUNet, optimiser: torch.optim.Optimizer, v: Tensor) -> Tensor:
    """Take one published step on pixel values (B, D): weight 100, SGD, gradient norm at most 1."""
    optimiser.zero_grad(set_to_none=True)
    loss = model.loss(model.preprocess(v), weight=100.0)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0, norm_type=2)
    optimiser.step()
    return loss.detach()


def leaky_softplus(x: Tensor, slope: float) -> Tensor:
    """Return phi(x) without overflow."""
    softplus = torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)
    return slope * x + (1 - slope) * softplus


def inverse_by_spline(y: Tensor, slope: float, spacing: float = SPACING) -> Tensor:
    """Return phi^-1(y) from a cubic spline through a grid, fitted anew at each call; float32."""
    x = torch.arange(-REACH, REACH + spacing, spacing, dtype=torch.float32)
    knots = interpolate.splrep(leaky_softplus(x, slope).numpy(), x.numpy(), s=0)
    values = interpolate.splev(y.detach().cpu().numpy(), knots)
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(y.device)
