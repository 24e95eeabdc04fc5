"""Find the input of links from their output, and evaluate them again with a graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from common.bijections.base import Bijection
from common.bijections.conditional import Coupling
from common.bijections.coupling import AffineCoupling
from common.bijections.reversible.repetition import Again


@dataclass(frozen=True)
class Trace:
    """Hold links that were evaluated again.

    Args:
        x: the input found from the output.
        leaves: where the graph begins; together they are x.
        y: the output, with its graph.
        logdet: the log-determinant, likewise; None if it was not asked for.
        join: makes the gradient by x of those by the leaves.
    """

    x: Tensor
    leaves: tuple[Tensor, ...]
    y: Tensor
    logdet: Tensor | None
    join: Callable[[Sequence[Tensor]], Tensor]


Links = Sequence[Bijection]


class Direction(Protocol):
    """Say which way a chain is passed; x goes in and y comes out.

    Links are given in the order of the pass.
    """

    def apply(self, links: Links, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return y and the log-determinant."""
        ...

    def undo(self, links: Links, y: Tensor) -> Tensor:
        """Return x."""
        ...

    def reused(self, link: Bijection, y: Tensor) -> Trace:
        """Return a trace of a coupling whose conditioner ran once."""
        ...


class Forward:
    """From data to latents."""

    def apply(self, links: Links, x: Tensor) -> tuple[Tensor, Tensor | None]:
        logdet: Tensor | None = None
        for link in links:
            x, term = link.forward_and_logdet(x)
            logdet = term if logdet is None else logdet + term
        return x, logdet

    def undo(self, links: Links, y: Tensor) -> Tensor:
        for link in reversed(links):
            y = link.inverse(y)
        return y

    def reused(self, link: Bijection, y: Tensor) -> Trace:
        if isinstance(link, Coupling):
            return _coupling_forward(link, y)
        return _affine_forward(cast(AffineCoupling, link), y)


class Inverse:
    """From latents to data."""

    def apply(self, links: Links, x: Tensor) -> tuple[Tensor, Tensor | None]:
        logdet: Tensor | None = None
        for link in links:
            x, term = link.inverse_and_logdet(x)
            logdet = term if logdet is None else logdet + term
        return x, logdet

    def undo(self, links: Links, y: Tensor) -> Tensor:
        for link in reversed(links):
            y = link.forward_and_logdet(y)[0]
        return y

    def reused(self, link: Bijection, y: Tensor) -> Trace:
        if isinstance(link, Coupling):
            return _coupling_inverse(link, y)
        return _affine_inverse(cast(AffineCoupling, link), y)


class InverseAlone(Inverse):
    """From latents to data, without log-determinants."""

    def apply(self, links: Links, x: Tensor) -> tuple[Tensor, Tensor | None]:
        for link in links:
            x = link.inverse(x)
        return x, None


def parts(links: Links, reuse: bool) -> list[Links]:
    """Return the parts of a unit that are retraced one by one.

    Args:
        links: of the unit.
        reuse: couplings stand alone, to let their conditioners run once instead of twice.
    """
    if not reuse:
        return [links]
    found: list[Links] = []
    start = 0
    for i, link in enumerate(links):
        if _reusable(link):
            found += [links[start:i], links[i : i + 1]]
            start = i + 1
    return [part for part in (*found, links[start:]) if part]


def retrace(direction: Direction, links: Links, y: Tensor, again: Again, reuse: bool) -> Trace:
    """Return the input that gave y, and the links evaluated there with a graph.

    Args:
        direction: of the pass that gave y.
        links: what gave it; with `reuse` a part of a unit.
        y: (*batch, *event), without a graph.
        again: surroundings of each further run of a conditioner.
        reuse: let conditioners of couplings run once instead of twice.
    """
    if reuse and _reusable(links[0]):
        with again:
            return direction.reused(links[0], y)
    with again, torch.no_grad():
        x = direction.undo(links, y)
    leaf = x.detach().requires_grad_()
    with again, torch.enable_grad():
        out, logdet = direction.apply(links, leaf)
    return Trace(x, (leaf,), out, logdet, lambda gradients: gradients[0])


def _reusable(link: Bijection) -> bool:
    return type(link) in (Coupling, AffineCoupling)  # a subclass may compute something else


# What conditions a coupling is the same before and after it, so its conditioner's output serves the
# inverse, without a graph, and the evaluation after it, with one.


def _coupling_forward(link: Coupling, z: Tensor) -> Trace:
    free = link.unconditional
    with torch.no_grad():
        kept, moved = link._take(z)
        if free is not None:
            kept = free.inverse(kept, link._free(kept))[0]
    kept = kept.detach().requires_grad_()
    with torch.enable_grad():
        raw = link._conditioned(kept)
    with torch.no_grad():
        moved = link.transformer.inverse(moved, raw)[0]
        x = link._put(kept, moved)
    moved = moved.detach().requires_grad_()
    with torch.enable_grad():
        changed, log_slope = link.transformer.forward(moved, raw)
        logdet, stays = link.sum_event(log_slope), kept
        if free is not None:
            stays, log_slope = free.forward(kept, link._free(kept))
            logdet = logdet + link.sum_event(log_slope)
        y = link._put(stays, changed)
    return Trace(x, (kept, moved), y, logdet, lambda gradients: link._put(*gradients))


def _coupling_inverse(link: Coupling, x: Tensor) -> Trace:
    free = link.unconditional
    with torch.no_grad():
        stays, moved = link._take(x)
        kept = stays if free is None else free.forward(stays, link._free(stays))[0]
    kept = kept.detach().requires_grad_()
    with torch.enable_grad():
        logdet: Tensor | float = 0.0
        stays = kept
        if free is not None:
            stays, log_slope = free.inverse(kept, link._free(kept))
            logdet = link.sum_event(log_slope)
        raw = link._conditioned(stays)
    with torch.no_grad():
        moved = link.transformer.forward(moved, raw)[0]
        z = link._put(kept, moved)
    moved = moved.detach().requires_grad_()
    with torch.enable_grad():
        changed, log_slope = link.transformer.inverse(moved, raw)
        y = link._put(stays, changed)
        logdet = logdet + link.sum_event(log_slope)
    return Trace(z, (kept, moved), y, logdet, lambda gradients: link._put(*gradients))


# The conditioners see x masked, and that is z masked: their gradient adds to that of the rest.


def _affine_forward(link: AffineCoupling, z: Tensor) -> Trace:
    seen = z.detach().requires_grad_()
    with torch.enable_grad():
        s, t = link._scale_and_shift(seen)
    with torch.no_grad():
        x = (z - t) * (-s).exp()
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        y, logdet = leaf * s.exp() + t, link.sum_event(s)
    return Trace(x, (seen, leaf), y, logdet, lambda gradients: gradients[0] + gradients[1])


def _affine_inverse(link: AffineCoupling, x: Tensor) -> Trace:
    seen = x.detach().requires_grad_()
    with torch.enable_grad():
        s, t = link._scale_and_shift(seen)
    with torch.no_grad():
        z = x * s.exp() + t
    leaf = z.detach().requires_grad_()
    with torch.enable_grad():
        y, logdet = (leaf - t) * (-s).exp(), -link.sum_event(s)
    return Trace(z, (seen, leaf), y, logdet, lambda gradients: gradients[0] + gradients[1])
