"""Trainings end as they should, whatever happens to them: the faults hit real processes."""

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.training import config
from common.training.curve import read_curve
from common.training.seeding import generator
from lrs_flow.config import Train
from lrs_flow.data import load_folds
from lrs_flow.items import Items
from lrs_flow.train import VALID_NOISE, backward, flip, make_bank, nats_per_unit, score
from tests.lrs_flow import workspace as parameters
from tests.lrs_flow.small import COUPLING, IMAGES, images, model, normal, vectors
from tests.trainings import DIES, Done, content, sentence

CPU = torch.device("cpu")
BOTH = pytest.mark.parametrize(("dataset", "method"), [("wine", "lrs_c"), ("digits", "rq_d1")])
# From the n-th step on the learning rate explodes.
EXPLODES = """
import common.training.schedule as schedule
calm = schedule.cosine
schedule.cosine = lambda step, *rest: 1e30 if step >= {n} else calm(step, *rest)
"""


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def exported(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)["state_dict"]


# A step


@pytest.mark.parametrize("data", [vectors(), images()], ids=["stack", "bank"])
def test_padding_neither_counts_in_the_loss_nor_moves_anything(data):
    bank = model(COUPLING if data.levels is None else IMAGES, data, 2)
    x = data.train.x[:4].double().expand(2, *[-1] * data.train.x.dim()).clone()
    weight = torch.tensor([[1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]]).double()
    losses = backward(bank, x, weight)
    with torch.no_grad():
        nats = -bank.log_prob(x)
    torch.testing.assert_close(losses, torch.stack([nats[0, :3].mean(), nats[1, [0, 2]].mean()]))
    first = [p.grad.clone() for p in bank.parameters() if p.grad is not None]
    bank.zero_grad()
    x[:, 3] += 1  # padding
    backward(bank, x, weight)
    second = [p.grad for p in bank.parameters() if p.grad is not None]
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b)


def test_a_model_without_items_in_a_step_stays_where_it_is():
    bank = model(COUPLING, vectors(), 2)
    losses = backward(bank, normal(2, 3, 3), torch.tensor([[1.0, 1.0, 1.0], [0.0] * 3]).double())
    assert losses[1] == 0
    assert bank.gradient_norms().tolist()[1] == 0
    assert bank.gradient_norms()[0] > 0


def test_about_half_of_the_images_are_mirrored_whole():
    x = torch.arange(2 * 200 * 4.0).view(2, 200, 1, 2, 2)
    found = flip(x, torch.Generator().manual_seed(0))
    same, mirrored = (found == x).flatten(2).all(-1), (found == x.flip(-1)).flatten(2).all(-1)
    assert bool((same ^ mirrored).all())
    # Four standard errors of 200 fair coins.
    assert bool(((mirrored.double().mean(-1) - 0.5).abs() < 4 * 0.5 / 200**0.5).all())
    assert not torch.equal(mirrored[0], mirrored[1])
    assert torch.equal(found, flip(x, torch.Generator().manual_seed(0)))


# A score


def test_a_score_is_the_mean_over_the_items_of_each_fold(monkeypatch: pytest.MonkeyPatch):
    folds = [vectors((9, n, 3), seed=k) for k, n in enumerate((7, 4))]
    bank = model(COUPLING, folds[0], 2)
    valid = Items.of(folds, "valid", 2, CPU, torch.float64)
    cfg = Train(COUPLING)
    found = score(bank.train(), valid, cfg, torch.float64)
    for k, fold in enumerate(folds):
        x = fold.valid.x.expand(2, -1, -1)
        torch.testing.assert_close(found[k], -bank.log_prob(x)[k].mean().detach())
    monkeypatch.setattr("lrs_flow.train.CHUNK", 3)
    torch.testing.assert_close(score(bank, valid, cfg, torch.float64), found)


def test_images_are_scored_with_the_same_noise_at_every_look():
    data = images()
    bank = model(IMAGES, data, 2)
    valid = Items.of([data], "valid", 2, CPU, torch.float64)
    cfg = Train(IMAGES, seed=3)
    found = score(bank, valid, cfg, torch.float64)
    assert torch.equal(found, score(bank, valid, cfg, torch.float64))
    x = valid.take(torch.arange(9).expand(2, -1), torch.float64, generator(3, VALID_NOISE, 0))
    torch.testing.assert_close(found, -bank.log_prob(x).mean(-1).detach())
    assert nats_per_unit(data) == 16 * math.log(2)
    assert nats_per_unit(vectors()) == 1


def test_the_start_is_a_function_of_the_seed():
    data = vectors()
    first, second, other = (make_bank(Train(COUPLING, seed=s), [data]).tensors() for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# Killed, stopped, continued


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
@BOTH
def test_a_training_that_stops_and_goes_on_is_one_that_runs_through(
    workspace, reference, dataset, method
):
    whole = reference(dataset, method)
    for stop in (8, 12):
        workspace.method(dataset, method)["stop"] = stop
        # As a profile says it; the words must not make another run of it.
        workspace.method(dataset, method)["model"]["scaled_down"] = f"{stop} of 24 steps"
        assert workspace.train(dataset, method).code == 0
        found = status(workspace.results(dataset, method))
        assert (found["status"], found["steps"], found["steps_run"]) == ("finished", 24, stop)
    del workspace.method(dataset, method)["stop"]
    assert workspace.train(dataset, method).code == 0
    assert workspace.exact(dataset, method) == whole.exact(dataset, method)
    assert workspace.run.name == whole.run.name


@pytest.mark.slow
def test_the_reference_learns_and_keeps_the_best_of_each_fold(reference):
    results = reference("wine", "lrs_c").results("wine", "lrs_c")
    curve = read_curve(results / "curve.csv")
    assert curve["step"] == [4, 8, 12, 16, 20, 24]
    assert curve["lr"][-1] == 0
    assert curve["train"][-1] < curve["train"][0] - 1
    found = status(results)
    assert (found["status"], found["steps_run"]) == ("finished", 24)
    assert len(set(found["best_step"])) > 1, "no fold is best at another time than the others"
    mean = sum(found["best_valid"]) / 10
    assert mean <= min(curve["valid"]) + 1e-9  # each at its best, so no mean of one look is below
    cost = json.loads((results / "cost.json").read_text())
    assert cost["models"] == 10
    assert cost["parameters_per_model"] * 10 == sum(
        tensor.numel()
        for name, tensor in exported(results).items()
        if not name.endswith((".mean", ".var"))
    )


@pytest.mark.slow
def test_what_is_finished_is_only_exported_again(reference, tmp_path):
    whole = reference("wine", "lrs_c")
    shutil.copytree(whole.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    again = parameters.Workspace(tmp_path, whole.forks)
    shutil.rmtree(again.folder / "results")
    before = {path: path.stat().st_mtime_ns for path in again.run.glob("*.pt*")}
    assert before
    assert again.train("wine", "lrs_c") == Done(0, "", "")
    assert content(again.folder / "results") == content(whole.folder / "results")
    assert {path: path.stat().st_mtime_ns for path in again.run.glob("*.pt*")} == before


@pytest.mark.slow
def test_a_second_trainer_is_told_who_holds_the_run(workspace, reference):
    first = workspace.start("wine", "lrs_c")
    first.wait(lambda: any(workspace.folder.glob("runs/*/checkpoint.pt")))
    first.signal(signal.SIGSTOP)
    assert not first.ended
    message = sentence(workspace.train("wine", "lrs_c"))
    assert f"process {first.pid} on" in message
    assert "is training here" in message
    first.signal(signal.SIGCONT)
    assert first.done().code == 0
    assert workspace.exact("wine", "lrs_c") == reference("wine", "lrs_c").exact("wine", "lrs_c")


# Diverged


@pytest.mark.slow
@BOTH
def test_a_training_that_diverges_keeps_its_last_good_state(workspace, dataset, method):
    good = 8
    workspace.method(dataset, method)["stop"] = good
    assert workspace.train(dataset, method).code == 0
    results = workspace.results(dataset, method)
    expected, curve = exported(results), (results / "curve.csv").read_text()
    del workspace.method(dataset, method)["stop"]
    done = workspace.train(dataset, method, fault=EXPLODES.format(n=good + 1))
    assert done.code == 0
    assert "is not finite at step" in done.out
    assert "Traceback" not in done.err
    found = status(results)
    assert found["status"] == "diverged"
    assert (found["steps"], found["steps_run"]) == (24, good)
    assert (results / "curve.csv").read_text() == curve
    torch.testing.assert_close(exported(results), expected, rtol=0, atol=0)
    # It is over: the same command only exports.
    assert workspace.train(dataset, method) == Done(0, "", "")
    assert status(results)["status"] == "diverged"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "method"), [("wine", "lrs_c"), ("wine", "ffjord"), ("digits", "rq_d1")]
)
def test_a_training_that_diverges_at_once_keeps_its_initial_state(workspace, dataset, method):
    workspace.method(dataset, method)["optimiser"] = {"lr": 1e30}
    done = workspace.train(dataset, method)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    found = status(workspace.results(dataset, method))
    assert (found["status"], found["steps_run"]) == ("diverged", 0)
    assert set(found["best_step"]) == {0}
    assert set(found["best_valid"]) == {None}
    cfg = config.load(workspace.method(dataset, method), Train)
    initial = make_bank(cfg, load_folds(dataset, workspace.folder / "data/raw", cfg.models, 0))
    weights = exported(workspace.results(dataset, method))
    torch.testing.assert_close(weights, initial.tensors(), rtol=0, atol=0)


# Refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, "'lrs_flow.train.wine.lrs_c.step' (did you mean 'steps'?)"),
        ({"models": 3}, "wine: is cross-validated, so models must be 10"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_written(workspace, change, expected):
    workspace.method("wine", "lrs_c").update(change)
    assert expected in sentence(workspace.train("wine", "lrs_c"))
    assert not (workspace.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "wines"], "'lrs_flow.train.wines' (did you mean 'wine'?)"),
        (["--method", "lrs"], "'lrs_flow.train.wine.lrs' (did you mean 'lrs_c'?)"),
        (["--device", "cuda"], "--device cuda: no CUDA device was found; use --device cpu"),
        (["--raw", "elsewhere"], "run `python -m common.datasets.fetch wine --raw elsewhere`"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(workspace, arguments, expected):
    assert expected in sentence(workspace.start("wine", "lrs_c", *arguments).done())
    assert not (workspace.folder / "results").exists()


# Other kinds


@pytest.mark.slow
def test_the_gaussian_takes_no_step(workspace):
    assert workspace.train("wine", "gaussian") == Done(0, "", "")
    results = workspace.results("wine", "gaussian")
    found = status(results)
    assert (found["status"], found["steps_run"], found["best_step"]) == ("finished", 0, [0] * 10)
    assert all(value is not None for value in found["best_valid"])
    assert read_curve(results / "curve.csv")["step"] == []


@pytest.mark.slow
def test_ffjord_stops_and_goes_on_too(workspace, reference):
    workspace.method("wine", "ffjord")["stop"] = 4
    assert workspace.train("wine", "ffjord").code == 0
    del workspace.method("wine", "ffjord")["stop"]
    assert workspace.train("wine", "ffjord").code == 0
    assert workspace.exact("wine", "ffjord") == reference("wine", "ffjord").exact("wine", "ffjord")
    curve = read_curve(workspace.results("wine", "ffjord") / "curve.csv")
    assert curve["train"][-1] < curve["train"][0]
