"""The Lipschitz net of a block: dense layers, each held below its norm by power iteration."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Of one net of depth d: weight0 .. weight<d> (out, in), bias0 .. bias<d> (out,), concat (d, 2), and
# where the singular vectors are to be taken over, left0 .. (out,) and right0 .. (in,).
Weights = Mapping[str, Tensor]
Activation = Callable[[Tensor], Tensor]

FIRST_ITERATIONS = LONGEST = 200


@dataclass(frozen=True)
class Net:
    """Be a net with normalised weights.

    Args:
        weights: depth + 1 matrices (out, in).
        biases: as many vectors (out,).
        scales: (depth, 2), what is kept and what is new are multiplied by.
        activation: doubles the features.
    """

    weights: list[Tensor]
    biases: list[Tensor]
    scales: Tensor
    activation: Activation

    def __call__(self, x: Tensor) -> Tensor:
        """Return g(x) (B, D) of x (B, D)."""
        h = x
        layers = zip(self.weights, self.biases, self.scales, strict=False)
        for weight, bias, scale in layers:
            new = self.activation(F.linear(h, weight, bias))
            h = torch.cat((scale[0] * h, scale[1] * new), -1)
        return F.linear(h, self.weights[-1], self.biases[-1])

    def copy(self) -> "Net":
        """Return a net of its own leaves, which, as published, still ask for gradients."""

        def leaf(tensor: Tensor) -> Tensor:
            return tensor.detach().clone().requires_grad_()

        weights, biases = [leaf(w) for w in self.weights], [leaf(b) for b in self.biases]
        return Net(weights, biases, leaf(self.scales), self.activation)


class PublishedDense(nn.Module):
    """Hold the raw weights of a net and the singular vectors that its norms are estimated by.

    Args:
        weights: start values; copied.
        activation: doubles the features.
        coefficient: that the norm of each matrix is held below.
        concat_coefficient: the Lipschitz constant of a concatenation.
        generator: of the singular vectors where `weights` has none.
    """

    def __init__(
        self,
        weights: Weights,
        activation: Activation,
        coefficient: float,
        concat_coefficient: float,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        depth = len(weights["concat"])
        names = range(depth + 1)
        self.weights = nn.ParameterList(weights[f"weight{i}"].detach().clone() for i in names)
        self.biases = nn.ParameterList(weights[f"bias{i}"].detach().clone() for i in names)
        self.concat = nn.Parameter(weights["concat"].detach().clone())
        self.activation = activation
        self.coefficient, self.concat_coefficient = coefficient, concat_coefficient
        for i, weight in enumerate(self.weights):
            if f"left{i}" in weights:
                self.register_buffer(f"left{i}", weights[f"left{i}"].detach().clone())
                self.register_buffer(f"right{i}", weights[f"right{i}"].detach().clone())
            else:
                left = torch.randn(len(weight), generator=generator).to(weight)
                self.register_buffer(f"left{i}", F.normalize(left, dim=0))
                self.register_buffer(f"right{i}", torch.zeros_like(weight[0].detach()))
                self._iterate(i, FIRST_ITERATIONS, None)

    def normalised(self) -> Net:
        """Return the net that this call of the block uses, with the graph to the raw weights."""
        weights = []
        for i, weight in enumerate(self.weights):
            left, right = self._vectors(i)
            norm = left @ (weight @ right)
            weights.append(weight / (norm / self.coefficient).clamp(min=1))
        scale = F.softplus(self.concat) + 0.1
        scale = self.concat_coefficient * scale / scale.norm(dim=-1, keepdim=True)
        return Net(weights, list(self.biases), scale, self.activation)

    def update(self, iterations: int | None = None, tolerance: float = 1e-4) -> None:
        """Improve the singular vectors, by so many iterations or until they move little."""
        for i in range(len(self.weights)):
            self._iterate(i, iterations or LONGEST, None if iterations else tolerance)

    @torch.no_grad()
    def _iterate(self, i: int, iterations: int, tolerance: float | None) -> None:
        weight = self.weights[i]
        left, right = vectors = self._vectors(i)
        for _ in range(iterations):
            before = left, right
            right = F.normalize(weight.mT @ left, dim=0)
            left = F.normalize(weight @ right, dim=0)
            if tolerance is not None and all(
                bool((new - old).norm() / math.sqrt(len(new)) < tolerance * (1 + new.max()))
                for new, old in zip((left, right), before, strict=True)
            ):
                break
        for own, new in zip(vectors, (left, right), strict=True):
            own.copy_(new)

    def _vectors(self, i: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"left{i}"), getattr(self, f"right{i}")


def fresh_weights(features: int, depth: int, growth: int, generator: torch.Generator) -> Weights:
    """Return start values of a net D -> D, float32: uniform below 1 / sqrt(fan in), concat 1.

    Args:
        features: D.
        depth: number of concatenations.
        growth: features that each adds, half of which a matrix puts out.
        generator: the source of the numbers, on the CPU.
    """
    weights = {"concat": torch.ones(depth, 2)}
    for i in range(depth + 1):
        inputs = features + i * growth
        outputs = growth // 2 if i < depth else features
        for name, shape in ((f"weight{i}", (outputs, inputs)), (f"bias{i}", (outputs,))):
            uniform = torch.rand(shape, generator=generator)
            weights[name] = (2 * uniform - 1) / math.sqrt(inputs)
    return weights
