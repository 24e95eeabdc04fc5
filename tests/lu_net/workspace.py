"""A folder where a tiny training runs, as a process that a test may harm."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",  # equal bytes need sums in equal order
    "CUDA_VISIBLE_DEVICES": "",
    "DATA_MIRROR": "",
}
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
# The results that neither a clock nor a version enters.
EXACT = ("weights.pt", "curve.csv", "status.json")


@dataclass(frozen=True)
class Done:
    """How a process ended: exit code, or minus the signal, and what it printed."""

    code: int
    out: str
    err: str


class Forks:
    """Talk to the process that starts trainings, see `tests.lu_net.forks`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.lu_net.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ENVIRONMENT,
            start_new_session=True,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        # A test that failed may have left a child; all are of one group.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


class Training:
    """One process that trains."""

    def __init__(self, forks: Forks, folder: Path, arguments: tuple[str, ...], fault: str) -> None:
        self.forks, self.folder = forks, folder
        self.code: int | None = None
        self.pid: int = forks.ask(do="start", folder=str(folder), arguments=arguments, fault=fault)

    @property
    def ended(self) -> bool:
        if self.code is None:
            self.code = self.forks.ask(do="poll", pid=self.pid)
        return self.code is not None

    def wait(self, event: Callable[[], bool] = lambda: False) -> None:
        """Wait for an event or the end, whichever is first."""
        limit = time.monotonic() + 300
        while not event() and not self.ended:
            assert time.monotonic() < limit, f"process {self.pid} does not come to its end"
            time.sleep(0.005)

    def done(self) -> Done:
        """Wait for the end."""
        self.wait()
        assert self.code is not None
        out, err = ((self.folder / f"{self.pid}{end}").read_text() for end in (".out", ".err"))
        return Done(self.code, out, err)

    def signal(self, number: int) -> None:
        if not self.ended:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()


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
        return Training(self.forks, self.folder, arguments, fault)

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


def content(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def sentence(done: Done) -> str:
    """Return the error of a command that failed, after making sure that it is one sentence."""
    assert done.code == 2, done
    lines = [line for line in done.err.splitlines() if ": step " not in line]
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
