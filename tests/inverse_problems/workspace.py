"""A folder where tiny trainings of priors run."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import EXACT, Done, Forks, Training

SMALL: dict[str, Any] = {
    "family": "flow",
    "model": {"kind": "glow", "levels": 2, "steps": 1, "width": 4},
    # A plateau whose memory a resume must keep.
    "optimiser": {"lr": 2e-2, "schedule": "plateau", "patience": 1, "warmup": 3},
    "steps": 24,
    "batch": 32,
    "eval_every": 4,
    "valid_items": 50,
    "save_every": 1,
}
SPLINE = SMALL | {
    "model": {"kind": "lrs", "levels": 1, "steps": 1, "width": 4, "bins": 3},
    "optimiser": {"lr": 1e-2},
}
FAST = {"steps": 24, "batch": 32, "eval_every": 4, "valid_items": 50, "save_every": 1}
# The best step is not the last one, and a resume must know of both.
VAE = FAST | {"family": "vae", "latents": 3, "hidden": [8, 8], "lr": 0.1, "pixels": "logistic"}
DCGAN = FAST | {"family": "gan", "latents": 3, "width": 4, "represent_steps": 2}
EVALUATE = {
    "digits": {
        "draws": 2,
        "test_items": 10,
        "train_items": 10,
        "samples": 3,
        "certified": 4,
        "jacobians": 1,
    }
}


class Workspace:
    """A folder with params.yaml and raw data, where `python -m inverse_problems.train` runs."""

    def __init__(self, folder: Path, forks: Forks | None) -> None:
        self.folder, self.forks = folder, forks
        priors = {"glow": SMALL, "spline": SPLINE, "vae": VAE, "dcgan": DCGAN}
        train = {"digits": priors}
        self.parameters = copy.deepcopy({"train": train, "evaluate": EVALUATE})

    def prior(self, name: str) -> dict[str, Any]:
        """Return the parameters of a training, to be changed."""
        return self.parameters["train"]["digits"][name]

    def write_params(self) -> None:
        params = {"profile": "fast", "inverse_problems": self.parameters}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def start(self, prior: str, *arguments: str, fault: str = "") -> Training:
        """Write the parameters and start to train; `fault` is Python that runs first."""
        assert self.forks is not None
        self.write_params()
        given = ("--dataset", "digits", "--prior", prior, *arguments)
        return Training(self.forks, "inverse_problems.train", self.folder, given, fault)

    def train(self, prior: str, fault: str = "") -> Done:
        """Write the parameters, train, and wait for the end."""
        return self.start(prior, fault=fault).done()

    @property
    def run(self) -> Path:
        """Return the folder of the only run."""
        (run,) = (self.folder / "runs").iterdir()
        return run

    def results(self, prior: str) -> Path:
        return self.folder / "results/fast/inverse_problems/priors/digits" / prior

    def exact(self, prior: str) -> dict[str, bytes]:
        """Return the results that must not depend on what happened on the way."""
        return {name: (self.results(prior) / name).read_bytes() for name in EXACT}
