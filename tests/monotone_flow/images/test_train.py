"""Trainings on images end as they should, whatever happens to them."""

import io
import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common import datasets
from common.training import config
from common.training.batches import EpochBatches
from common.training.curve import read_curve
from common.training.seeding import generator
from monotone_flow.images.blocks import set_source
from monotone_flow.images.config import Train
from monotone_flow.images.model import build, count, set_all
from monotone_flow.images.train import (
    VALID_LENGTHS,
    VALID_NOISE,
    VALID_PROBES,
    follow,
    look,
    minibatch,
    source,
)
from tests.monotone_flow.images import workspace as parameters
from tests.monotone_flow.images.small import seeded
from tests.trainings import DIES, Done, content, sentence

SHAPE = (1, 8, 8)
BOTH = pytest.mark.parametrize("method", ["monotone", "noisy"])
# From the n-th minibatch on the learning rate explodes, or no equation is solved any more.
EXPLODES = """
from monotone_flow.images.config import Train
calm = Train.rate
Train.rate = lambda self, step: 1e30 if step >= {n} else calm(self, step)
"""
UNSOLVED = """
import common.solvers
from monotone_flow.images.config import Train
calm = Train.rate
def rate(self, step):
    if step >= {n}:
        raise common.solvers.NotConverged("implicit, forward: residual 1.0 > 1e-6")
    return calm(self, step)
Train.rate = rate
"""


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def exported(folder: Path, name: str = "weights.pt") -> dict[str, Tensor]:
    return torch.load(folder / name, weights_only=True)["state_dict"]


def loaded(method: str = "monotone", **changes: Any) -> Train:
    return config.load(parameters.TRAIN["digits"][method] | changes, Train)


# Pieces


def test_a_minibatch_is_a_function_of_seed_and_step_and_mirrors_half_of_its_images():
    cfg = loaded(batch=40)
    items = torch.arange(50, dtype=torch.uint8)[:, None, None, None] + torch.arange(
        0, 200, 100, dtype=torch.uint8
    )
    batches = EpochBatches((50,), 40, 0)
    # 50 items make two minibatches of 25, without padding.
    first, again = (minibatch(items, batches, cfg, 0, torch.float64, seeded()) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == (25, 1, 1, 2)
    second = minibatch(items, batches, cfg, 1, torch.float64, seeded())
    seen = torch.cat((first, second)).amin(-1).flatten().sort().values
    assert torch.equal(seen, torch.arange(50, dtype=torch.float64))
    mirrored = (first[..., 0] > first[..., 1]).double().mean()
    assert 0.2 < mirrored < 0.8
    still = minibatch(items, batches, loaded(flip=False), 0, torch.float64, seeded())
    assert bool((still[..., 0] < still[..., 1]).all())


def test_minibatches_leave_the_padding_out():
    items = torch.arange(11, dtype=torch.uint8)[:, None, None, None]
    batches = EpochBatches((11,), 4, 0)
    sizes = [len(minibatch(items, batches, loaded(), s, torch.float32, seeded())) for s in range(3)]
    assert sum(sizes) == 11


def test_averages_follow_the_parameters():
    cfg = loaded().model
    model, averaged = (build(cfg, SHAPE, 17, seed) for seed in (0, 1))
    before = [p.clone() for p in averaged.parameters()]
    follow(averaged, model, 0.75)
    for old, mine, theirs in zip(before, averaged.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, 0.75 * old + 0.25 * theirs)
    follow(averaged, model, 0.0)
    for mine, theirs in zip(averaged.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_looks_at_the_same_weights_agree_and_are_means_over_images():
    cfg = loaded()
    model = build(cfg.model, SHAPE, 17, 0)
    set_all(model, cfg.series)
    images = torch.randint(0, 17, (12, *SHAPE), generator=seeded(), dtype=torch.uint8)
    found = look(model, images, cfg)
    assert torch.equal(look(model, images, cfg), found)
    values = []
    for chunk, part in enumerate((images[:7], images[7:])):
        set_source(model, source(cfg.seed, VALID_PROBES, VALID_LENGTHS, chunk, "cpu"))
        noise = generator(cfg.seed, VALID_NOISE, chunk)
        values.append(model.eval()(part.float(), noise).detach().double())
    torch.testing.assert_close(found, -torch.cat(values).mean())
    assert not found.requires_grad


# Killed and continued


@pytest.mark.slow
@BOTH
def test_a_training_killed_inside_any_write_ends_with_the_same_weights(
    image_workspace, image_reference, method
):
    whole = image_reference(method)
    for n in (8, 14):
        done = image_workspace.train(method, fault=DIES.format(n=n))
        assert done.code == -signal.SIGKILL, done
    assert image_workspace.train(method).code == 0
    assert image_workspace.exact(method) == whole.exact(method)
    assert image_workspace.run.name == whole.run.name


@pytest.mark.slow
def test_a_training_that_saves_seldom_goes_on_from_its_last_save(new_image_workspace):
    found = []
    for fault in ("", DIES.format(n=8)):
        place = new_image_workspace()
        place.method()["save_every"] = 3
        if fault:
            assert place.train(fault=fault).code == -signal.SIGKILL
        assert place.train().code == 0
        found.append(place.exact())
    assert found[0] == found[1]


@pytest.mark.slow
@BOTH
def test_the_reference_learns_and_keeps_the_best_averages(image_reference, method):
    results = image_reference(method).results(method)
    curve = read_curve(results / "curve.csv")
    assert list(curve) == ["step", "lr", "seconds", "surrogate", "valid"]
    assert curve["step"] == [4, 8, 12, 16]
    assert curve["seconds"] == sorted(curve["seconds"])
    assert curve["seconds"][0] > 0
    # Six minibatches of warm-up.
    assert curve["lr"] == pytest.approx([0.05 * 4 / 6, 0.05, 0.05, 0.05])
    found = status(results)
    assert (found["status"], found["steps"], found["steps_run"]) == ("finished", 16, 16)
    assert found["best_valid"] == min(curve["valid"]) < curve["valid"][0]
    assert found["best_step"] == curve["step"][curve["valid"].index(min(curve["valid"]))]
    last, best = exported(results), exported(results, "best.pt")
    assert any(not torch.equal(last[name], best[name]) for name in last)
    assert all(bool(t) for name, t in best.items() if name.endswith("initialised"))
    cost = json.loads((results / "cost.json").read_text())
    model = build(loaded(method).model, SHAPE, 17, 0)
    assert (
        cost["parameters_per_model"] == count(model) == sum(p.numel() for p in model.parameters())
    )
    assert cost["training_seconds"] == curve["seconds"][-1] < cost["wall_seconds"]


@pytest.mark.slow
def test_the_best_weights_have_the_score_that_the_status_says(image_reference, raw):
    reference = image_reference("monotone")
    cfg = loaded()
    model = build(cfg.model, SHAPE, 17, 0)
    model.load_state_dict(exported(reference.results(), "best.pt"))
    set_all(model, cfg.series)
    data = datasets.load("digits", raw, seed=cfg.seed)
    score = look(model, data.valid.x[:12], cfg) / (64 * math.log(2))
    assert score.item() == pytest.approx(status(reference.results())["best_valid"], rel=1e-6)


@pytest.mark.slow
def test_concatenations_are_learned_from_the_epoch_they_are_told(image_reference, image_workspace):
    early = exported(image_reference("monotone").results())
    names = [name for name in early if name.endswith(".k")]
    assert names
    assert all(bool((early[name] != 1).any()) for name in names)
    image_workspace.method()["learn_shares_from"] = 1  # an epoch has 155 minibatches
    assert image_workspace.train().code == 0
    late = exported(image_workspace.results())
    assert all(bool((late[name] == 1).all()) for name in names)


@pytest.mark.slow
def test_the_optimiser_steps_once_for_the_minibatches_that_it_accumulates(new_image_workspace):
    moved = []
    for accumulation in (1, 2):
        place = new_image_workspace()
        place.method().update(accumulation=accumulation, steps=4, save_every=1)
        assert place.train().code == 0
        saved = torch.load(
            _payload(place.run / "checkpoint.pt"), weights_only=True, map_location="cpu"
        )
        moved.append({int(state["step"]) for state in saved["optimiser"]["state"].values()})
    assert moved == [{4}, {2}]


def _payload(path: Path) -> Any:
    return io.BytesIO(path.read_bytes().partition(b"\n")[2])


@pytest.mark.slow
def test_what_is_finished_is_only_exported_again(image_reference, tmp_path):
    whole = image_reference("monotone")
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    again = parameters.Workspace(tmp_path, whole.forks)
    shutil.rmtree(again.folder / "results")
    # How a model is called must not make another run of it.
    again.method()["model"]["scaled_down"] = "16 steps"
    assert again.train() == Done(0, "", "")
    assert content(again.folder / "results") == content(whole.folder / "results")


# Diverged


@pytest.mark.slow
@pytest.mark.parametrize("fault", [EXPLODES, UNSOLVED], ids=["explodes", "unsolved"])
def test_a_training_that_diverges_keeps_its_last_good_state(
    image_workspace, new_image_workspace, fault
):
    good = 8
    short = new_image_workspace()
    short.method()["steps"] = good
    assert short.train().code == 0
    done = image_workspace.train(fault=fault.format(n=good + 1))
    assert done.code == 0
    assert "Traceback" not in done.err
    assert done.out.startswith("monotone_flow-fast-digits-monotone: ")
    found = status(image_workspace.results())
    assert (found["status"], found["steps"], found["steps_run"]) == ("diverged", 16, good)
    ours, theirs = image_workspace.exact(), short.exact()
    assert ours["curve"] == theirs["curve"]
    for name in ("weights.pt", "best.pt"):
        torch.testing.assert_close(
            exported(image_workspace.results(), name),
            exported(short.results(), name),
            rtol=0,
            atol=0,
        )
    assert image_workspace.train() == Done(0, "", "")


@pytest.mark.slow
def test_a_training_that_diverges_at_once_keeps_its_initial_state(image_workspace):
    image_workspace.method()["optimiser"] = {"lr": 1e30, "warmup": 0}
    done = image_workspace.train()
    assert done.code == 0, done.err
    results = image_workspace.results()
    found = status(results)
    assert (found["status"], found["steps_run"]) == ("diverged", 0)
    assert (found["best_step"], found["best_valid"]) == (0, None)
    initial = dict(build(loaded().model, SHAPE, 17, 0).named_parameters())
    for name in ("weights.pt", "best.pt"):
        tensors = exported(results, name)
        weights = [name for name in initial if name.endswith("weight")]
        assert all(torch.equal(tensors[name], initial[name]) for name in weights)
        assert all(tensor.isfinite().all() for tensor in tensors.values())


# Refused


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"step": 3}, "'monotone_flow.images.train.digits.monotone.step' (did you mean 'steps'?)"),
        ({"epochs": 2}, "expected either steps or epochs, got both or neither"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_written(image_workspace, change, expected):
    image_workspace.method().update(change)
    assert expected in sentence(image_workspace.train())
    assert not (image_workspace.folder / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method", "monoton"], "images.train.digits.monoton' (did you mean 'monotone'?)"),
        (["--raw", "nowhere"], "nowhere/digits"),
        (["--device", "cuda"], "--device cuda: no CUDA device was found; use --device cpu"),
    ],
)
def test_a_wrong_argument_is_refused_in_one_sentence(image_workspace, arguments, expected):
    assert expected in sentence(image_workspace.start(*arguments).done())
    assert not (image_workspace.folder / "results").exists()
