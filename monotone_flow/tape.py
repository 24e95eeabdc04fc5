"""Values and Jacobians of small nets by hand: one pass forward, one sweep back.

The gradient of a log-determinant needs second derivatives of a net. In low dimension D they are
cheapest in this order: carry D tangents beside the values (columns of the same matrix products),
and go back once through both. K nets of one shape run as batched products.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from monotone_flow.profiles import Profile, activate, deactivate


@dataclass(frozen=True)
class Net:
    """Hold the weights of K nets of one shape, as products take them.

    Args:
        weights: of each layer (K, m, inputs), the last one's m is D.
        biases: of each layer (K, m).
        betas: of each layer but the last (K, 1, 1), or none if the activation has no parameter.
        profile: the activation of all layers but the last.
        dense: each layer takes the input and all activations before it, not the last ones alone.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    betas: tuple[Tensor, ...]
    profile: Profile
    dense: bool = True

    @property
    def features(self) -> int:
        """Return D."""
        return self.weights[-1].shape[-2]

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all weights in one row, as an autograd function takes them."""
        return (*self.weights, *self.biases, *self.betas)

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> "Net":
        """Return a net of the same shape with the tensors of `tensors()`'s order."""
        n = len(self.weights)
        return Net(tensors[:n], tensors[n : 2 * n], tensors[2 * n :], self.profile, self.dense)

    def detach(self) -> "Net":
        """Return the same net without a graph."""
        return self.with_tensors(tuple(tensor.detach() for tensor in self.tensors()))

    def negative(self) -> "Net":
        """Return the net of -g."""
        weights = (*self.weights[:-1], -self.weights[-1])
        biases = (*self.biases[:-1], -self.biases[-1])
        return Net(weights, biases, self.betas, self.profile, self.dense)

    def beta(self, layer: int) -> Tensor | None:
        """Return the parameter of a layer's activation."""
        return self.betas[layer] if self.betas else None

    def span(self, layer: int) -> tuple[int, int]:
        """Return which rows of the tape a layer takes."""
        return self._spans[layer]

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        start, stop = 0, self.features
        found = [(start, stop)]
        for weight in self.weights[:-1]:
            start = 0 if self.dense else stop
            stop += self.profile.width(weight.shape[-2])
            found.append((start, stop))
        return found


@dataclass(frozen=True)
class Tape:
    """Hold what a pass over B samples left.

    Args:
        rows: (K, C, (1 + T) B), the input and all activations, T = D with tangents, else 0.
        pre: products of each layer (K, m, (1 + T) B), without biases.
        slopes: of the activations (K, P, B).
        out: (K, D, (1 + T) B).
    """

    rows: Tensor
    pre: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    out: Tensor
    batch: int

    @property
    def value(self) -> Tensor:
        """Return g(w), (K, D, B)."""
        return self.out[..., : self.batch]

    @property
    def jacobian(self) -> Tensor:
        """Return dg_i / dw_j at [:, i, j], (K, D, D, B)."""
        features = self.out.shape[1]
        return self.out.unflatten(-1, (1 + features, self.batch))[:, :, 1:]

    def with_columns(self, index: Tensor, other: "Tape") -> "Tape":
        """Return this tape with the samples at index (K, b) replaced by those of another tape."""

        def put(mine: Tensor, new: Tensor) -> Tensor:
            into = mine.unflatten(-1, (-1, self.batch))
            place = index[:, None, None].expand(-1, *into.shape[1:3], -1)
            return into.scatter(-1, place, new.unflatten(-1, (-1, other.batch))).flatten(-2)

        return Tape(
            put(self.rows, other.rows),
            tuple(put(a, b) for a, b in zip(self.pre, other.pre, strict=True)),
            tuple(put(a, b) for a, b in zip(self.slopes, other.slopes, strict=True)),
            put(self.out, other.out),
            self.batch,
        )


def evaluate(net: Net, w: Tensor, *, tangents: bool) -> Tape:
    """Return the tape of g at w (K, D, B)."""
    models, features, batch = w.shape
    width = (1 + features) * batch if tangents else batch
    last = len(net.weights) - 1
    rows = w.new_empty(models, net.span(last)[1], width)
    rows[:, :features, :batch] = w
    if tangents:
        directions = rows[:, :features, batch:].unflatten(-1, (features, batch))
        directions.copy_(torch.eye(features, dtype=w.dtype, device=w.device).unsqueeze(-1))
    pre, slopes = [], []
    sign = net.profile.sign(w)
    for layer in range(last):
        start, stop = net.span(layer)
        a = torch.bmm(net.weights[layer], rows[:, start:stop])
        into = rows[:, stop : stop + net.profile.width(a.shape[1])]
        bias, beta = net.biases[layer], net.beta(layer)
        slopes.append(activate(net.profile, a, bias, beta, sign, into, batch))
        pre.append(a)
    start, stop = net.span(last)
    out = torch.bmm(net.weights[last], rows[:, start:stop])
    out[..., :batch] += net.biases[last].unsqueeze(-1)
    return Tape(rows, tuple(pre), tuple(slopes), out, batch)


@dataclass
class Sweep:
    """Hold cotangents: of w (K, D, B), of each layer's pre-activations, and of the betas."""

    w: Tensor
    pre: list[Tensor]
    betas: list[Tensor]

    def add(self, other: "Sweep") -> None:
        """Add the weights' part of a sweep of values alone."""
        for mine, new in zip(self.pre, other.pre, strict=True):
            mine[..., : new.shape[-1]] += new
        self.betas = [a + b for a, b in zip(self.betas, other.betas, strict=True)]


def sweep(net: Net, tape: Tape, out_bar: Tensor) -> Sweep:
    """Go back through a tape.

    Args:
        net: the net that made it.
        tape: the tape.
        out_bar: cotangent of the tape's `out`, or of its values alone (K, D, B).
    """
    last = len(net.weights) - 1
    pre: list[Tensor] = [out_bar] * (last + 1)
    betas: list[Tensor] = []
    start, stop = net.span(last)
    rows_bar = torch.bmm(net.weights[last].mT, out_bar)
    if start:  # the last layer takes a part of the rows only
        padding = rows_bar.new_zeros(rows_bar.shape[0], start, rows_bar.shape[2])
        rows_bar = torch.cat((padding, rows_bar), 1)
    sign = net.profile.sign(out_bar)
    for layer in range(last - 1, -1, -1):
        start, stop = net.span(layer)
        a, slope = tape.pre[layer], tape.slopes[layer]
        own = rows_bar[:, stop : stop + slope.shape[1]]
        bias, beta = net.biases[layer], net.beta(layer)
        pre[layer], beta_bar = deactivate(net.profile, a, bias, beta, sign, slope, own, tape.batch)
        if beta_bar is not None:
            betas.insert(0, beta_bar)
        rows_bar[:, start:stop].baddbmm_(net.weights[layer].mT, pre[layer])
    return Sweep(rows_bar[:, : net.features, : tape.batch], pre, betas)


def gradients(net: Net, tape: Tape, found: Sweep) -> tuple[Tensor, ...]:
    """Return the gradients of `net.tensors()` from a sweep of values and perhaps tangents."""
    weights, biases = [], []
    for layer, pre_bar in enumerate(found.pre):
        start, stop = net.span(layer)
        rows = tape.rows[:, start:stop, : pre_bar.shape[-1]]
        weights.append(torch.bmm(pre_bar, rows.mT))
        biases.append(pre_bar[..., : tape.batch].sum(-1))
    return (*weights, *biases, *found.betas)
