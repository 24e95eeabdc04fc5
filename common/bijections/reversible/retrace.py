"""Find a link's input from its output, and evaluate the link again with a graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from common.bijections.base import Bijection
from common.bijections.conditional import Coupling
from common.bijections.coupling import AffineCoupling
from common.bijections.reversible.repetition import Again


@dataclass(frozen=True)
class Trace:
    """Hold a link that was evaluated again.

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


class Direction(Protocol):
    """Say which way a chain is passed; x goes in and y comes out."""

    def apply(self, link: Bijection, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return y and its log-determinant."""
        ...

    def undo(self, link: Bijection, y: Tensor) -> Tensor:
        """Return x."""
        ...

    def reused(self, link: Bijection, y: Tensor) -> Trace | None:
        """Return a trace for which conditioners ran once, None where no way is known."""
        ...


class Forward:
    """From data to latents."""

    def apply(self, link: Bijection, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return link.forward_and_logdet(x)

    def undo(self, link: Bijection, y: Tensor) -> Tensor:
        return link.inverse(y)

    def reused(self, link: Bijection, y: Tensor) -> Trace | None:
        # A subclass may compute something else.
        if type(link) is Coupling:
            return _coupling_forward(link, y)
        return _affine_forward(link, y) if type(link) is AffineCoupling else None


class Inverse:
    """From latents to data."""

    def apply(self, link: Bijection, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return link.inverse_and_logdet(x)

    def undo(self, link: Bijection, y: Tensor) -> Tensor:
        return link.forward_and_logdet(y)[0]

    def reused(self, link: Bijection, y: Tensor) -> Trace | None:
        if type(link) is Coupling:
            return _coupling_inverse(link, y)
        return _affine_inverse(link, y) if type(link) is AffineCoupling else None


class InverseAlone(Inverse):
    """From latents to data, without log-determinants."""

    def apply(self, link: Bijection, x: Tensor) -> tuple[Tensor, Tensor | None]:
        return link.inverse(x), None


def retrace(direction: Direction, link: Bijection, y: Tensor, again: Again, reuse: bool) -> Trace:
    """Return the input that gave y, and the link evaluated there with a graph.

    Args:
        direction: of the pass that gave y.
        link: what gave it.
        y: (*batch, *event), without a graph.
        again: surroundings of each further run of a conditioner.
        reuse: let conditioners of couplings run once instead of twice.
    """
    if reuse:
        with again:
            found = direction.reused(link, y)
        if found is not None:
            return found
    with again, torch.no_grad():
        x = direction.undo(link, y)
    leaf = x.detach().requires_grad_()
    with again, torch.enable_grad():
        out, logdet = direction.apply(link, leaf)
    return Trace(x, (leaf,), out, logdet, lambda gradients: gradients[0])


# What conditions a coupling is the same before and after it, so its conditioner's output serves the
# inverse, without a graph, and the evaluation after it, with one.


def _coupling_forward(link: Coupling, z: Tensor) -> Trace:
    free = link.unconditional
    with torch.no_grad():
        kept, moved = link._take(z, link.kept), link._take(z, link.changed)
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
        stays, moved = link._take(x, link.kept), link._take(x, link.changed)
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
