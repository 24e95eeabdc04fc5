"""A chain as a flat list of steps, so that nested chains cost no memory of their own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection, Chain
from common.bijections.split import OnFirstHalf

# The part being transformed comes last; before it, the halves set aside, the outermost first.
State = tuple[Tensor, ...]


@dataclass(frozen=True)
class Link:
    """Apply a bijection to the last part of the state."""

    bijection: Bijection


@dataclass(frozen=True)
class Split:
    """Set the second half of the channels aside."""

    half: OnFirstHalf

    def move(self, state: State) -> State:
        """Return the state with one part more."""
        first, second = self.half._halves(state[-1])
        return (*state[:-1], second, first)

    def undo(self, state: State) -> State:
        """Return the state, or its gradient, with one part less."""
        *rest, second, first = state
        return (*rest, torch.cat((first, second), dim=-self.half.event_dims))


@dataclass(frozen=True)
class Merge:
    """Put the half that was set aside back behind the first one."""

    half: OnFirstHalf

    def move(self, state: State) -> State:
        """Return the state with one part less."""
        return Split(self.half).undo(state)

    def undo(self, state: State) -> State:
        """Return the state, or its gradient, with one part more."""
        return Split(self.half).move(state)


Step = Link | Split | Merge


def forward_steps(links: Iterable[nn.Module]) -> Iterator[Step]:
    """Yield what a chain of these links does, with chains inside it taken apart."""
    for link in links:
        if _is_plain_chain(link):
            yield from forward_steps(cast(Chain, link).links)
        elif type(link) is OnFirstHalf and _is_plain_chain(link.inner):
            yield Split(link)
            yield from forward_steps(cast(Chain, link.inner).links)
            yield Merge(link)
        else:
            yield Link(cast(Bijection, link))


def inverse_steps(links: Iterable[nn.Module]) -> Iterator[Step]:
    """Yield what the inverse of a chain of these links does, from the latents on."""
    for step in reversed(list(forward_steps(links))):
        if isinstance(step, Split):
            yield Merge(step.half)
        elif isinstance(step, Merge):
            yield Split(step.half)
        else:
            yield step


def _is_plain_chain(link: nn.Module) -> bool:
    """Say whether a link does what `Chain` does; a subclass may do more."""
    kind = type(link)
    return isinstance(link, Chain) and (
        getattr(kind, "composes_only", False)
        or all(
            getattr(kind, name) is getattr(Chain, name)
            for name in ("forward_and_logdet", "inverse_and_logdet", "inverse")
        )
    )
