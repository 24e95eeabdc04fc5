"""The published networks of image models, by size of event."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, get_args

import torch

from monotone_flow.activations import Activation, CLipSwish, CPila, CReLU, LipSwish
from monotone_flow.images.lipschitz import (
    COEFFICIENT,
    Lipschitz,
    LipschitzConv2d,
    LipschitzLinear,
    LipschitzPointwise,
)
from monotone_flow.images.nets import CONCATENATION, DenseNet, LipschitzNet, PlainNet

ActivationName = Literal["cpila", "clipswish", "lipswish", "crelu"]
ACTIVATIONS: dict[ActivationName, type[Activation]] = {
    "cpila": CPila,
    "clipswish": CLipSwish,
    "lipswish": LipSwish,
    "crelu": CReLU,
}
assert set(ACTIVATIONS) == set(get_args(ActivationName))


class Architecture(Protocol):
    """Make the networks of a chain."""

    def image(
        self, shape: tuple[int, int, int], first: bool, generator: torch.Generator | None
    ) -> LipschitzNet:
        """Return a network of images (C, H, W); the `first` one is next to the data."""
        ...

    def vector(self, features: int, generator: torch.Generator | None) -> LipschitzNet:
        """Return a network of vectors, for the blocks at the end of a chain."""
        ...


@dataclass(frozen=True)
class Dense:
    """Dense networks: `depth` 3x3 convolutions and a 1x1 one, each reading all that came before.

    The networks of vectors begin with a linear layer to `vector_width` features.

    Args:
        activation: what follows each dense layer.
        depth: dense layers.
        growth: channels that a dense layer adds, after an activation that doubles them.
        vector_width: features after the first layer of the networks of vectors.
        vector_growth: `growth` of those.
        coefficient: bound of every layer's norm.
        lip: bound of a dense layer's Lipschitz constant; the image networks' is lip^depth times
            the coefficient.

    Source of the defaults: Ahn, Kim, Hong, Kim, "Invertible Monotone Operators for Normalizing
    Flows", 2022, https://arxiv.org/abs/2210.08176; of the network: Perugachi-Diaz, Tomczak, Bhulai,
    "Invertible DenseNets with Concatenated LipSwish", 2021, https://arxiv.org/abs/2102.02694.
    """

    activation: ActivationName = "cpila"
    depth: int = 3
    growth: int = 172
    vector_width: int = 64
    vector_growth: int = 32
    coefficient: float = COEFFICIENT
    lip: float = CONCATENATION

    def image(
        self, shape: tuple[int, int, int], first: bool, generator: torch.Generator | None
    ) -> DenseNet:
        channels, height, width = shape

        def layer(inputs: int, outputs: int) -> Lipschitz:
            size = (height, width)
            return LipschitzConv2d(inputs, outputs, size, 3, self.coefficient, generator)

        hidden, activations = self._dense(channels, self.growth, layer, -3)
        last = LipschitzPointwise(
            channels + self.depth * self.growth, channels, self.coefficient, generator
        )
        return DenseNet(None, hidden, last, activations, self.lip, -3)

    def vector(self, features: int, generator: torch.Generator | None) -> DenseNet:
        def layer(inputs: int, outputs: int) -> Lipschitz:
            return LipschitzLinear(inputs, outputs, self.coefficient, generator)

        width = self.vector_width
        first = layer(features, width)
        hidden, activations = self._dense(width, self.vector_growth, layer, -1)
        last = layer(width + self.depth * self.vector_growth, features)
        return DenseNet(first, hidden, last, activations, self.lip, -1)

    def _dense(
        self, channels: int, growth: int, layer: Callable[[int, int], Lipschitz], dim: int
    ) -> tuple[list[Lipschitz], list[Activation]]:
        activations = [ACTIVATIONS[self.activation](dim) for _ in range(self.depth)]
        units = growth // activations[0].channels(1)
        if activations[0].channels(units) != growth:
            raise ValueError(f"Dense: expected an even growth for {self.activation}, got {growth}")
        return [layer(channels + i * growth, units) for i in range(self.depth)], activations


@dataclass(frozen=True)
class Plain:
    """Plain networks: 3x3, 1x1 and 3x3 convolutions; every one but the first begins with LipSwish.

    Args:
        activation: between the layers; one that does not double the channels.
        width: channels within.
        vector_width: features within the networks of vectors, which have three layers as well.
        coefficient: bound of every layer's norm; the networks' is its cube.

    Source: Chen, Behrmann, Duvenaud, Jacobsen, "Residual Flows for Invertible Generative Modeling",
    2019, https://arxiv.org/abs/1906.02735, appendix on architectures.
    """

    activation: ActivationName = "lipswish"
    width: int = 512
    vector_width: int = 128
    coefficient: float = COEFFICIENT

    def image(
        self, shape: tuple[int, int, int], first: bool, generator: torch.Generator | None
    ) -> PlainNet:
        channels, height, width = shape
        size = (height, width)
        layers = [
            LipschitzConv2d(channels, self.width, size, 3, self.coefficient, generator),
            LipschitzPointwise(self.width, self.width, self.coefficient, generator),
            LipschitzConv2d(self.width, channels, size, 3, self.coefficient, generator),
        ]
        return PlainNet(layers, self._activations(2 if first else 3, -3))

    def vector(self, features: int, generator: torch.Generator | None) -> PlainNet:
        widths = (features, self.vector_width, self.vector_width, features)
        layers = [
            LipschitzLinear(inputs, outputs, self.coefficient, generator)
            for inputs, outputs in pairwise(widths)
        ]
        return PlainNet(layers, self._activations(3, -1))

    def _activations(self, n: int, dim: int) -> list[Activation]:
        made = [ACTIVATIONS[self.activation](dim) for _ in range(n)]
        if made[0].channels(1) != 1:
            raise ValueError(f"Plain: {self.activation} doubles the channels; use it with Dense")
        return made
