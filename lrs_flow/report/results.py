"""What evaluation left of each run, as tables and figures need it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.errors import UserError
from common.metrics.scores import read_arrays, read_metrics
from common.report.ledger import DIVERGED
from common.training import config
from lrs_flow.config import Train

NAMES = {
    "gaussian": "Gaussian, closed form",
    "lrs_c": "LRS (C)",
    "rq_c": "RQ-NSF (C)",
    "q_c": "Q-NSF (C)",
    "q_published_c": "Q-NSF (C), published boundary",
    "affine_c": "affine (C), the table's Glow",
    "lrs_small_c": "LRS (C), as small as RQ-NSF",
    "ffjord": "FFJORD",
    "lrs_ar": "LRS (AR)",
    "rq_ar": "RQ-NSF (AR)",
    "q_ar": "Q-NSF (AR)",
    "affine_ar": "affine (AR), MAF",
    "lrs": "LRS",
    "lrs_2": "LRS, 2 steps",
    "rq": "RQ-NSF",
    "rq_2": "RQ-NSF, 2 steps",
    "affine": "affine coupling",
}
SETS = {
    "rings": "rings",
    "picture": "picture",
    "power": "POWER",
    "gas": "GAS",
    "hepmass": "HEPMASS",
    "miniboone": "MINIBOONE",
    "bsds300": "BSDS300",
    "wine": "wine (scikit-learn)",
    "breast-cancer": "breast cancer (scikit-learn)",
    "red-wine": "red wine",
    "white-wine": "white wine",
    "parkinsons": "Parkinsons",
    "ionosphere": "ionosphere",
    "boston-housing": "Boston housing",
    "miniboone-partial": "MINIBOONE, partial",
    "power-fragment": "POWER, fragment",
    "digits": "8x8 digits",
    "mnist": "MNIST",
    "cifar10": "CIFAR-10",
    "imagenet64": "ImageNet-64",
}
UCI = ("power", "gas", "hepmass", "miniboone", "bsds300")
PIECES = ("miniboone-partial", "power-fragment")
IMAGES = ("digits", "mnist", "cifar10", "imagenet64")
DEPTHS = (2, 4, 8, 16, 32)


@dataclass(frozen=True, eq=False)
class Result:
    """Hold one run's outcome.

    Args:
        dataset: name of the set.
        method: name of the method.
        trained: how it was trained.
        metrics: the content of metrics.json.
        folder: where its arrays lie.
    """

    dataset: str
    method: str
    trained: Train
    metrics: dict[str, Any]
    folder: Path

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the content of arrays.npz."""
        return read_arrays(self.folder)

    @property
    def name(self) -> str:
        """Return what people read."""
        return method_name(self.method)

    @property
    def lacks(self) -> str:
        """Say what is smaller than published; nothing if nothing is."""
        cfg, words = self.trained, self.trained.model.scaled_down
        if cfg.last == cfg.steps or f"{cfg.last:,}" in words:
            return words
        stopped = f"stopped after {cfg.last:,} of {cfg.steps:,} steps"
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
    def unit(self) -> str:
        """Return nats, where higher is better, or bits/dim, where lower is."""
        return str(self.metrics["unit"])

    @property
    def cross_validated(self) -> bool:
        """Say whether each model has a fold of its own."""
        return bool(self.metrics["cross_validated"])

    @property
    def models(self) -> int:
        """Return the number of seeds or folds."""
        return int(self.metrics["models"])

    def score(self, split: str = "test") -> tuple[float, float]:
        """Return mean and standard error of a split's scores; NaN where not finite."""
        return number(self.metrics[split]["mean"]), number(self.metrics[split]["se"])


Results = dict[tuple[str, str], Result]


def read_results(folder: Path, profile: str, root: Path = Path(), partial: bool = False) -> Results:
    """Read the results of all runs that the parameters list, in their order.

    Args:
        folder: results/<profile>/lrs_flow/scores.
        profile: whose parameters say which runs there are and how they were trained.
        root: where params.yaml lies.
        partial: leave out runs that have not been evaluated.

    Raises:
        UserError: a listed result is missing or damaged.
    """
    section = config.section("lrs_flow", profile, root=root)
    found: Results = {}
    for run in section.at("runs").values():
        dataset, method = run["dataset"], run["method"]
        trained = config.load(section.at("train").at(dataset).at(method), Train)
        place = folder / dataset / method
        if partial and not (place / "metrics.json").exists():
            continue
        found[dataset, method] = Result(dataset, method, trained, read_metrics(place), place)
    return found


def read_inverse(folder: Path, partial: bool = False) -> dict[str, Any]:
    """Return what `lrs_flow.inverse` wrote; if partial, nothing measured where it was not run.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = folder / "inverse.json"
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        if partial:
            return {"accuracy": [], "time": []}
        raise UserError(f"{path}: not found; run `dvc repro`, or its command alone") from None
    except ValueError:
        raise UserError(f"{path}: not valid JSON; delete it and run `dvc repro` again") from None


def of_set(results: Results, dataset: str) -> list[Result]:
    """Return the results on one set."""
    return [result for result in results.values() if result.dataset == dataset]


def datasets(results: Results) -> list[str]:
    """Return the sets in the order of `SETS`, those it does not know last."""
    known = list(SETS)
    found = list(dict.fromkeys(dataset for dataset, _ in results))
    return sorted(found, key=lambda d: known.index(d) if d in known else len(known))


def set_name(dataset: str) -> str:
    """Return what people read."""
    return SETS.get(dataset, dataset)


def method_name(method: str) -> str:
    """Return what people read."""
    family, _, depth = method.partition("_d")
    if depth.isdigit() and family in NAMES:
        return f"{NAMES[family]}, depth {depth}"
    return NAMES.get(method, method)


def number(value: Any) -> float:
    """Return a number of metrics.json, NaN for the words that stand for one that is not finite."""
    return float(value) if isinstance(value, int | float) else math.nan


def entry(result: Result, value: Any) -> Any:
    """Return a table's entry for a run's number: a diverged run says so in its place."""
    return DIVERGED if result.diverged else value


def scored(result: Result, key: str, split: str = "test") -> dict[str, Any]:
    """Return a table's entries `key` and `key`_se of a run's score."""
    scores: Mapping[str, Any] = result.metrics[split]
    if result.diverged or isinstance(scores["mean"], str):
        return {key: entry(result, scores["mean"])}
    return {
        key: scores["mean"],
        f"{key}_se": None if isinstance(scores["se"], str) else scores["se"],
    }
