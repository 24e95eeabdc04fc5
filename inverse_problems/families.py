"""The families of priors, and what the modules of each offer.

`inverse_problems/priors/training_<family>.py` trains and rebuilds, `scoring_<family>.py` measures.
A family's modules are imported only when it is asked for, so that an edit of one leaves finished
trainings of the others valid.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.errors import UserError
from common.training import config
from common.training.run import Run
from inverse_problems.config import Evaluate, Training
from inverse_problems.priors.base import Prior

FAMILIES = ("flow", "vae", "gan")


class Trainer(Protocol):
    """What `priors/training_<family>.py` offers."""

    Config: type[Training]

    def build(self, cfg: Any, shape: tuple[int, int, int], levels: int) -> Prior:
        """Return an untrained prior of images (C, H, W) whose pixels had `levels` values.

        Its start is a function of `cfg.seed`.
        """
        ...

    def train(self, run: Run, cfg: Any, data: Dataset, device: torch.device) -> None:
        """Train to the end, to `cfg.last` or to divergence, and leave all `EXPORTS` in the run.

        Resumes from `run.checkpoint`. Looks at train and validation splits only.
        """
        ...


class Scorer(Protocol):
    """What `priors/scoring_<family>.py` offers."""

    def score(
        self, prior: Prior, cfg: Evaluate, trained: Any, data: Dataset
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return what the family alone is measured by: numbers and arrays, by name."""
        ...


def trainer(section: Mapping[str, Any]) -> tuple[Trainer, Training]:
    """Return the trainer that a section of the parameters names, and the section as its `Config`.

    Raises:
        UserError: there is no such family, or the section does not fit it.
    """
    module = _module("training", section)
    found = cast(Trainer, module)
    return found, config.load(section, found.Config)


def scorer(section: Mapping[str, Any]) -> Scorer:
    """Return the scorer of the family that a section of the parameters names."""
    return cast(Scorer, _module("scoring", section))


def _module(role: str, section: Mapping[str, Any]) -> object:
    name = section.get("family")
    if name not in FAMILIES:
        where = f"{section.where}.family" if isinstance(section, config.Section) else "family"
        raise UserError(f"{where}: expected one of {', '.join(FAMILIES)}, got {name!r}")
    return import_module(f"inverse_problems.priors.{role}_{name}")
