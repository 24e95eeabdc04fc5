"""A chain that says how its gradients are found."""

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor

from common.bijections.base import Bijection, Chain
from common.bijections.reversible.program import forward_steps, inverse_steps
from common.bijections.reversible.retrace import Direction, Forward, Inverse, InverseAlone
from common.bijections.reversible.walk import Plan, Reconstruction, Walk, checkpointed
from common.errors import UserError

Backprop = Literal["plain", "checkpoint", "invertible", "reuse"]
BOUND = 1e-3


class Reversible(Chain):
    """Compose bijections as `Chain` does; training need not keep what lies between the links.

    It has the links of a chain under the same names, so their weights fit each other. What a pass
    in either direction keeps for its gradients depends on `backprop`:

    - plain: what autograd keeps, all activations. Memory grows with the number of links and with
      their width.
    - checkpoint: the inputs of all units, that is a network and the few links before it, which are
      evaluated again on the way back. Memory still grows with the number of links; a step takes
      about a third more.
    - invertible: input and output of the chain. The way back finds the input of one unit at a time
      by its inverse, evaluates it there with a graph and sends the gradient through. Memory does
      not depend on the number of links; a step has five evaluations of the conditioners, or what
      takes as long, for three.
    - reuse: the same, but the conditioner of a coupling, which sees the same before and after it,
      runs once for inverse and evaluation: four for three.

    Nested chains count with their own links, also those on the first half of the channels.

    Inverses round, and their errors add up over the links, in deep or ill-conditioned chains beyond
    any measure. So each way back compares the input it arrives at with the input that was, which is
    kept and mostly the caller's anyway. Where the difference exceeds `bound`, the gradients are
    found again from that input with checkpoints, in the same step: they are right whatever the
    inverses do, at the price of memory and time. `reconstruction` counts errors and fallbacks. What
    helps against many of them: `anchor_every`, which keeps the state after so many links, to start
    anew from; or checkpoint.

    Links that change when they are evaluated are repeated as they were: ActNorm starts once,
    running statistics move once, dropout drops the same. Refused are log-determinants drawn at
    random, statistics of a bijection that have moved between a pass and its gradient, second
    derivatives, and autocast, under which inverses are not those of the pass (checkpoint allows
    it). Inside functorch's transforms, and without gradients, passes are plain.

    Args:
        links: as of `Chain`.
        backprop: plain, checkpoint, invertible or reuse.
        bound: largest error of a found input, relative to the largest absolute value of the input
            if that is above 1. None to accept any, which saves waiting for the device and lets a
            CUDA graph be captured.
        anchor_every: number of links, at least; None to keep the input alone.

    Shapes: as the links'.
    Raises: UserError for arguments out of range and for what is refused, see above.

    Sources: The Reversible Residual Network: Backpropagation Without Storing Activations, Gomez,
    Ren, Urtasun and Grosse, 2017, https://arxiv.org/abs/1707.04585 (the principle); Understanding
    and Mitigating Exploding Inverses in Invertible Neural Networks, Behrmann, Vicol, Wang, Grosse
    and Jacobsen, 2021, https://arxiv.org/abs/2006.09347 (why errors are measured).
    """

    composes_only = True

    def __init__(
        self,
        links: Iterable[Bijection],
        backprop: Backprop = "reuse",
        *,
        bound: float | None = BOUND,
        anchor_every: int | None = None,
    ) -> None:
        super().__init__(links)
        if backprop not in get_args(Backprop):
            raise UserError(
                f"backprop: expected one of {', '.join(get_args(Backprop))}, got {backprop!r}"
            )
        if bound is not None and not bound > 0:
            raise UserError(f"backprop: expected a positive bound or none, got {bound}")
        if anchor_every is not None and anchor_every < 1:
            raise UserError(f"backprop: expected anchor_every >= 1 or none, got {anchor_every}")
        self.backprop: Backprop = backprop
        self.bound = bound
        self.anchor_every = anchor_every
        self.reconstruction = Reconstruction()

    def forward_and_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self._plainly():
            return super().forward_and_logdet(x)
        z, logdet = self._pass(Forward(), x)
        assert logdet is not None
        return z, logdet

    def inverse_and_logdet(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if self._plainly():
            return super().inverse_and_logdet(z)
        x, logdet = self._pass(Inverse(), z)
        assert logdet is not None
        return x, logdet

    def inverse(self, z: Tensor) -> Tensor:
        return super().inverse(z) if self._plainly() else self._pass(InverseAlone(), z)[0]

    def _plainly(self) -> bool:
        without = not torch.is_grad_enabled() or torch._C._are_functorch_transforms_active()
        return self.backprop == "plain" or without

    def _pass(self, direction: Direction, x: Tensor) -> tuple[Tensor, Tensor | None]:
        steps = forward_steps if isinstance(direction, Forward) else inverse_steps
        plan = Plan(
            direction=direction,
            steps=steps(self.links),
            reuse=self.backprop == "reuse",
            bound=self.bound,
            anchor_every=self.anchor_every,
            reconstruction=self.reconstruction,
        )
        if self.backprop == "checkpoint":
            (y,), logdet = checkpointed(plan, (x,), range(len(plan.steps)))
            return y, logdet
        if torch.is_autocast_enabled(x.device.type):
            raise UserError(
                f"backprop {self.backprop}: under autocast inverses are not those of the pass; "
                "expected full precision, or backprop checkpoint"
            )
        y, logdet = Walk.apply(plan, x, *plan.parameters(plan.notes))
        return y, logdet

    def extra_repr(self) -> str:
        return f"backprop={self.backprop}, bound={self.bound}, anchor_every={self.anchor_every}"
