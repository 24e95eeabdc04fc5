"""A clone of this repository in which a test may run, break and kill a small pipeline."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LIMIT = 1800.0  # seconds after which a command hangs
ROOT = Path(__file__).parents[1]
# Anything that makes git, DVC or a stage behave in another way here than on a new machine.
FOREIGN = ("GIT_", "DVC_", "PYTHONPATH", "MAKE", "SHELL")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "OMP_NUM_THREADS": "1",  # equal bytes need sums in equal order
    "CUDA_VISIBLE_DEVICES": "",
    "DATA_MIRROR": "",
}
PRIVATE = {
    "DVC_SYSTEM_CONFIG_DIR": "system",
    "DVC_GLOBAL_CONFIG_DIR": "global",
    "DVC_SITE_CACHE_DIR": "site",
}
# Results of the profiles belong to other parameters than ours.
LEFT_OUT = ("results", "dvc.lock", "*/dvc.lock")
MONOTONE_SETS = ("staircase", "toys")
IMAGE_METHOD = "residual_clipswish"
PRIOR, NETWORK = "glow", "mixture_all"
SOLVERS = (PRIOR, "lasso_dct")
SPLINE_METHODS = ("gaussian", "lrs_c", "rq_c")
IDENTITY = ("-c", "user.name=Test", "-c", "user.email=test@localhost")


def small(params: dict[str, Any]) -> dict[str, Any]:
    """Cut the fast profile's parameters down to two small sets and to seconds, and return them."""
    section = params["lu_net"]
    section["datasets"] = ["digits"]
    train = section["train"]["digits"]
    # Long enough after its first checkpoint to be killed before its end.
    train["lu_net"] |= {"epochs": 60, "save_every": 5}
    train["lu_net"]["model"] |= {"layers": 2, "fit_steps": 5}
    train["lu_net_published"] |= {"epochs": 2}
    train["realnvp"] |= {"epochs": 1, "batch": 150, "valid_per_class": 100}
    train["realnvp"]["model"] |= {"planes": 2, "final": 1}
    for method in section["methods"]:
        section["evaluate"]["digits"][method] = {
            "draws": 2,
            "train_items": 20,
            "samples": 4,
            "steps": 3,
            "certified": 2,
            "jacobians": 1,
        }
    for timed in section["speed"]["models"].values():
        timed |= {"sample_batch": 2, "density_items": 64, "repeats": 1}
    splines = params["lrs_flow"]
    kept = {f"fast-wine-{method}": method for method in SPLINE_METHODS}
    splines["runs"] = {run: splines["runs"][run] for run in kept}
    for method in ("lrs_c", "rq_c"):
        splines["train"]["wine"][method] |= {"steps": 4, "eval_every": 2}
    splines["evaluate"]["wine"] |= {"certified": 2, "jacobians": 1}
    splines["inverse"] |= {"elements": 1000, "samples": 10, "rounds": 1}
    monotone = params["monotone_flow"]
    for dataset in MONOTONE_SETS:
        looks = {"steps": 4, "eval_every": 2, "last_looks": 1, "last_every": 2, "eval_points": 50}
        monotone["train"][dataset]["monotone"] |= looks | {"batch": 50, "compiled": False}
        few = {"points": 100, "certified": 3, "jacobians": 1}
        monotone["evaluate"][dataset] |= few
    runs = [f"fast-{dataset}-monotone" for dataset in MONOTONE_SETS]
    monotone["runs"] = {run: monotone["runs"][run] for run in runs}
    monotone["train"]["toys"]["monotone"] |= {"sets": ["rings"]}
    images = f"fast-digits-{IMAGE_METHOD}"
    monotone["image_runs"] = {images: monotone["image_runs"][images]}
    trained = monotone["images"]["train"]["digits"][IMAGE_METHOD]
    trained |= {"steps": 2, "batch": 4, "eval_every": 1, "valid_items": 4}
    few = {"draws": 1, "test_items": 4, "samples": 10, "certified": 2, "jacobians": 1}
    monotone["images"]["evaluate"]["digits"] |= few | {"exact_items": 2}
    monotone["evaluate"]["toys"] |= {"samples": 100, "grid": 8, "cells": 8}
    few_recoveries(params["inverse_problems"])
    return params


def few_recoveries(inverse: dict[str, Any]) -> None:
    """Cut the parameters of the inverse problems down to one prior, two methods and one network."""
    inverse["priors"] = {f"fast-digits-{PRIOR}": inverse["priors"][f"fast-digits-{PRIOR}"]}
    inverse["train"]["digits"][PRIOR] |= {"steps": 4, "eval_every": 2, "batch": 8}
    inverse["evaluate"]["digits"] |= {"samples": 12, "certified": 2, "jacobians": 1, "draws": 1}
    inverse["solves"] = {
        f"fast-compressed-{method}": {"experiment": "compressed", "method": method}
        for method in SOLVERS
    }
    for method in SOLVERS:
        inverse["solve"]["compressed"][method] |= {"images": 6, "ratios": [0.2]}
    inverse["solve"]["compressed"][PRIOR]["method"]["changes"] = {"outer": 1}
    inverse["memory"] |= {"depths": [1, 2], "rounds": 1}
    network = f"fast-{NETWORK}"
    inverse["supervised"]["runs"] = {network: inverse["supervised"]["runs"][network]}
    phase = inverse["supervised"]["train"][NETWORK]["phases"][0] | {"epochs": 1}
    inverse["supervised"]["train"][NETWORK] |= {"phases": [phase], "look_every": 1, "iterations": 2}
    inverse["supervised"]["train"][NETWORK] |= {"points": 500, "batch": 20, "save_every": 1}
    few = {"points": 100, "observations": 16, "samples": 8, "compared": 2, "reference": 8}
    inverse["supervised"]["evaluate"] |= few | {"drawn": 8}


@dataclass(frozen=True)
class Done:
    """How a command of DVC ended, and all that it printed."""

    code: int
    text: str

    @property
    def ran(self) -> list[str]:
        """Return the stages whose commands ran, without the profile, in order."""
        names = re.findall(r"^Running stage '(?:[^']*:)?([^']+)'", self.text, flags=re.MULTILINE)
        return [re.sub(r"@fast(-|$)", "@", name).rstrip("@") for name in names]


class Pipeline:
    """A clone with small parameters and its own DVC cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        private = {name: str(folder / ".dvc/tmp" / part) for name, part in PRIVATE.items()}
        self.environment = ENVIRONMENT | private

    @classmethod
    def clone(cls, folder: Path) -> "Pipeline":
        """Commit what the working tree would commit, and check that out in `folder`."""
        pipeline = cls(folder)
        there = ("--git-dir", str(folder / ".git"), "--work-tree", str(ROOT))
        pipeline.git("init", "--quiet", str(folder))
        pipeline.git(*there, "add", "--all", "--", ".", *(f":!{name}" for name in LEFT_OUT))
        pipeline.git(*there, *IDENTITY, "commit", "--quiet", "--message", "Clone")
        pipeline.git("-C", str(folder), "reset", "--quiet", "--hard")
        return pipeline

    def copy(self, folder: Path) -> "Pipeline":
        """Return a copy with the same state, times of files included."""
        return Pipeline(shutil.copytree(self.folder, folder))

    def git(self, *arguments: str) -> None:
        # From the repository's root, where the pathspecs of `clone` are read.
        subprocess.run(["git", *arguments], cwd=ROOT, env=self.environment, check=True)

    def read(self) -> dict[str, Any]:
        """Return the parameters."""
        return dict(yaml.safe_load((self.folder / "params.yaml").read_text()))

    def write(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start DVC as the leader of a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def dvc(self, *arguments: str) -> Done:
        """Run a command of DVC to its end."""
        process = self.start(*arguments)
        try:
            text, _ = process.communicate(timeout=LIMIT)
        except BaseException:
            kill(process)
            raise
        return Done(process.returncode, text)

    def kill_repro_when(self, event: Callable[[], bool]) -> None:
        """Start `dvc repro`, and kill -9 it with the stage it is running once `event` is true."""
        process = self.start("repro")
        limit = time.monotonic() + LIMIT
        try:
            while not event():
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < limit, "nothing to kill came"
                time.sleep(0.005)
        finally:
            kill(process)

    def unlock(self, *stages: str) -> None:
        """Let DVC forget that stages of LU-Net have run."""
        path = self.folder / "lu_net/dvc.lock"
        lock = yaml.safe_load(path.read_text())
        for stage in stages:
            del lock["stages"][stage]
        path.write_text(yaml.safe_dump(lock, sort_keys=False))

    @property
    def out(self) -> Path:
        return self.folder / "results/fast"

    def results(self) -> dict[str, bytes]:
        """Return all files of the profile's results."""
        return {path.as_posix(): (self.out / path).read_bytes() for path in files(self.out)}

    def runs(self) -> dict[Path, int]:
        """Return when each file of each training was written, but those that every start writes."""
        folder = self.folder / "runs"
        return {
            path: (folder / path).stat().st_mtime_ns
            for path in files(folder)
            if path.name not in ("lock", "config.json")
        }

    def run_of(self, method: str) -> Path:
        """Return the folder in which a method was trained."""
        (log,) = (self.folder / "runs").glob(f"*/lu_net-fast-digits-{method}")
        return log.parent


def files(folder: Path) -> list[Path]:
    """Return the paths of all files below a folder, from there."""
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill -9 a command with all that it has started, and wait for its end."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
