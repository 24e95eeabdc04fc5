"""Run links a second time as if it were the first: same numbers, no traces left behind."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType

import torch
from torch import Tensor, nn

# The base of all dropout layers.
from torch.nn.modules.dropout import _DropoutNd

from common.bijections.base import Bijection
from common.bijections.reversible.program import modules_of
from common.errors import UserError


@dataclass
class Note:
    """Hold what a second run of some links needs to know about the first.

    Args:
        parameters: those that want a gradient.
        starting: bijections in training mode. They may move statistics or start from data before
            they map, and map by what they then have: evaluation mode repeats just that.
        statistics: buffers of other modules in training mode, such as the running statistics of
            conditioners, which a second run must not move again: (module, name).
        own: buffers of the bijections in training mode, with their versions after the first run.
        random: whether conditioners draw.
        states: of the random number generators before the first run, if they do.
    """

    parameters: list[Tensor] = field(default_factory=list)
    starting: list[Bijection] = field(default_factory=list)
    statistics: list[tuple[nn.Module, str]] = field(default_factory=list)
    own: list[tuple[Bijection, Tensor, int]] = field(default_factory=list)
    random: bool = False
    states: list[Tensor] = field(default_factory=list)

    def before(self, device: torch.device) -> None:
        """Note the generators' states."""
        if self.random:
            self.states = _states(device)

    def after(self) -> None:
        """Note which values the bijections' statistics have."""
        self.own = [(link, buffer, buffer._version) for link, buffer, _ in self.own]

    def check(self) -> None:
        """Refuse a second run that could not be the same.

        Raises:
            UserError: statistics have moved since.
        """
        for link, buffer, version in self.own:
            if buffer._version != version:
                raise UserError(
                    f"{type(link).__name__}: its statistics have moved since the pass that is "
                    "differentiated; call backward before the next pass, or put it in evaluation "
                    "mode"
                )


def survey(links: Iterable[Bijection]) -> Note:
    """Return what stands in the way of repeating some links.

    Raises:
        UserError: one draws its log-determinant at random.
    """
    note = Note()
    parameters: dict[int, Tensor] = {}
    for module in (module for link in links for module in modules_of(link)):
        for parameter in module._parameters.values():
            if parameter is not None and parameter.requires_grad:
                parameters[id(parameter)] = parameter
        if not module.training:
            continue
        buffers = [(name, b) for name, b in module._buffers.items() if b is not None]
        if isinstance(module, Bijection):
            if getattr(module, "stochastic", False):
                raise UserError(
                    f"{type(module).__name__}: its log-determinant is drawn at random, and a "
                    "second run would draw another; expected backprop plain, or evaluation mode"
                )
            note.starting.append(module)
            note.own += [(module, buffer, 0) for _, buffer in buffers]
        else:
            note.statistics += [(module, name) for name, _ in buffers]
            note.random |= isinstance(module, _DropoutNd) and module.p > 0
    note.parameters = list(parameters.values())
    return note


class Again:
    """Be the surroundings of a second run of some links; may be entered any number of times.

    Args:
        note: of the first run.
        device: where the links compute.
    """

    def __init__(self, note: Note, device: torch.device) -> None:
        self._note, self._device = note, device

    def __enter__(self) -> None:
        note = self._note
        note.check()
        for bijection in note.starting:
            # What `bijection.training = False` does in fifty times as long.
            object.__setattr__(bijection, "training", False)
        # Copies take the place of the buffers: what has been saved of these stays valid.
        self._kept = [module._buffers[name] for module, name in note.statistics]
        for (module, name), buffer in zip(note.statistics, self._kept, strict=True):
            assert buffer is not None
            module._buffers[name] = buffer.clone()
        if note.random:
            self._outer = _states(self._device)
            _set_states(note.states, self._device)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        note = self._note
        for bijection in note.starting:
            object.__setattr__(bijection, "training", True)
        for (module, name), buffer in zip(note.statistics, self._kept, strict=True):
            module._buffers[name] = buffer
        if note.random:
            _set_states(self._outer, self._device)


def _states(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return states


def _set_states(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
