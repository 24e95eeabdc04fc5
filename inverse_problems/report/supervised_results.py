"""What evaluation left of each supervised network, as tables and figures need it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.metrics.scores import read_arrays, read_metrics
from common.report.ledger import DIVERGED
from common.training import config
from inverse_problems.report.results import number

NAMES = {
    "mixture_all": "all, three losses",
    "mixture_none": "none, three losses",
    "mixture_some": "some, three losses",
    "mixture_some_y_z": "some, L_y + L_z",
    "mixture_some_y_x": "some, L_y + L_x",
    "mixture_some_x": "some, L_x only",
    "mixture_some_blocks1": "some, one block",
    "mixture_some_blocks2": "some, two blocks",
    "mixture_some_likelihood": "some, likelihood",
    "kinematics": "three losses",
    "kinematics_likelihood": "likelihood",
}


@dataclass(frozen=True, eq=False)
class Supervised:
    """Hold one task's outcome.

    Args:
        task: its name.
        metrics: the content of metrics.json.
        folder: where its arrays lie.
    """

    task: str
    metrics: dict[str, Any]
    folder: Path

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the content of arrays.npz."""
        return read_arrays(self.folder)

    @property
    def name(self) -> str:
        """Return what people read."""
        return NAMES.get(self.task, self.task)

    @property
    def is_arm(self) -> bool:
        """Say whether the problem is that of the arm."""
        return bool(self.metrics["problem"] == "kinematics")

    @property
    def lacks(self) -> str:
        """Say what is smaller than published; nothing if nothing is."""
        return str(self.metrics["scaled_down"])

    @property
    def protocol(self) -> str:
        """Say what is smaller than published, or that nothing is."""
        return self.lacks or "full"

    @property
    def diverged(self) -> bool:
        """Say whether the training left the finite numbers."""
        return bool(self.metrics["training"]["status"] == DIVERGED)

    def score(self, *keys: str) -> tuple[float, float]:
        """Return mean and standard error of a score over the models.

        Both are NaN for a run that diverged or a score that is not finite; the error is NaN for a
        single model, which has none.
        """
        found: Any = self.metrics
        for key in keys:
            found = found[key]
        if self.diverged:
            return math.nan, math.nan
        return number(found["mean"]), number(found["se"])

    def columns(self, name: str, *keys: str) -> dict[str, Any]:
        """Return a table's entries `name` and `name`_se of a score."""
        if self.diverged:
            return {name: DIVERGED}
        mean, error = self.score(*keys)
        return {name: mean, f"{name}_se": error}


SupervisedResults = dict[str, Supervised]


def read_supervised(
    folder: Path, profile: str, root: Path = Path(), partial: bool = False
) -> SupervisedResults:
    """Read the results of all tasks that the parameters list, in their order.

    Args:
        folder: results/<profile>/inverse_problems/scores/supervised.
        profile: whose parameters say which tasks there are.
        root: where params.yaml lies.
        partial: leave out tasks that have not been evaluated.

    Raises:
        UserError: a listed result is missing or damaged.
    """
    section = config.section("inverse_problems", profile, "supervised", root=root)
    tasks = [str(run["task"]) for run in section.get("runs", {}).values()]
    return {
        task: Supervised(task, read_metrics(folder / task), folder / task)
        for task in tasks
        if not partial or (folder / task / "metrics.json").exists()
    }


def worst(certificate: Mapping[str, Any], dtype: str) -> float:
    """Return the largest round-trip error in a precision, NaN if it is not finite."""
    return number(certificate["round_trip"][dtype].get("max"))
