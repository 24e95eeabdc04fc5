"""A folder where tiny trainings of operators run, as processes that a test may harm."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import EXACT, Done, Forks, Training

# Each saves six times, so that kills find something left to do.
COMMON: dict[str, Any] = {
    "steps": 24,
    "batch": 60,
    "eval_every": 4,
    "last_looks": 1,
    "last_every": 4,
    "eval_points": 50,
    "save_every": 1,
    "seeds": 2,
}
TRAIN: dict[str, dict[str, dict[str, Any]]] = {
    "staircase": {
        "scaled_mixed": COMMON
        | {
            "model": {
                "layout": ["actnorm", "residual", "inverse_residual", "actnorm"],
                "activation": "crelu",
                "depth": 2,
                "growth": 8,
                "coefficient": 0.99,
                "concatenation": 0.99,
            },
            # So high that the best weights are not the last: a resume must know of both.
            "optimiser": {"lr": 0.05, "milestones": [10, 20]},
            "norms": {"iterations": 20, "tol": 1e-4, "look": 50},
        },
    },
    "toys": {
        "monotone": COMMON
        | {
            "model": {
                "layout": ["monotone"],
                "repeat": 2,
                "activation": "clipswish",
                "depth": 2,
                "growth": 8,
            },
            "optimiser": {"lr": 0.05, "weight_decay": 1e-3},
            "norms": {"iterations": 5, "look": 50},
            "sets": ["rings", "moons"],
            "learn_shares_from": 10,
        },
    },
}


class Workspace:
    """A folder with params.yaml where `python -m monotone_flow.train` runs."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self.parameters = copy.deepcopy({"train": TRAIN})

    def method(self, dataset: str, method: str) -> dict[str, Any]:
        """Return the parameters of a training, to be changed."""
        return self.parameters["train"][dataset][method]

    def write_params(self) -> None:
        params = {"profile": "fast", "monotone_flow": self.parameters}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def start(self, dataset: str, method: str, *arguments: str, fault: str = "") -> Training:
        """Write the parameters and start to train; `fault` is Python that runs first."""
        self.write_params()
        given = ("--dataset", dataset, "--method", method, *arguments)
        return Training(self.forks, "monotone_flow.train", self.folder, given, fault)

    def train(self, dataset: str, method: str, fault: str = "") -> Done:
        """Write the parameters, train, and wait for the end."""
        return self.start(dataset, method, fault=fault).done()

    @property
    def run(self) -> Path:
        """Return the folder of the only run."""
        (run,) = (self.folder / "runs").iterdir()
        return run

    def results(self, dataset: str, method: str) -> Path:
        return self.folder / "results/fast/monotone_flow" / dataset / method

    def exact(self, dataset: str, method: str) -> dict[str, bytes]:
        """Return the results that must not depend on what happened on the way."""
        folder = self.results(dataset, method)
        return {name: (folder / name).read_bytes() for name in (*EXACT, "best.pt")}
