"""What evaluation left of one model, as figures need it."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from common.report.figures import PALETTE
from common.training import config
from lu_net.config import Train
from lu_net.protocol import Evaluate
from lu_net.train import CURVE

NAMES = {
    "gaussian": "Gaussian, closed form",
    "lu_net": "LU-Net, maximum likelihood",
    "lu_net_published": "LU-Net, published objective",
    "realnvp": "RealNVP",
}
SETS = {
    "mixture": "Gaussian mixture",
    "digits": "8x8 digits",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
}
COLOURS = {
    "gaussian": PALETTE["purple"],
    "lu_net": PALETTE["blue"],
    "lu_net_published": PALETTE["red"],
    "realnvp": PALETTE["green"],
}


@dataclass(frozen=True, eq=False)
class Result:
    """Hold one method's outcome on one data set.

    Args:
        method: the method's name in the parameters.
        trained: how it was trained.
        evaluated: how it was scored.
        metrics: the content of metrics.json.
        arrays: the content of arrays.npz.
        curve: the learning curve by column, one number per epoch.
    """

    method: str
    trained: Train
    evaluated: Evaluate
    metrics: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    curve: dict[str, NDArray[np.float64]]

    @property
    def colour(self) -> str:
        """Return the method's colour, the same in all figures."""
        return COLOURS.get(self.method, PALETTE["orange"])

    @cached_property
    def name(self) -> str:
        """Return what people read, with a mark if the model or its training was scaled down."""
        name = NAMES.get(self.method, self.method)
        return f"{name} (scaled down)" if self.trained.model.scaled_down else name

    @property
    def ending(self) -> str:
        """Say how the training ended if it did not end well, else nothing."""
        training = self.metrics["training"]
        if training["status"] == "finished":
            return ""
        run, planned = training.get("epochs_run", 0), training.get("epochs", 0)
        return f"{training['status']} after epoch {run} of {planned}"

    def trouble(self, array: str) -> str:
        """Say what is wrong with an array of samples, else nothing."""
        failure = self.metrics.get("decoding_failures", {}).get(array, "")
        return "; ".join(part for part in (self.ending, failure) if part)

    def score(self, *keys: str) -> tuple[float, float]:
        """Return mean and standard error of a score of metrics.json; NaN where not finite."""
        found = self.metrics
        for key in keys:
            found = found[key]
        return number(found["mean"]), number(found["se"])


def read_results(folder: Path, profile: str, dataset: str, methods: list[str]) -> list[Result]:
    """Read the results of one data set, in the order of `methods`.

    Args:
        folder: results/<profile>/lu_net/scores.
        profile: whose parameters say how the models were trained.
        dataset: name of the set.
        methods: names of the methods.

    Raises:
        UserError: a file is missing or damaged.
    """
    return [_read(folder / dataset / method, profile, dataset, method) for method in methods]


def listed(results: list[Result]) -> str:
    """Return the methods' names in a row; names hold commas."""
    return "; ".join(result.name for result in results)


def scaled_down(results: list[Result]) -> str:
    """Return sentences that say what is smaller than published, to end a caption with."""
    smaller = [(r.method, r.trained.model.scaled_down) for r in results]
    return "".join(f" {NAMES.get(m, m)} is scaled down: {words}." for m, words in smaller if words)


def number(value: Any) -> float:
    """Return a number of metrics.json, NaN for the words that stand for one that is not finite."""
    return float(value) if isinstance(value, int | float) else math.nan


def shown(value: float) -> str:
    """Return a score as people read it."""
    return f"{value:.3f}" if math.isfinite(value) else "not finite"


def _read(folder: Path, profile: str, dataset: str, method: str) -> Result:
    name = "metrics.json"
    try:
        metrics = json.loads((folder / name).read_bytes())
        name = "arrays.npz"
        with np.load(folder / name) as file:
            arrays = dict(file)
        curve = dict(zip(CURVE, arrays["curve"].T, strict=True))
    except FileNotFoundError:
        raise UserError(
            f"{folder / name}: not found; train and evaluate {method} on {dataset} first"
        ) from None
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise UserError(
            f"{folder / name}: not readable ({error}); evaluate {method} on {dataset} again"
        ) from None
    trained = config.load(config.section("lu_net", profile, "train", dataset, method), Train)
    section = config.section("lu_net", profile, "evaluate", dataset, method)
    return Result(method, trained, config.load(section, Evaluate), metrics, arrays, curve)
