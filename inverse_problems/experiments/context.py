"""What every experiment works with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inverse_problems.experiments.parts import Arrays, Parts
from inverse_problems.experiments.problems import Pictures
from inverse_problems.experiments.scoring import SHOWN
from inverse_problems.experiments.solved import Solver
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior


@dataclass(frozen=True)
class Context:
    """Hold the method and the data of an experiment.

    Attributes:
        trained: set that priors were trained on.
        pictures: gives the test images of a set.
        solver: the method.
        prior: its prior, None for a baseline.
        parts: where finished parts are kept.
        device: where images live.
    """

    trained: str
    pictures: Callable[[str], Pictures]
    solver: Solver
    prior: Prior | None
    parts: Parts
    device: torch.device
    shown: int = SHOWN

    def solved(
        self, name: str, truth: Tensor, operator: LinearOperator, y: Tensor, **asked: Any
    ) -> Arrays:
        """Return quality and effort of each image, from the part `name` if that is finished.

        `asked` are keywords of the solver.
        """
        return self.parts.get(name, lambda: self.solver(operator, y, **asked).scored(truth))

    @property
    def generative(self) -> Prior:
        """Return the prior.

        Raises:
            ValueError: the method is a baseline.
        """
        if self.prior is None:
            raise ValueError("this experiment needs a prior, not a baseline")
        return self.prior
