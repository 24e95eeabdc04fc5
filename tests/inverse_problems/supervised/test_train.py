"""Trainings end as they should, whatever happens to them: the faults hit real processes."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from common.errors import UserError
from common.training.curve import read_curve
from common.training.status import read_status
from inverse_problems.supervised.evaluate import restore
from inverse_problems.supervised.train import COLUMNS, EXPORTS, load_task
from tests.inverse_problems.supervised.small import parameters, training
from tests.trainings import DIES, EXACT, Done, Forks, Training, sentence

MODULE = "inverse_problems.supervised.train"
# From the n-th step on the learning rate explodes.
EXPLODES = """
from inverse_problems.supervised.config import Train
calm = Train.at
def at(self, step):
    lr, weights = calm(self, step)
    return (1e30 if step >= {n} else lr), weights
Train.at = at
"""


class Workspace:
    """A folder with params.yaml where `python -m inverse_problems.supervised.train` runs."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder, self.forks = folder, forks
        folder.mkdir(exist_ok=True)

    def train(self, fault: str = "", **changes: Any) -> Done:
        task = parameters(**changes)
        content = {"supervised": {"train": {"tiny": task}}}
        params = {"profile": "fast", "inverse_problems": content}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))
        return Training(self.forks, MODULE, self.folder, ("--task", "tiny"), fault).done()

    @property
    def results(self) -> Path:
        return self.folder / "results/fast/inverse_problems/supervised/tiny"

    def exact(self) -> dict[str, bytes]:
        return {name: (self.results / name).read_bytes() for name in EXACT}


@pytest.mark.slow
def test_a_training_killed_inside_any_write_ends_with_the_same_bytes(forks, tmp_path):
    whole, broken = Workspace(tmp_path / "a", forks), Workspace(tmp_path / "b", forks)
    assert whole.train().code == 0
    for n in (5, 9, 14, 24):
        assert broken.train(fault=DIES.format(n=n)).code == -signal.SIGKILL
    assert broken.train().code == 0
    assert broken.exact() == whole.exact()
    assert {path.name for path in whole.results.iterdir()} == set(EXPORTS)
    curve = read_curve(whole.results / "curve.csv")
    assert tuple(curve) == COLUMNS
    assert curve["step"] == [2, 4, 6, 8, 10, 12]
    restore(whole.results / "weights.pt", training())


@pytest.mark.slow
def test_a_training_that_diverges_says_so_and_keeps_the_last_good_weights(forks, tmp_path):
    space = Workspace(tmp_path / "a", forks)
    done = space.train(fault=EXPLODES.format(n=7))
    assert done.code == 0
    status = json.loads((space.results / "status.json").read_text())
    # Clamped scales may keep the loss finite for a step longer.
    assert status["status"] == "diverged"
    assert status["steps_run"] in (6, 8)
    state = restore(space.results / "weights.pt", training()).tensors()
    assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.slow
def test_nonsense_ends_in_one_sentence(forks, tmp_path):
    space = Workspace(tmp_path / "a", forks)
    message = sentence(space.train(problem="mixture"))
    assert "problem is 'mixture', expected one of kinematics, mixture_all" in message
    message = sentence(space.train(total=9))
    assert "a network of 9 features holds neither" in message
    assert message.endswith("raise total")


def test_an_unknown_task_is_named():
    with pytest.raises(
        UserError, match=r"unknown key 'inverse_problems\.supervised\.train\.mixtures'"
    ):
        load_task("fast", "mixtures")


@pytest.mark.parametrize("profile", ["fast", "paper"])
def test_every_task_of_a_profile_is_sound(profile: str):
    from common.training import config

    section = config.section("inverse_problems", profile, "supervised")
    tasks = [run["task"] for run in section["runs"].values()]
    assert len(tasks) == len(set(tasks)) >= 4
    for task in tasks:
        assert load_task(profile, task).steps > 0
    shortened = [bool(section["train"][task].get("scaled_down")) for task in tasks]
    assert all(shortened) if profile == "fast" else not any(shortened)


def test_the_paper_profile_trains_as_long_as_published():
    assert load_task("paper", "mixture_all").steps == 8 * 50
    assert load_task("paper", "mixture_some").steps == 201 * 160
    assert load_task("paper", "kinematics").steps == 201 * 60


def test_missing_and_foreign_files_are_named(tmp_path: Path):
    with pytest.raises(UserError, match="train this task first"):
        read_status(tmp_path, "task")
    (tmp_path / "status.json").write_text("[")
    with pytest.raises(UserError, match="damaged; train this task again"):
        read_status(tmp_path, "task")
    with pytest.raises(UserError, match=r"weights\.pt"):
        restore(tmp_path / "weights.pt", training())
    from common.training.weights import write_weights

    write_weights(tmp_path / "weights.pt", {"w": torch.zeros(2)}, {})
    with pytest.raises(UserError, match="not the weights of the model"):
        restore(tmp_path / "weights.pt", training())
