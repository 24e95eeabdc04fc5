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

# Links without a network between two with one: their inputs have the size of an event and are all
# held at once, so there is an end to it.
MOST_LINKS = 6


@dataclass(frozen=True)
class Unit:
    """Apply a few bijections, one of them with a network, to the last part of the state.

    A unit is what is evaluated again at once: one step of Glow, for instance.
    """

    links: tuple[Bijection, ...]


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


Step = Unit | Split | Merge


def forward_steps(links: Iterable[nn.Module]) -> list[Step]:
    """Return what a chain of these links does, with chains inside it taken apart."""
    found: list[Step] = []
    unit: list[Bijection] = []

    def close() -> None:
        if unit:
            found.append(Unit(tuple(unit)))
            unit.clear()

    for part in _flat(links):
        if isinstance(part, Split | Merge):
            close()
            found.append(part)
            continue
        unit.append(part)
        if len(unit) == MOST_LINKS or _has_network(part):
            close()
    close()
    return found


def inverse_steps(links: Iterable[nn.Module]) -> list[Step]:
    """Return what the inverse of a chain of these links does, from the latents on."""
    opposite: list[Step] = []
    for step in reversed(forward_steps(links)):
        if isinstance(step, Unit):
            opposite.append(Unit(step.links[::-1]))
        else:
            opposite.append(Merge(step.half) if isinstance(step, Split) else Split(step.half))
    return opposite


def modules_of(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and all in it, shared ones as often as they stand there.

    `nn.Module.modules` builds names on the way, which takes longer than a link of a small flow.
    """
    waiting = [module]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += [child for child in found._modules.values() if child is not None]


def _flat(links: Iterable[nn.Module]) -> Iterator[Bijection | Split | Merge]:
    for link in links:
        if _is_plain_chain(link):
            yield from _flat(cast(Chain, link).links)
        elif type(link) is OnFirstHalf and _is_plain_chain(link.inner):
            yield Split(link)
            yield from _flat(cast(Chain, link.inner).links)
            yield Merge(link)
        else:
            yield cast(Bijection, link)


def _has_network(link: nn.Module) -> bool:
    return any(not isinstance(module, Bijection) for module in modules_of(link))


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
