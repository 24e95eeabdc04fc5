"""What evaluation left of each run, as tables and figures need it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.metrics.scores import read_arrays, read_metrics
from common.report.ledger import DIVERGED
from common.report.tables import NOT_FINITE
from common.training import config

PANELS = {
    "residual": "a: residual twice",
    "scaled_residual": "b: scaled residual twice",
    "scaled_mixed": "c: scaled residual, then inverse residual",
    "monotone": "d: scaled monotone twice",
}
NAMES = {
    "monotone": "Monotone Flow",
    "monotone_vdq": "Monotone Flow, learned noise",
    "i_densenet": "i-DenseNet",
    "residual_flow": "Residual Flow",
    "implicit": "Implicit flow",
    "residual_clipswish": "residual, CLipSwish",
    "residual_cpila": "residual, CPila",
    "monotone_clipswish": "monotone, CLipSwish",
    "monotone_cpila": "monotone, CPila",
}
SETS = {
    "2spirals": "2 Spirals",
    "8gaussians": "8 Gaussians",
    "checkerboard": "Checkerboard",
    "circles": "Circles",
    "moons": "Moons",
    "pinwheel": "Pinwheel",
    "rings": "Rings",
    "swissroll": "Swissroll",
    "staircase": "staircase",
    "toys": "plane densities",
    "digits": "8x8 digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "imagenet32": "ImageNet-32",
    "imagenet64": "ImageNet-64",
}


@dataclass(frozen=True, eq=False)
class Result:
    """Hold one run's outcome.

    Args:
        dataset: staircase, toys or the name of an image set.
        method: name of the method.
        metrics: the content of metrics.json.
        folder: where its arrays lie.
        order: the plane sets in the order in which their models stand in the arrays.
    """

    dataset: str
    method: str
    metrics: dict[str, Any]
    folder: Path
    order: tuple[str, ...] = ()

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the content of arrays.npz."""
        return read_arrays(self.folder)

    @property
    def name(self) -> str:
        """Return what people read."""
        names = PANELS if self.dataset == "staircase" else NAMES
        return names.get(self.method, self.method)

    @property
    def label(self) -> str:
        """Return the name for a legend, and how the training ended if it did not end well."""
        return f"{self.name}\n{self.ending}" if self.ending else self.name

    @property
    def lacks(self) -> str:
        """Say what is smaller than published; nothing if nothing is."""
        words, training = str(self.metrics["scaled_down"]), self.metrics["training"]
        run, planned = training["steps_run"], training["steps"]
        if self.diverged or run == planned or f"{run:,}" in words:
            return words
        stopped = f"stopped after {run:,} of {planned:,} steps"
        return f"{words}; {stopped}" if words else stopped

    @property
    def protocol(self) -> str:
        """Say what is smaller than published, or that nothing is."""
        return self.lacks or "full"

    @property
    def diverged(self) -> bool:
        """Say whether the training left the finite numbers."""
        return bool(self.metrics["training"]["status"] == DIVERGED)

    @property
    def ending(self) -> str:
        """Say how the training ended if it did not end well, else nothing."""
        training = self.metrics["training"]
        if not self.diverged:
            return ""
        return f"diverged after step {training['steps_run']:,} of {training['steps']:,}"

    @property
    def sets(self) -> dict[str, Any]:
        """Return the scores of each plane density by name; of other runs none."""
        return dict(self.metrics.get("sets", {}))

    @property
    def seeds(self) -> int:
        """Return the number of models of one set."""
        return int(self.metrics.get("models", 1)) // max(1, len(self.sets))


Results = dict[tuple[str, str], Result]


def read_results(folder: Path, profile: str, root: Path = Path(), partial: bool = False) -> Results:
    """Read the results of all runs that the parameters list, in their order.

    Args:
        folder: results/<profile>/monotone_flow/scores.
        profile: whose parameters say which runs there are.
        root: where params.yaml lies.
        partial: leave out runs that have not been evaluated.

    Raises:
        UserError: a listed result is missing or damaged.
    """
    section = config.section("monotone_flow", profile, root=root)
    found: Results = {}
    for key in ("runs", "image_runs"):
        if key not in section:
            continue
        for run in section.at(key).values():
            dataset, method = run["dataset"], run["method"]
            place = folder / dataset / method
            if partial and not (place / "metrics.json").exists():
                continue
            trained = section.at("train").at(dataset).at(method) if key == "runs" else {}
            order = tuple(trained["sets"]) if "sets" in trained else ()
            found[dataset, method] = Result(dataset, method, read_metrics(place), place, order)
    return found


def of_set(results: Results, dataset: str) -> list[Result]:
    """Return the results on one set."""
    return [result for result in results.values() if result.dataset == dataset]


def image_sets(results: Results) -> list[str]:
    """Return the image sets that were run."""
    found = dict.fromkeys(dataset for dataset, _ in results)
    return [dataset for dataset in found if dataset not in ("staircase", "toys")]


def set_name(dataset: str) -> str:
    """Return what people read."""
    return SETS.get(dataset, dataset)


def number(value: Any) -> float:
    """Return a number of metrics.json, NaN for the words that stand for one that is not finite."""
    return float(value) if isinstance(value, int | float) else math.nan


def entry(result: Result, value: Any) -> Any:
    """Return a table's entry for a run's number: a diverged run says so in its place."""
    return DIVERGED if result.diverged else value


def scored(result: Result, key: str, score: Mapping[str, Any], error: str = "se") -> dict[str, Any]:
    """Return a table's entries `key` and `key`_se of a score and its error."""
    if result.diverged or isinstance(score["mean"], str):
        return {key: entry(result, score["mean"])}
    spread = score.get(error)
    return {key: score["mean"], f"{key}_se": None if isinstance(spread, str) else spread}


def certified(result: Result, *keys: str) -> Any:
    """Return a number of the certificate, a word for a failure, or None if it was not measured."""
    found = result.metrics.get("certificate", {})
    for key in keys:
        if key not in found:
            return entry(result, NOT_FINITE if "error" in found else None)
        found = found[key]
    return entry(result, found)
