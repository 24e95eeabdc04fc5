"""Stop a training whose loss is no longer finite, without waiting for the device at every step."""

import torch
from torch import Tensor

from common.errors import UserError


class Diverged(UserError):
    """Report the first step whose loss was not finite."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; the last good state is kept, "
            "lower the learning rate or change the seed"
        )
        self.step = step


class Guard:
    """Remember on the device when the loss first was not finite, and look at it now and then.

    Args:
        device: where the losses live.
        every: steps between two looks; each look waits for the device. Look before every save
            as well (`raise_if_bad`), then only good states are saved.
    """

    def __init__(self, device: torch.device | str, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.every = every
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def check(self, loss: Tensor, step: int) -> None:
        """Note whether `loss` (any shape) is finite at `step`.

        Raises:
            Diverged: at a step where the guard looks, if any loss so far was not finite.
        """
        new = ~loss.detach().isfinite().all() & (self._first_bad < 0)
        self._first_bad.masked_fill_(new, step)
        if (step + 1) % self.every == 0:
            self.raise_if_bad()

    def raise_if_bad(self) -> None:
        """Wait for the device and raise `Diverged` if any loss so far was not finite."""
        step = int(self._first_bad)
        if step >= 0:
            raise Diverged(step)
