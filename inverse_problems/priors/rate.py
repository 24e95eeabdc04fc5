"""The learning rate of a flow's training."""

import math
from collections.abc import Mapping
from typing import Any

from common.training.schedule import cosine
from inverse_problems.priors.config_flow import Optimiser

# Of the published schedule: what the rate is multiplied by, and the least relative improvement.
FACTOR, THRESHOLD = 0.5, 1e-4


class Rate:
    """Give the learning rate of each step, which a plateau makes depend on the losses before it.

    Args:
        cfg: the schedule.
        steps: of the whole training, over which a cosine falls.
    """

    def __init__(self, cfg: Optimiser, steps: int) -> None:
        self.cfg, self.steps = cfg, steps
        self.base = cfg.lr
        self.best = math.inf
        self.waited = 0

    def at(self, step: int) -> float:
        """Return the rate of `step`, from 0."""
        if self.cfg.schedule == "cosine":
            return cosine(step, self.steps, self.cfg.lr, 0.0, self.cfg.warmup)
        return self.base * min(1.0, (step + 1) / (self.cfg.warmup + 1))

    @property
    def wants_losses(self) -> bool:
        """Say whether `saw` has to be called after each step."""
        return self.cfg.schedule == "plateau"

    def saw(self, loss: float) -> None:
        """Note a step's training loss, and halve the rate if none improved for too long.

        An improvement is by 1e-4 of the best loss's size.
        """
        if loss < self.best - THRESHOLD * abs(self.best) or math.isinf(self.best):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.cfg.patience:
            self.base, self.waited = max(self.base * FACTOR, self.cfg.smallest), 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs."""
        return {"base": self.base, "best": self.best, "waited": self.waited}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.base, self.best, self.waited = saved["base"], saved["best"], saved["waited"]
