"""Networks g of images or vectors whose Lipschitz constant is below one."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monotone_flow.activations import Activation
from monotone_flow.images.lipschitz import Lipschitz

Norm = Callable[[Lipschitz], float]
CONCATENATION = 0.98  # as published for images
FLOOR = 0.1  # share that either half of a concatenation keeps, before normalisation


def nominal(layer: Lipschitz) -> float:
    """Return the norm that a layer promises."""
    return layer.coefficient


@dataclass(frozen=True)
class Bound:
    """A network with its weights computed once, for the many evaluations of one pass.

    Args:
        function: g, sample by sample.
        tensors: everything with a gradient that g depends on beside its input.
    """

    function: Callable[[Tensor], Tensor]
    tensors: tuple[Tensor, ...]

    def __call__(self, x: Tensor) -> Tensor:
        """Return g(x), shaped like x."""
        return self.function(x)


class LipschitzNet(nn.Module):
    """Map an event to one of the same shape with a Lipschitz constant below one.

    A subclass implements `weights`, `evaluate` and `lipschitz`.
    """

    def weights(self) -> list[Tensor]:
        """Return the weights that count, with their gradients, in the order `evaluate` wants."""
        raise NotImplementedError

    def evaluate(self, x: Tensor, weights: Sequence[Tensor], extra: Sequence[Tensor]) -> Tensor:
        """Return g(x) with given weights; `extra` is added to the activations of each layer."""
        raise NotImplementedError

    def lipschitz(self, norm: Norm = nominal) -> float:
        """Return a bound of the Lipschitz constant from a bound of each layer's norm."""
        raise NotImplementedError

    def bind(self, extra: Sequence[Tensor] = ()) -> Bound:
        """Compute the weights once; the result holds their graph."""
        weights = self.weights()
        # What the weights were computed from acts through them alone; listed beside them, it would
        # get its gradient twice.
        sources = {id(p) for part in self.modules() for p in _folded(part)}
        rest = [p for p in self.parameters() if id(p) not in sources]
        tensors = tuple(t for t in (*weights, *rest, *extra) if t.requires_grad)
        return Bound(lambda x: self.evaluate(x, weights, extra), tensors)

    def forward(self, x: Tensor) -> Tensor:
        """Return g(x)."""
        return self.bind()(x)


class Concatenation(nn.Module):
    """Weigh the two halves of h -> [a h, b f(h)], where a^2 + b^2 = lip^2.

    (a, b) are the normalised softplus(K) + 0.1 of two learned numbers K that start at 1.

    Source: Perugachi-Diaz, Tomczak, Bhulai, "Invertible DenseNets with Concatenated LipSwish",
    2021, https://arxiv.org/abs/2102.02694.
    """

    def __init__(self, lip: float = CONCATENATION) -> None:
        super().__init__()
        self.lip = lip
        self.k = nn.Parameter(torch.ones(2))

    def shares(self) -> Tensor:
        """Return (a, b), shape (2,)."""
        return self.lip * F.normalize(F.softplus(self.k) + FLOOR, dim=0)

    def extra_repr(self) -> str:
        return f"lip={self.lip:g}"


class DenseNet(LipschitzNet):
    """Concatenate to the features what each layer makes of them; a last layer mixes them.

    h_0 = first(x) or x, h_i = [a_i h_{i-1}, b_i (act(K_i h_{i-1}) + e_i)], g = last(h_depth). The
    factors a and b are folded into the weights of the layers that read the features, so that no
    feature is scaled or copied for them.

    Args:
        first: a layer before the dense ones, or None.
        hidden: the dense layers.
        last: the layer to the event's own channels.
        activations: one for each dense layer.
        lip: Lipschitz constant of each dense layer, at most one.
        dim: the channels' dimension, -1 or -3.

    Source: as `Concatenation`.
    """

    def __init__(
        self,
        first: Lipschitz | None,
        hidden: Iterable[Lipschitz],
        last: Lipschitz,
        activations: Iterable[Activation],
        lip: float,
        dim: int,
    ) -> None:
        super().__init__()
        if not 0 < lip <= 1:
            raise ValueError(f"DenseNet: expected lip above 0 and at most 1, got {lip}")
        self.first = first
        self.hidden = nn.ModuleList(hidden)
        self.last = last
        self.activations = nn.ModuleList(activations)
        self.concatenations = nn.ModuleList(Concatenation(lip) for _ in self.hidden)
        self.dim = dim

    def weights(self) -> list[Tensor]:
        weights = [] if self.first is None else [self.first.normalised()]
        scale: Tensor | None = None  # of each feature, relative to what is in memory
        for layer, concatenation in zip(
            (*self.hidden, self.last), (*self.concatenations, None), strict=True
        ):
            weight = layer.normalised()
            channels = weight.shape[1]
            if scale is not None:
                weight = weight * scale.reshape(-1, *[1] * (weight.dim() - 2))
            weights.append(weight)
            if concatenation is not None:
                a, b = cast(Concatenation, concatenation).shares()
                old = weight.new_ones(channels) if scale is None else scale
                scale = torch.cat((a * old, b.expand(self._growth(weight))))
        return weights

    def evaluate(self, x: Tensor, weights: Sequence[Tensor], extra: Sequence[Tensor]) -> Tensor:
        rest = list(weights)
        h = x if self.first is None else self.first.affine(x, rest.pop(0))
        for i, (layer, activation) in enumerate(zip(self.hidden, self.activations, strict=True)):
            new = activation(cast(Lipschitz, layer).affine(h, rest[i]))
            h = torch.cat((h, new + extra[i] if extra else new), self.dim)
        return self.last.affine(h, rest[-1])

    def lipschitz(self, norm: Norm = nominal) -> float:
        bound = norm(self.last) * (1.0 if self.first is None else norm(self.first))
        for layer, concatenation in zip(self.hidden, self.concatenations, strict=True):
            a, b = cast(Concatenation, concatenation).shares().tolist()
            # Layers that keep their promise of at most one leave lip as the bound.
            bound *= (a**2 + b**2 * max(1.0, norm(cast(Lipschitz, layer))) ** 2) ** 0.5
        return bound

    def _growth(self, weight: Tensor) -> int:
        return cast(Activation, self.activations[0]).channels(weight.shape[0])


class PlainNet(LipschitzNet):
    """Alternate layers and activations, with one activation before the first layer if asked for.

    Args:
        layers: from the event's channels back to them.
        activations: one between two layers each, and one more if the net begins with it.

    Source: Chen, Behrmann, Duvenaud, Jacobsen, "Residual Flows for Invertible Generative Modeling",
    2019, https://arxiv.org/abs/1906.02735, appendix on architectures.
    """

    def __init__(self, layers: Iterable[Lipschitz], activations: Iterable[Activation]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activations = nn.ModuleList(activations)
        if len(self.layers) - len(self.activations) not in (0, 1):
            raise ValueError(
                f"PlainNet: expected as many activations as layers or one fewer, got "
                f"{len(self.activations)} and {len(self.layers)} layers"
            )

    def weights(self) -> list[Tensor]:
        return [cast(Lipschitz, layer).normalised() for layer in self.layers]

    def evaluate(self, x: Tensor, weights: Sequence[Tensor], extra: Sequence[Tensor]) -> Tensor:
        before = len(self.activations) - len(self.layers) + 1  # 1 where an activation begins
        for i, (layer, weight) in enumerate(zip(self.layers, weights, strict=True)):
            if i + before > 0:
                x = self.activations[i + before - 1](x)
            x = cast(Lipschitz, layer).affine(x, weight)
        return x

    def lipschitz(self, norm: Norm = nominal) -> float:
        bound = 1.0
        for layer in self.layers:
            bound *= norm(cast(Lipschitz, layer))
        return bound


def _folded(part: nn.Module) -> list[Tensor]:
    """Return the parameters that are part of the weights."""
    if isinstance(part, Lipschitz):
        return [part.weight]
    return [part.k] if isinstance(part, Concatenation) else []


def learn_concatenation(model: nn.Module, learn: bool) -> None:
    """Free or freeze the shares of all concatenations; published runs free them some epochs in."""
    for part in model.modules():
        if isinstance(part, Concatenation):
            part.k.requires_grad_(learn)
