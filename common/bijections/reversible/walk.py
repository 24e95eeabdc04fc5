"""Back-propagate through a chain from its output, without the activations between its links."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from common.bijections.reversible.program import State, Step, Unit
from common.bijections.reversible.repetition import Again, Note, survey
from common.bijections.reversible.retrace import Direction, Trace, parts, retrace


class Reconstruction:
    """Keep count of how well inputs were found again from outputs.

    The error of a backward pass is the largest absolute difference between a chain's input as it
    was and as found, over the largest absolute value of the input or over 1 if that is larger. With
    anchors it is the largest of all pieces.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.pieces = 0
        self.fallbacks = 0
        self._worst: Tensor | None = None

    def add(self, error: Tensor, fell_back: bool) -> None:
        """Count the error of one piece of a chain; the first fallback gives a warning."""
        self.pieces += 1
        self.fallbacks += fell_back
        if fell_back and self.fallbacks == 1:
            warnings.warn(
                f"an input was found again with an error of {float(error):.1e}, so its gradients "
                "were computed with checkpoints; if this goes on, anchor_every or backprop "
                "checkpoint saves time",
                RuntimeWarning,
                stacklevel=2,
            )
        worst = self._worst
        self._worst = error if worst is None else torch.maximum(worst.to(error.device), error)

    @property
    def worst(self) -> float:
        """Return the largest error since the last reset; 0 before any, NaN if one was."""
        return 0.0 if self._worst is None else float(self._worst)

    def __repr__(self) -> str:
        return f"Reconstruction(worst={self.worst:.2g}, fallbacks={self.fallbacks})"


@dataclass
class Plan:
    """Hold what a pass and its way back have in common.

    Args:
        direction: forward, inverse, or inverse without log-determinants.
        steps: what the pass does, in its order.
        reuse: let conditioners of couplings run once on the way back instead of twice.
        bound: largest error of a found input; above it a piece is done again with checkpoints. None
            to accept every input and never wait for the device.
        anchor_every: keep the state after at least as many links; None to keep the input alone.
        reconstruction: where errors are counted.
    """

    direction: Direction
    steps: Sequence[Step]
    reuse: bool
    bound: float | None
    anchor_every: int | None
    reconstruction: Reconstruction
    notes: list[Note | None] = field(init=False)

    def __post_init__(self) -> None:
        self.notes = [survey(s.links) if isinstance(s, Unit) else None for s in self.steps]

    def parameters(self, notes: Iterable[Note | None]) -> list[Tensor]:
        """Return each parameter once that wants a gradient."""
        every = [p for note in notes if note is not None for p in note.parameters]
        return list({id(p): p for p in every}.values())

    def anchors(self) -> list[int]:
        """Return the steps whose input is kept; the first is one of them."""
        found, links = [0], 0
        for i, step in enumerate(self.steps):
            if isinstance(step, Unit):
                if self.anchor_every is not None and links >= self.anchor_every:
                    found.append(i)
                    links = 0
                links += len(step.links)
        return found


def checkpointed(
    plan: Plan, state: State, steps: range, repeated: bool = False
) -> tuple[State, Tensor | None]:
    """Return the state after some steps and their log-determinant, keeping the inputs of units.

    Args:
        plan: of the pass.
        state: before the steps.
        steps: which of the plan's.
        repeated: the pass has been made before.
    """
    logdet = None
    for i in steps:
        step, note = plan.steps[i], plan.notes[i]
        if not isinstance(step, Unit):
            state = step.move(state)
            continue
        assert note is not None
        if not repeated:
            note.before(state[-1].device)
        y, term = _checkpointed_unit(plan.direction, step, note, state[-1], repeated)
        if not repeated:
            note.after()
        state = (*state[:-1], y)
        logdet = term if logdet is None else logdet + term
    return state, logdet


def _checkpointed_unit(
    direction: Direction, unit: Unit, note: Note, x: Tensor, repeated: bool
) -> tuple[Tensor, Any]:
    device = x.device
    again = Again(note, device)
    first = again if repeated else Again(Note(), device)  # the latter does nothing
    return checkpoint(
        direction.apply,
        unit.links,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # `again` does, and only where something is drawn
        context_fn=lambda: (first, again),
    )


class Walk(torch.autograd.Function):
    """Pass a chain and keep its input, its output and its anchors.

    The way back finds the input of one link at a time, evaluates the link there with a graph, and
    sends the gradient through it.
    """

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, x: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        state: State = (x,)
        logdet = None
        anchors = set(plan.anchors())
        kept: list[State] = []
        for i, (step, note) in enumerate(zip(plan.steps, plan.notes, strict=True)):
            if i in anchors:
                kept.append(state)
            if not isinstance(step, Unit):
                state = step.move(state)
                continue
            assert note is not None
            note.before(x.device)
            y, term = plan.direction.apply(step.links, state[-1])
            note.after()
            state = (*state[:-1], y)
            if term is not None:
                logdet = term if logdet is None else logdet + term
        (z,) = state
        ctx.plan, ctx.lengths = plan, [len(state) for state in kept]
        # The parameters only so that autograd sees to it that nobody changes them meanwhile.
        ctx.save_for_backward(z, *(part for state in kept for part in state), *parameters)
        ctx.set_materialize_grads(False)
        return z, logdet

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_z: Tensor | None, grad_logdet: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        plan: Plan = ctx.plan
        z, *saved = ctx.saved_tensors
        kept: list[State] = []
        for length in ctx.lengths:
            kept.append(tuple(saved[:length]))
            saved = saved[length:]
        state: State = (z.detach(),)
        slope: State = (torch.zeros_like(z) if grad_z is None else grad_z,)
        by_parameter: dict[int, Tensor] = {}
        ends = [*plan.anchors(), len(plan.steps)]
        for anchor in reversed(range(len(kept))):
            steps = range(ends[anchor], ends[anchor + 1])
            truth = tuple(part.detach() for part in kept[anchor])
            found, before, gradients = _piece_back(plan, steps, state, slope, grad_logdet)
            error = _difference(truth, found)
            # Written so that NaN is too large.
            lost = plan.bound is not None and not bool(error <= plan.bound)
            if lost:
                before, gradients = _piece_again(plan, steps, truth, slope, grad_logdet)
            plan.reconstruction.add(error, lost)
            _add(by_parameter, gradients)
            state, slope = truth, before
        grad_x = slope[0] if ctx.needs_input_grad[1] else None
        return None, grad_x, *(by_parameter.get(id(p)) for p in plan.parameters(plan.notes))


Gradients = dict[int, Tensor]


def _add(total: Gradients, more: Gradients) -> None:
    for key, gradient in more.items():
        # Not in place: autograd may hand out one tensor for several parameters.
        total[key] = total[key] + gradient if key in total else gradient


def _piece_back(
    plan: Plan, steps: range, state: State, slope: State, grad_logdet: Tensor | None
) -> tuple[State, State, Gradients]:
    """Return state and gradient before some steps, found from those after them."""
    by_parameter: Gradients = {}
    for i in reversed(steps):
        step, note = plan.steps[i], plan.notes[i]
        if not isinstance(step, Unit):
            state, slope = step.undo(state), step.undo(slope)
            continue
        assert note is not None
        again = Again(note, state[-1].device)
        for part in reversed(parts(step.links, plan.reuse)):
            trace = retrace(plan.direction, part, state[-1], again, plan.reuse)
            grad_x, gradients = _through(trace, slope[-1], grad_logdet, note.parameters)
            state, slope = (*state[:-1], trace.x), (*slope[:-1], grad_x)
            _add(by_parameter, gradients)
    return state, slope, by_parameter


def _through(
    trace: Trace, grad_y: Tensor, grad_logdet: Tensor | None, parameters: Sequence[Tensor]
) -> tuple[Tensor, Gradients]:
    """Return the gradients by the input of some links and by parameters."""
    gradients = _pulled_back(
        [(trace.y, grad_y), (trace.logdet, grad_logdet)], [*trace.leaves, *parameters]
    )
    count = len(trace.leaves)
    by_leaf = _filled(trace.leaves, gradients[:count])
    return trace.join(by_leaf), _named(parameters, gradients[count:])


def _piece_again(
    plan: Plan, steps: range, state: State, slope: State, grad_logdet: Tensor | None
) -> tuple[State, Gradients]:
    """Return the gradients before some steps, from the state before them: with checkpoints."""
    leaves = [part.detach().requires_grad_() for part in state]
    parameters = plan.parameters(plan.notes[i] for i in steps)
    with torch.enable_grad():
        out, logdet = checkpointed(plan, tuple(leaves), steps, repeated=True)
    pairs = [*zip(out, slope, strict=True), (logdet, grad_logdet)]
    gradients = _pulled_back(pairs, [*leaves, *parameters])
    before = tuple(_filled(leaves, gradients[: len(leaves)]))
    return before, _named(parameters, gradients[len(leaves) :])


def _pulled_back(
    pairs: Iterable[tuple[Tensor | None, Tensor | None]], inputs: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the gradients by the inputs, given outputs with the gradients by them."""
    wanted = [
        (out, gradient)
        for out, gradient in pairs
        if out is not None and gradient is not None and out.requires_grad
    ]
    outputs, slopes = zip(*wanted, strict=True)
    return torch.autograd.grad(outputs, inputs, slopes, allow_unused=True)


def _filled(inputs: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    pairs = zip(inputs, gradients, strict=True)
    return [torch.zeros_like(x) if gradient is None else gradient for x, gradient in pairs]


def _named(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Gradients:
    pairs = zip(parameters, gradients, strict=True)
    found: Gradients = {}
    for parameter, gradient in pairs:
        if gradient is not None:
            found[id(parameter)] = gradient
    return found


def _difference(truth: State, found: State) -> Tensor:
    """Return the largest error of a found state, relative to its largest value if above 1."""
    errors = [
        (b - a).abs().amax() / a.abs().amax().clamp(min=1)
        for a, b in zip(truth, found, strict=True)
        if a.numel() > 0
    ]
    return torch.stack(errors).amax() if errors else torch.zeros((), device=truth[0].device)
