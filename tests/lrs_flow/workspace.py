"""A folder where tiny trainings of the spline flows run, as processes that a test may harm."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import EXACT, Done, Forks, Training

COMMON: dict[str, Any] = {"batch": 60, "eval_every": 4, "save_every": 1, "models": 10}
# Each saves six times, so that kills find something left to do.
TRAIN: dict[str, dict[str, dict[str, Any]]] = {
    "wine": {
        "lrs_c": COMMON
        | {
            "model": {
                "kind": "lrs",
                "steps": 2,
                "hidden": 8,
                "bins": 3,
                "dropout": 0.2,
                "batch_norm": True,
            },
            # So high that some models are best early and others late: a resume must know of both.
            "optimiser": {"lr": 2e-2, "weight_decay": 1e-2},
            "steps": 24,
        },
        "ffjord": COMMON
        | {
            "model": {"kind": "ffjord", "steps": 1, "hidden": 1, "atol": 1e-2, "rtol": 1e-2},
            "optimiser": {"lr": 1e-2},
            "steps": 8,
        },
        "gaussian": {"model": {"kind": "gaussian"}, "steps": 0, "models": 10},
    },
    "digits": {
        "rq_d1": COMMON
        | {
            "model": {
                "kind": "rq",
                "steps": 1,
                "levels": 1,
                "hidden": 4,
                "bins": 3,
                "dropout": 0.2,
                "batch_norm": True,
            },
            "optimiser": {"lr": 5e-3, "clip": 0.0},
            "steps": 24,
            "models": 2,
            "valid_items": 20,
        },
    },
}
EVALUATE: dict[str, Any] = {
    "wine": {"certified": 4, "jacobians": 2, "train_items": 20},
    "digits": {"draws": 2, "samples": 3, "certified": 2, "jacobians": 1, "test_items": 10},
}
INVERSE: dict[str, Any] = {"elements": 500, "samples": 20, "rounds": 2, "dataset": "wine"}


class Workspace:
    """A folder with params.yaml and raw data, where `python -m lrs_flow.train` runs."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self.parameters = copy.deepcopy({"train": TRAIN, "evaluate": EVALUATE, "inverse": INVERSE})

    def method(self, dataset: str, method: str) -> dict[str, Any]:
        """Return the parameters of a training, to be changed."""
        return self.parameters["train"][dataset][method]

    def write_params(self) -> None:
        params = {"profile": "fast", "lrs_flow": self.parameters}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def start(self, dataset: str, method: str, *arguments: str, fault: str = "") -> Training:
        """Write the parameters and start to train; `fault` is Python that runs first."""
        self.write_params()
        given = ("--dataset", dataset, "--method", method, *arguments)
        return Training(self.forks, "lrs_flow.train", self.folder, given, fault)

    def train(self, dataset: str, method: str, fault: str = "") -> Done:
        """Write the parameters, train, and wait for the end."""
        return self.start(dataset, method, fault=fault).done()

    @property
    def run(self) -> Path:
        """Return the folder of the only run."""
        (run,) = (self.folder / "runs").iterdir()
        return run

    def results(self, dataset: str, method: str) -> Path:
        return self.folder / "results/fast/lrs_flow" / dataset / method

    def exact(self, dataset: str, method: str) -> dict[str, bytes]:
        """Return the results that must not depend on what happened on the way."""
        folder = self.results(dataset, method)
        return {name: (folder / name).read_bytes() for name in EXACT}
