"""Trainings as processes that a test may harm."""

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

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",  # equal bytes need sums in equal order
    "CUDA_VISIBLE_DEVICES": "",
    "DATA_MIRROR": "",
}
# Kill -9 instead of the n-th call that makes something durable.
DIES = """
import os, signal
left = {n}
def dying(call):
    def wrapped(*arguments):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments)
    return wrapped
os.fsync, os.replace = dying(os.fsync), dying(os.replace)
"""
# The results that neither a clock nor a version enters.
EXACT = ("weights.pt", "curve.csv", "status.json")


@dataclass(frozen=True)
class Done:
    """How a process ended: exit code, or minus the signal, and what it printed."""

    code: int
    out: str
    err: str


class Forks:
    """Talk to the process that starts trainings, see `tests.forks`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks"],
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
    """One process that trains: `python -m <module> <arguments>`, after the Python of `fault`."""

    def __init__(
        self, forks: Forks, module: str, folder: Path, arguments: tuple[str, ...], fault: str
    ) -> None:
        self.forks, self.folder = forks, folder
        self.code: int | None = None
        self.pid: int = forks.ask(
            do="start", module=module, folder=str(folder), arguments=arguments, fault=fault
        )

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
