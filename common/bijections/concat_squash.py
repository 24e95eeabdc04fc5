"""A vector field that depends on time, with its divergence at the price of a forward pass."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Nonlinearity = Literal["softplus", "tanh"]


class ConcatSquash(nn.Module):
    """Apply an affine map whose outputs time scales and shifts: (W x + b) sigmoid(g t + c) + s t.

    Args:
        inputs: number of features that come in.
        outputs: number of features that go out.
        models: leading dimensions of the parameters, one slice per independent model.

    Reference: FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models,
    Grathwohl, Chen, Bettencourt, Sutskever and Duvenaud, 2019, https://arxiv.org/abs/1810.01367.
    """

    def __init__(self, inputs: int, outputs: int, models: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*models, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(*models, outputs))
        self.gate_slope = nn.Parameter(torch.empty(*models, outputs))
        self.gate_bias = nn.Parameter(torch.empty(*models, outputs))
        self.shift = nn.Parameter(torch.empty(*models, outputs))
        self.draw(None)

    def draw(self, generator: torch.Generator | None) -> None:
        """Draw all parameters anew, uniform in +-1/sqrt(fan-in); time is a fan-in of one."""
        bound = self.weight.shape[-1] ** -0.5
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        for parameter in (self.gate_slope, self.gate_bias, self.shift):
            nn.init.uniform_(parameter, -1, 1, generator=generator)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the map's matrix and offset at time t.

        Shapes: t (*models, 1) -> (*models, outputs, inputs) and (*models, 1, outputs).
        """
        gate = torch.sigmoid(self.gate_slope * t + self.gate_bias)
        offset = gate * self.bias + self.shift * t
        return gate.unsqueeze(-1) * self.weight, offset.unsqueeze(-2)


class ConcatSquashNet(nn.Module):
    """Map (t, x) to a velocity with concat-squash layers and a smooth nonlinearity between them.

    Tangents are pushed forward through the layers beside the values, so a divergence is an ordinary
    expression: training differentiates once through it, not twice.

    Args:
        features: D.
        width: H, width of the hidden layers.
        layers: number of hidden layers, at least 1.
        nonlinearity: "softplus" or "tanh".
        models: leading dimensions of the parameters, one slice per independent model.

    Shapes: x (*models, B, D), t (*models, 1) -> velocity (*models, B, D).
    """

    def __init__(
        self,
        features: int,
        width: int,
        layers: int,
        nonlinearity: Nonlinearity = "softplus",
        models: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if layers < 1 or nonlinearity not in ("softplus", "tanh"):
            raise ValueError(
                "ConcatSquashNet: expected layers >= 1 and nonlinearity softplus or tanh, "
                f"got {layers} and {nonlinearity!r}"
            )
        self.features, self.width, self.models = features, width, models
        self.nonlinearity = nonlinearity
        sizes = [features, *[width] * layers, features]
        self.layers = nn.ModuleList(ConcatSquash(a, b, models) for a, b in pairwise(sizes))

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Return the velocity alone."""
        return self._run(t, x)[0]

    def with_divergence(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocity and its exact divergence (*models, B).

        With two hidden layers of slopes s1 and s2, tr(W3 diag(s2) W2 diag(s1) W1) is the bilinear
        form s2' M s1 with M = W2 * (W1 W3)' elementwise, which costs as much as the forward pass.
        Else D tangents are pushed through the hidden layers.
        """
        velocity, weights, slopes = self._run(t, x)
        first, *middle, last = weights
        if len(slopes) == 2:
            mixed = middle[0] * (first @ last).mT
            return velocity, ((slopes[1] @ mixed) * slopes[0]).sum(-1)
        tangents = first.mT.unsqueeze(-2) * slopes[0].unsqueeze(-3)  # (*models, D, B, H)
        for weight, slope in zip(middle, slopes[1:], strict=True):
            tangents = (tangents @ weight.mT.unsqueeze(-3)) * slope.unsqueeze(-3)
        return velocity, (tangents * last.unsqueeze(-2)).sum((-3, -1))

    def with_probes(self, t: Tensor, x: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the velocity and v' J v for each probe v of the Jacobian J.

        Shapes: probes (S, *models, B, D) -> (S, *models, B).
        """
        velocity, weights, slopes = self._run(t, x)
        tangents = probes
        for weight, slope in zip(weights[:-1], slopes, strict=True):
            tangents = (tangents @ weight.mT) * slope
        return velocity, ((tangents @ weights[-1].mT) * probes).sum(-1)

    def _run(self, t: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the velocity, the layers' matrices and the slopes of the nonlinearities."""
        weights: list[Tensor] = []
        slopes: list[Tensor] = []
        for layer in self.layers:
            if weights:
                x, slope = self._activate(x)
                slopes.append(slope)
            weight, offset = layer.at(t)  # type: ignore[operator]
            x = x @ weight.mT + offset
            weights.append(weight)
        return x, weights, slopes

    def _activate(self, h: Tensor) -> tuple[Tensor, Tensor]:
        if self.nonlinearity == "tanh":
            value = torch.tanh(h)
            return value, 1 - value.square()
        return F.softplus(h), torch.sigmoid(h)

    def __repr__(self) -> str:  # one line: the layers follow from these numbers
        return (
            f"ConcatSquashNet({self.features} features, {len(self.layers) - 1} hidden layers of "
            f"{self.width}, {self.nonlinearity}, models={self.models})"
        )
