"""Fully connected networks of K models side by side."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from common.bijections.residual_net import StackedLinear


class StackedMLP(nn.Module):
    """Map vectors to vectors with fully connected layers and ReLU between them.

    Args:
        inputs: number of input features.
        outputs: number of output features.
        width: width of the hidden layers.
        hidden: number of hidden layers.
        models: leading dimensions of the parameters, one slice per independent model.

    Shapes: (*models, B, inputs) -> (*models, B, outputs); with models=() any leading dimensions.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, hidden: int, models: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.sizes = [inputs, *[width] * hidden, outputs]
        linear = [StackedLinear(a, b, models) for a, b in pairwise(self.sizes)]
        self.layers = nn.ModuleList(linear)

    def forward(self, x: Tensor) -> Tensor:
        """Return (*models, B, outputs)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def __repr__(self) -> str:
        return f"StackedMLP({' -> '.join(map(str, self.sizes))})"
