"""A folder where tiny trainings on images run, as processes that a test may harm."""

import copy
import csv
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import Done, Forks, Training

MODEL: dict[str, Any] = {
    "kind": "monotone",
    "activation": "clipswish",
    "blocks": [1, 1],
    "depth": 1,
    "growth": 4,
    "vector_width": 4,
    "vector_growth": 4,
    "scaled_down": "tiny",
}
# Looks and saves after 4, 8, 12 and 16 minibatches, two for each step of the optimiser.
COMMON: dict[str, Any] = {
    "model": MODEL,
    # So high that the best weights are not the last: a resume must know of both.
    "optimiser": {"lr": 0.05, "warmup": 6, "average": 0.5},
    "series": {"exact": 3, "look_exact": 4},
    "steps": 16,
    "batch": 8,
    "accumulation": 2,
    "eval_every": 4,
    "valid_items": 12,
    "chunk": 7,
    "learn_shares_from": 0,
    "flip": True,
}
NOISY = MODEL | {
    "kind": "residual",
    "dequantisation": "variational",
    "noise_blocks": 1,
    "noise_width": 16,
    "noise_hidden": 16,
}
TRAIN: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {"monotone": COMMON, "noisy": COMMON | {"model": NOISY, "accumulation": 1}}
}
EVALUATE: dict[str, Any] = {
    "digits": {
        "draws": 2,
        "exact": 4,
        "test_items": 12,
        "chunk": 5,
        "samples": 3,
        "certified": 3,
        "jacobians": 1,
        "exact_items": 7,
    }
}


class Workspace:
    """A folder with params.yaml and raw data, where `monotone_flow.images` commands run."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self.parameters = copy.deepcopy({"train": TRAIN, "evaluate": EVALUATE})

    def method(self, method: str = "monotone") -> dict[str, Any]:
        """Return the parameters of a training, to be changed."""
        return self.parameters["train"]["digits"][method]

    def write_params(self) -> None:
        params = {"profile": "fast", "monotone_flow": {"images": self.parameters}}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def start(self, *arguments: str, method: str = "monotone", fault: str = "") -> Training:
        """Write the parameters and start to train; `fault` is Python that runs first."""
        self.write_params()
        given = ("--dataset", "digits", "--method", method, *arguments)
        return Training(self.forks, "monotone_flow.images.train", self.folder, given, fault)

    def train(self, method: str = "monotone", fault: str = "") -> Done:
        """Write the parameters, train, and wait for the end."""
        return self.start(method=method, fault=fault).done()

    @property
    def run(self) -> Path:
        """Return the folder of the only run."""
        (run,) = (self.folder / "runs").iterdir()
        return run

    def results(self, method: str = "monotone") -> Path:
        return self.folder / "results/fast/monotone_flow/digits" / method

    def exact(self, method: str = "monotone") -> dict[str, Any]:
        """Return the results that must not depend on what happened on the way."""
        folder = self.results(method)
        files = ("weights.pt", "best.pt", "status.json")
        found: dict[str, Any] = {name: (folder / name).read_bytes() for name in files}
        with (folder / "curve.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        # A clock enters the seconds.
        found["curve"] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
        return found
