"""Trainings of priors end as they should, whatever happens to them."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.training.curve import read_curve
from inverse_problems.families import trainer
from tests.inverse_problems.workspace import SMALL, Workspace
from tests.trainings import DIES, Done, content, sentence

BOTH = pytest.mark.parametrize("prior", ["glow", "spline"])
# From the n-th step on the learning rate explodes.
EXPLODES = """
import inverse_problems.priors.rate as rate
calm = rate.Rate.at
rate.Rate.at = lambda self, step: 1e30 if step >= {n} else calm(self, step)
"""


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def exported(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)["state_dict"]


@pytest.mark.slow
@BOTH
def test_a_training_killed_inside_any_write_ends_with_the_same_bytes(workspace, reference, prior):
    whole = reference(prior)
    # config.json takes 3 such calls, the first checkpoint 3, and every other one 4.
    for n in (9, 14, 24):
        done = workspace.train(prior, fault=DIES.format(n=n))
        assert done.code == -signal.SIGKILL, done
    assert workspace.train(prior).code == 0
    assert workspace.exact(prior) == whole.exact(prior)
    assert workspace.run.name == whole.run.name


@pytest.mark.slow
def test_a_training_that_stops_and_goes_on_is_one_that_runs_through(workspace, reference):
    whole = reference("glow")
    for stop in (8, 12):
        workspace.prior("glow").update(stop=stop, scaled_down=f"{stop} of 24 steps")
        assert workspace.train("glow").code == 0
        found = status(workspace.results("glow"))
        assert (found["status"], found["steps"], found["steps_run"]) == ("finished", 24, stop)
    del workspace.prior("glow")["stop"]
    assert workspace.train("glow").code == 0
    assert workspace.exact("glow") == whole.exact("glow")
    assert workspace.run.name == whole.run.name


@pytest.mark.slow
def test_the_reference_learns_and_keeps_the_best(reference):
    results = reference("glow").results("glow")
    curve = read_curve(results / "curve.csv")
    assert curve["step"] == [4, 8, 12, 16, 20, 24]
    assert curve["train"][-1] < curve["train"][0] - 0.2
    assert curve["lr"][-1] < curve["lr"][1], "the plateau was never reached"
    found = status(results)
    assert found["best_valid"] == min(curve["valid"])
    assert found["best_step"] == curve["step"][curve["valid"].index(min(curve["valid"]))]
    cost = json.loads((results / "cost.json").read_text())
    trained = {k: t for k, t in exported(results).items() if not k.endswith("initialised")}
    assert cost["parameters"] == sum(tensor.numel() for tensor in trained.values())


@pytest.mark.slow
def test_what_is_finished_is_only_exported_again(reference, tmp_path):
    whole = reference("glow")
    shutil.copytree(whole.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    again = Workspace(tmp_path, whole.forks)
    shutil.rmtree(again.folder / "results")
    assert again.train("glow") == Done(0, "", "")
    assert content(again.folder / "results") == content(whole.folder / "results")


@pytest.mark.slow
def test_a_training_that_diverges_keeps_its_last_good_state(workspace):
    good = 8
    workspace.prior("glow")["stop"] = good
    assert workspace.train("glow").code == 0
    expected = exported(workspace.results("glow"))
    del workspace.prior("glow")["stop"]
    done = workspace.train("glow", fault=EXPLODES.format(n=good + 1))
    assert done.code == 0
    assert "is not finite" in done.out
    assert "Traceback" not in done.err
    found = status(workspace.results("glow"))
    assert (found["status"], found["steps_run"]) == ("diverged", good)
    torch.testing.assert_close(exported(workspace.results("glow")), expected, rtol=0, atol=0)
    assert workspace.train("glow") == Done(0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, "'inverse_problems.train.digits.glow.step' (did you mean 'steps'?)"),
        ({"family": "flows"}, "expected one of flow, vae, gan, got 'flows'"),
        ({"bits": 5}, "this set has 17"),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(workspace, change, expected):
    workspace.prior("glow").update(change)
    assert expected in sentence(workspace.train("glow"))
    assert not (workspace.folder / "results").exists()


def test_the_start_is_a_function_of_the_seed():
    family, cfg = trainer(SMALL)
    first, second = (family.build(cfg, (1, 8, 8), 17).state_dict() for _ in range(2))
    other = family.build(trainer(SMALL | {"seed": 1})[1], (1, 8, 8), 17).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
