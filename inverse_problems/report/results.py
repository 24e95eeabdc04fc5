"""What the experiments left, as tables, figures and claims need it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from common.metrics.scores import read_arrays, read_metrics
from common.training import config

METHODS = {
    "glow": "Glow, published steps",
    "glow_robust": "Glow, line search",
    "glow_adam": "Glow, Adam",
    "glow_map": "Glow, line search, implied weight",
    "spline": "spline flow, line search",
    "dcgan": "DCGAN, published steps",
    "dcgan_robust": "DCGAN, line search",
    "vae": "VAE, fixed steps",
    "vae_robust": "VAE, line search",
    "lasso_dct": "Lasso, DCT",
    "lasso_haar": "Lasso, Haar",
    "lasso_haar_published": "Lasso, Haar, rescaled as published",
    "lasso_pixel": "Lasso, pixels",
    "total_variation": "total variation",
    "bm3d": "BM3D",
    "pseudo_inverse": "pseudo-inverse",
}
SEARCHED = "_robust"  # what the names of methods with a line search end with
LASSOS = ("lasso_dct", "lasso_haar", "lasso_pixel")
SETS = {
    "digits": "8x8 digits",
    "patches": "8x8 patches of photographs",
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "celeba64": "CelebA",
    "ood64": "faces, birds, flowers and pictures in the wild",
}


@dataclass(frozen=True)
class Score:
    """Hold a mean over images and its standard error over images; NaN where it is unknown.

    `over_seeds` is the standard error of the mean over draws of the measurements.
    """

    mean: float
    se: float = math.nan
    over_seeds: float = math.nan

    @property
    def error(self) -> float:
        """Return the larger of the two known standard errors, NaN if neither is known."""
        known = [e for e in (self.se, self.over_seeds) if math.isfinite(e)]
        return max(known, default=math.nan)


@dataclass(frozen=True)
class Cell:
    """Hold what one method reached on one problem.

    Attributes:
        at: coordinates of the problem: set, m, ratio, sigma, gamma, penalty, start, norm ...
        values: means and counts as the experiment wrote them.
        index: place of the cell in the arrays.
    """

    at: Mapping[str, Any]
    values: Mapping[str, Any]
    index: int

    def score(self, key: str = "psnr") -> Score:
        """Return a mean with its errors."""
        found = self.values[key]
        return Score(*(number(found.get(part)) for part in ("mean", "se", "se_seeds")))

    @property
    def failed(self) -> int:
        """Return the number of images whose optimisation left the finite numbers."""
        return int(self.values.get("failed", 0))


@dataclass(frozen=True, eq=False)
class Solve:
    """Hold what one method did in one experiment."""

    experiment: str
    method: str
    metrics: dict[str, Any]
    folder: Path

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the content of arrays.npz."""
        return read_arrays(self.folder)

    @cached_property
    def cells(self) -> list[Cell]:
        """Return all problems, in the order of the arrays."""
        return [Cell(cell["at"], cell, index) for index, cell in enumerate(self.metrics["cells"])]

    @property
    def name(self) -> str:
        """Return what people read."""
        return METHODS.get(self.method, self.method)

    @property
    def trained(self) -> str:
        """Return the set that learned methods were trained on."""
        return str(self.metrics["trained"])

    @property
    def lacks(self) -> str:
        """Say what is smaller than published; nothing if nothing is."""
        return str(self.metrics.get("scaled_down", ""))

    def where(self, **at: Any) -> list[Cell]:
        """Return the cells with these coordinates."""
        return [cell for cell in self.cells if matches(cell.at, at)]

    def values(self, key: str) -> list[Any]:
        """Return the values that a coordinate takes, in the order of the cells."""
        return list(dict.fromkeys(cell.at[key] for cell in self.cells))


@dataclass(frozen=True)
class Results:
    """Hold the experiments by name and method, and the trained priors by set and name."""

    solves: dict[tuple[str, str], Solve]
    priors: dict[tuple[str, str], dict[str, Any]]
    prior_folders: dict[tuple[str, str], Path]

    def of(self, experiment: str) -> list[Solve]:
        """Return what all methods did in an experiment."""
        return [solve for solve in self.solves.values() if solve.experiment == experiment]

    def get(self, experiment: str, method: str) -> Solve | None:
        """Return what a method did in an experiment, or None."""
        return self.solves.get((experiment, method))


def read_results(folder: Path, profile: str, root: Path = Path(), partial: bool = False) -> Results:
    """Read what all experiments and priors that the parameters list left, in their order.

    Args:
        folder: results/<profile>/inverse_problems.
        profile: whose parameters say what there is.
        root: where params.yaml lies.
        partial: leave out what has not been run.

    Raises:
        UserError: a listed result is missing or damaged.
    """
    section = config.section("inverse_problems", profile, root=root)
    solves: dict[tuple[str, str], Solve] = {}
    for run in listed(section, "solves"):
        key = run["experiment"], run["method"]
        place = folder / "solved" / key[0] / key[1]
        if partial and not (place / "metrics.json").exists():
            continue
        solves[key] = Solve(*key, read_metrics(place), place)
    priors: dict[tuple[str, str], dict[str, Any]] = {}
    folders: dict[tuple[str, str], Path] = {}
    for run in listed(section, "priors"):
        key = run["dataset"], run["prior"]
        place = folder / "scores" / key[0] / key[1]
        if partial and not (place / "metrics.json").exists():
            continue
        priors[key], folders[key] = read_metrics(place), place
    return Results(solves, priors, folders)


def listed(section: Any, key: str) -> list[Mapping[str, str]]:
    """Return the runs that a section lists under a key, none without it."""
    return list(section.at(key).values()) if key in section else []


def matches(at: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Say whether coordinates are the wanted ones."""
    return all(at.get(key) == value for key, value in wanted.items())


def best(cells: Iterable[Cell], key: Callable[[Cell], float]) -> Cell | None:
    """Return the cell with the largest finite key, or None."""
    finite = [(key(cell), place, cell) for place, cell in enumerate(cells)]
    finite = [entry for entry in finite if math.isfinite(entry[0])]
    return max(finite, default=(0.0, 0, None), key=lambda entry: entry[0])[2]


def stem(solve: Solve) -> str:
    """Name the figure or table of one method in its experiment."""
    searched = solve.method.endswith(SEARCHED)
    return solve.experiment + (SEARCHED if searched else "")


def set_name(dataset: str) -> str:
    """Return what people read."""
    return SETS.get(dataset, dataset)


def number(value: Any) -> float:
    """Return a number of metrics.json, NaN for what is missing, not finite or a word."""
    return float(value) if isinstance(value, int | float) else math.nan


def scaled_down(solves: Iterable[Solve]) -> str:
    """Return a sentence that says what is smaller than published, to end a caption with."""
    words = dict.fromkeys(solve.lacks for solve in solves if solve.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""
