"""A folder where a tiny training of LU-Net runs, as a process that a test may harm."""

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.trainings import EXACT, Done, Forks, Training

# Each saves eight times, so that several kills find something left to do.
METHODS: dict[str, dict[str, Any]] = {
    "lu_net": {
        "model": {"kind": "lu_net", "layers": 2, "fit_steps": 5},
        # So high that some models are best early and others late: a resume must know of both.
        "optimiser": {"lr": 1e-2},
        "epochs": 24,
        "batch": 32,
        "valid_per_class": 20,
        "save_every": 3,
    },
    "realnvp": {
        "model": {"kind": "realnvp", "per_class": False, "planes": 2, "final": 1},
        "optimiser": {"lr": 5e-3},
        "epochs": 8,
        "batch": 150,
        "valid_per_class": 100,  # leaves few to train on
        "eval_every": 4,
        "save_every": 1,
    },
}


class Workspace:
    """A folder with params.yaml and raw data, where `python -m lu_net.train` runs."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        self.digits = copy.deepcopy(METHODS)

    def write_params(self) -> None:
        params = {"profile": "fast", "lu_net": {"train": {"digits": self.digits}}}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    def command(self, *arguments: str, fault: str = "") -> Training:
        """Start the command; `fault` is Python that its process runs first."""
        return Training(self.forks, "lu_net.train", self.folder, arguments, fault)

    def start(self, method: str = "lu_net", fault: str = "") -> Training:
        """Write the parameters and start to train."""
        self.write_params()
        return self.command("--dataset", "digits", "--method", method, fault=fault)

    def train(self, method: str = "lu_net", fault: str = "") -> Done:
        """Write the parameters, train, and wait for the end."""
        return self.start(method, fault).done()

    @property
    def run(self) -> Path:
        """Return the folder of the only run."""
        (run,) = (self.folder / "runs").iterdir()
        return run

    @property
    def checkpoint(self) -> Path:
        return self.run / "checkpoint.pt"

    def results(self, method: str = "lu_net") -> Path:
        return self.folder / "results/fast/lu_net/digits" / method

    def exact(self, method: str = "lu_net") -> dict[str, bytes]:
        """Return the results that must not depend on what happened on the way."""
        return {name: (self.results(method) / name).read_bytes() for name in EXACT}
