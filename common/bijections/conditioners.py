"""Networks that condition couplings; their output has the shape of their input."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Add two normalised convolutions to their input.

    conv - instance norm - ReLU - conv - instance norm, plus the input, then ReLU; no biases, no
    affine parameters in the norms. Shapes: (B, P, H, W) in and out.
    """

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.second = nn.Conv2d(planes, planes, 3, padding=1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Return the block's output, (B, P, H, W)."""
        inner = F.relu(_instance_norm(self.first(h)))
        return F.relu(h + _instance_norm(self.second(inner)))


class ResidualConvNet(nn.Module):
    """Map images to images: a convolution, two residual blocks, a convolution; no biases.

    Args:
        channels: C of the images.
        planes: width P of the hidden layers.

    Shapes: (*batch, C, H, W) in and out.
    """

    def __init__(self, channels: int, planes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, planes, 3, padding=1, bias=False),
            ResidualBlock(planes),
            ResidualBlock(planes),
            nn.Conv2d(planes, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return an image per image, (*batch, C, H, W)."""
        images = x.reshape(-1, *x.shape[-3:])
        return self.layers(images).reshape(x.shape)

    def __repr__(self) -> str:  # one line: a flow prints dozens of these
        first = self.layers[0]
        return f"ResidualConvNet({first.in_channels} channels, {first.out_channels} planes)"


class MLP(nn.Module):
    """Map vectors to vectors with fully connected layers and ReLU between them.

    Args:
        features: D of the vectors.
        width: width of the hidden layers.
        hidden: number of hidden layers.

    Shapes: (*batch, D) in and out.
    """

    def __init__(self, features: int, width: int, hidden: int = 2) -> None:
        super().__init__()
        sizes = [features, *[width] * hidden, features]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """Return a vector per vector, (*batch, D)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def __repr__(self) -> str:
        sizes = [layer.in_features for layer in self.layers] + [self.layers[-1].out_features]
        return f"MLP({' -> '.join(map(str, sizes))})"


def draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every convolution and linear layer anew, uniform in +-1/sqrt(fan-in) as torch does.

    torch's own constructors draw from the global generator only.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)


def _instance_norm(h: Tensor) -> Tensor:
    return F.group_norm(h, h.shape[1])
