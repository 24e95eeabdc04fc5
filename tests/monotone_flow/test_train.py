"""Trainings end as they should, whatever happens to them: the faults hit real processes."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.training import config
from common.training.curve import read_curve
from monotone_flow.config import Model, Train
from monotone_flow.staircase import staircase
from monotone_flow.train import columns
from monotone_flow.vectors import Density, Fit, build, chain_of, look, make_task
from tests.monotone_flow import workspace as parameters
from tests.monotone_flow.small import seeded
from tests.trainings import DIES, Done, content, sentence

BOTH = pytest.mark.parametrize(
    ("dataset", "method"), [("toys", "monotone"), ("staircase", "scaled_mixed")]
)
SMALL = Model(("actnorm", "monotone"), depth=1, growth=4)
# From the n-th step on the learning rate explodes.
EXPLODES = """
from monotone_flow.config import Train
calm = Train.rate
Train.rate = lambda self, step: 1e30 if step >= {n} else calm(self, step)
"""
# At the n-th step no equation is solved any more.
UNSOLVED = """
import common.solvers
import monotone_flow.config
calm = monotone_flow.config.Train.rate
def rate(self, step):
    if step >= {n}:
        raise common.solvers.NotConverged("w + g(w) = t: residual 1.0 > 1e-6 after 60 steps")
    return calm(self, step)
monotone_flow.config.Train.rate = rate
"""
# The last look sees what no loss has seen.
LAST_LOOK = """
import monotone_flow.vectors
look, looks = monotone_flow.vectors.look, []
def spoiled(*arguments):
    scores = look(*arguments)
    looks.append(scores)
    return scores * float("nan") if len(looks) == {n} else scores
monotone_flow.vectors.look = spoiled
"""


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def exported(folder: Path, name: str = "weights.pt") -> dict[str, Tensor]:
    return torch.load(folder / name, weights_only=True)["state_dict"]


# Tasks


def test_the_staircase_is_fitted_by_its_squared_error():
    stack = build(SMALL, 1, 2, 0).double().eval()
    task = make_task("staircase", Train(SMALL, seeds=2))
    assert isinstance(task, Fit)
    x, y = task.batch(30, seeded(), torch.float64)
    assert x.shape == y.shape == (2, 30, 1)
    assert not torch.equal(x[0], x[1])
    torch.testing.assert_close(y, staircase(x))
    z, _ = chain_of(stack)(x)
    torch.testing.assert_close(task.losses(stack, x, y), (z - y).square()[..., 0])


def test_densities_are_fitted_to_their_own_sets():
    stack = build(SMALL, 2, 4, 0).double().eval()
    task = make_task("toys", Train(SMALL, sets=("8gaussians", "rings"), seeds=2))
    assert isinstance(task, Density)
    x, y = task.batch(4000, seeded(), torch.float64)
    assert x.shape == (4, 4000, 2)
    assert not torch.equal(x[0], x[1])
    # The seeds of a set are neighbours: radii are 2.8 around the centres, and 3 at most on rings.
    radii = x.norm(dim=-1).mean(-1)
    assert radii[:2].tolist() == pytest.approx([2.85, 2.85], abs=0.05)
    assert radii[2:].tolist() == pytest.approx([1.88, 1.88], abs=0.05)
    torch.testing.assert_close(task.losses(stack, x, y), -stack.log_prob(x))


def test_a_look_is_the_mean_loss_over_fresh_points(monkeypatch: pytest.MonkeyPatch):
    stack = build(SMALL, 2, 2, 0).double().eval()
    task = Density(("rings", "moons"), 1)
    found = look(task, stack, 100, seeded(3), torch.float64)
    x, y = task.batch(100, seeded(3), torch.float64)
    torch.testing.assert_close(found, task.losses(stack, x, y).mean(-1).detach())
    monkeypatch.setattr("monotone_flow.vectors.CHUNK", 30)
    torch.testing.assert_close(look(task, stack, 100, seeded(3), torch.float64), found)
    assert not found.requires_grad


def test_the_start_is_a_function_of_the_seed():
    first, second, other = (build(SMALL, 2, 2, seed).tensors() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_curve_has_a_column_for_each_model():
    assert columns(2) == ("step", "lr", "train", "valid_0", "valid_1")


# Killed and continued


@pytest.mark.slow
@BOTH
def test_a_training_killed_inside_any_write_ends_with_the_same_bytes(
    workspace, reference, dataset, method
):
    whole = reference(dataset, method)
    # config.json takes 3 such calls, the first checkpoint 3, and every other one 4: so these lie
    # inside a checkpoint, between two, and inside what follows the last.
    for n in (9, 14, 24):
        done = workspace.train(dataset, method, fault=DIES.format(n=n))
        assert done.code == -signal.SIGKILL, done
    assert workspace.train(dataset, method).code == 0
    assert workspace.exact(dataset, method) == whole.exact(dataset, method)
    # The tests' processes train under the fingerprint of the command itself.
    assert workspace.run.name == whole.run.name


@pytest.mark.slow
def test_a_training_that_saves_seldom_goes_on_from_its_last_save(workspace, new_workspace):
    found = []
    for place, fault in ((new_workspace(), ""), (workspace, DIES.format(n=8))):
        place.method("staircase", "scaled_mixed")["save_every"] = 3
        if fault:
            assert place.train("staircase", "scaled_mixed", fault=fault).code == -signal.SIGKILL
        assert place.train("staircase", "scaled_mixed").code == 0
        found.append(place.exact("staircase", "scaled_mixed"))
    assert found[0] == found[1]


@pytest.mark.slow
@BOTH
def test_the_reference_learns_and_keeps_the_best_of_each_model(reference, dataset, method):
    results = reference(dataset, method).results(dataset, method)
    curve = read_curve(results / "curve.csv")
    assert curve["step"] == [4, 8, 12, 16, 20, 24]
    assert curve["train"][-1] < curve["train"][0] - 0.1
    found = status(results)
    assert (found["status"], found["steps"], found["steps_run"]) == ("finished", 24, 24)
    models = 4 if dataset == "toys" else 2
    for k in range(models):
        scores = curve[f"valid_{k}"]
        assert found["best_valid"][k] == pytest.approx(min(scores))
        assert found["best_step"][k] == curve["step"][scores.index(min(scores))]
    last, best = exported(results), exported(results, "best.pt")
    for k in range(models):
        same = all(torch.equal(last[name][k], best[name][k]) for name in last)
        assert same == (found["best_step"][k] == 24)
    cost = json.loads((results / "cost.json").read_text())
    assert cost["models"] == models
    learned = {"weights", "biases", "shares", "betas", "log_scale", "shift"}
    assert cost["parameters_per_model"] * models == sum(
        tensor.numel() for name, tensor in last.items() if learned & set(name.split("."))
    )


@pytest.mark.slow
def test_concatenations_are_learned_from_the_step_they_are_told(reference, new_workspace):
    late = exported(reference("toys", "monotone").results("toys", "monotone"))
    (name,) = (name for name in late if name.endswith("shares"))
    assert bool((late[name] != 1).any())
    never = new_workspace()
    never.method("toys", "monotone")["learn_shares_from"] = 24
    assert never.train("toys", "monotone").code == 0
    assert bool((exported(never.results("toys", "monotone"))[name] == 1).all())


@pytest.mark.slow
def test_the_rates_are_those_of_the_milestones(reference):
    results = reference("staircase", "scaled_mixed").results("staircase", "scaled_mixed")
    # Of the step before each look.
    expected = [0.05, 0.05, 0.01, 0.01, 0.01, 0.002]
    assert read_curve(results / "curve.csv")["lr"] == pytest.approx(expected)


@pytest.mark.slow
def test_what_is_finished_is_only_exported_again(reference, tmp_path):
    whole = reference("toys", "monotone")
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    again = parameters.Workspace(tmp_path, whole.forks)
    shutil.rmtree(again.folder / "results")
    # How a model is called must not make another run of it.
    again.method("toys", "monotone")["model"]["scaled_down"] = "24 steps"
    before = {path: path.stat().st_mtime_ns for path in again.run.glob("*.pt*")}
    assert before
    assert again.train("toys", "monotone") == Done(0, "", "")
    assert content(again.folder / "results") == content(whole.folder / "results")
    assert {path: path.stat().st_mtime_ns for path in again.run.glob("*.pt*")} == before


@pytest.mark.slow
def test_a_second_trainer_is_told_who_holds_the_run(workspace, reference):
    first = workspace.start("toys", "monotone")
    first.wait(lambda: any(workspace.folder.glob("runs/*/checkpoint.pt")))
    first.signal(signal.SIGSTOP)
    assert not first.ended
    message = sentence(workspace.train("toys", "monotone"))
    assert f"process {first.pid} on" in message
    assert "is training here" in message
    first.signal(signal.SIGCONT)
    assert first.done().code == 0
    whole = reference("toys", "monotone")
    assert workspace.exact("toys", "monotone") == whole.exact("toys", "monotone")


# Diverged


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("fault", [EXPLODES, UNSOLVED], ids=["explodes", "unsolved"])
def test_a_training_that_diverges_keeps_its_last_good_state(
    workspace, new_workspace, dataset, method, fault
):
    good = 8
    short = new_workspace()
    short.method(dataset, method)["steps"] = good
    assert short.train(dataset, method).code == 0
    expected = short.results(dataset, method)
    done = workspace.train(dataset, method, fault=fault.format(n=good + 1))
    assert done.code == 0
    assert "Traceback" not in done.err
    assert done.out.startswith(f"monotone_flow-fast-{dataset}-{method}: ")
    results = workspace.results(dataset, method)
    found = status(results)
    assert (found["status"], found["steps"], found["steps_run"]) == ("diverged", 24, good)
    assert (results / "curve.csv").read_text() == (expected / "curve.csv").read_text()
    for name in ("weights.pt", "best.pt"):
        torch.testing.assert_close(
            exported(results, name), exported(expected, name), rtol=0, atol=0
        )
    # It is over: the same command only exports.
    assert workspace.train(dataset, method) == Done(0, "", "")
    assert status(results)["status"] == "diverged"


@pytest.mark.slow
@BOTH
def test_a_last_look_that_is_not_finite_is_a_divergence(workspace, reference, dataset, method):
    steps = read_curve(reference(dataset, method).results(dataset, method) / "curve.csv")["step"]
    done = workspace.train(dataset, method, fault=LAST_LOOK.format(n=len(steps)))
    assert done.code == 0, done.err
    found = status(workspace.results(dataset, method))
    assert (found["status"], found["steps_run"]) == ("diverged", steps[-2])


@pytest.mark.slow
@BOTH
def test_a_training_that_diverges_at_once_keeps_its_initial_state(workspace, dataset, method):
    workspace.method(dataset, method)["optimiser"] = {"lr": 1e30}
    done = workspace.train(dataset, method)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    results = workspace.results(dataset, method)
    found = status(results)
    assert (found["status"], found["steps_run"]) == ("diverged", 0)
    assert set(found["best_step"]) == {0}
    assert set(found["best_valid"]) == {None}
    cfg = config.load(workspace.method(dataset, method), Train)
    initial = build(cfg.model, 2 if dataset == "toys" else 1, cfg.models, cfg.seed).tensors()
    for name in ("weights.pt", "best.pt"):
        torch.testing.assert_close(exported(results, name), initial, rtol=0, atol=0)


# Refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, "'monotone_flow.train.toys.monotone.step' (did you mean 'steps'?)"),
        ({"last_looks": 30}, "the last looks need 30 times 4 steps; got steps 24"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_written(workspace, change, expected):
    workspace.method("toys", "monotone").update(change)
    assert expected in sentence(workspace.train("toys", "monotone"))
    assert not (workspace.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "toy"], "'monotone_flow.train.toy' (did you mean 'toys'?)"),
        (["--method", "monoton"], "'monotone_flow.train.toys.monoton' (did you mean 'monotone'?)"),
        (["--device", "cuda"], "--device cuda: no CUDA device was found; use --device cpu"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(workspace, arguments, expected):
    assert expected in sentence(workspace.start("toys", "monotone", *arguments).done())
    assert not (workspace.folder / "results").exists()
