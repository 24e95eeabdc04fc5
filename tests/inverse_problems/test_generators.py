"""The commands train, rebuild and score autoencoders and DCGANs, whatever happens to them."""

import json
import math
import shutil
import signal
import sys

import numpy as np
import pytest
import torch

from common import datasets
from common.training.curve import read_curve
from inverse_problems import evaluate
from inverse_problems.load import load_prior
from inverse_problems.priors.training_vae import validate
from inverse_problems.priors.vae import Vae
from tests.inverse_problems.workspace import Workspace
from tests.trainings import DIES

BOTH = pytest.mark.parametrize("prior", ["vae", "dcgan"])


@pytest.fixture
def trained(reference, raw, tmp_path, monkeypatch) -> Workspace:
    """Return a copy of a workspace where both were trained, as the current folder."""
    for prior in ("vae", "dcgan"):
        results = reference(prior).folder / "results"
        shutil.copytree(results, tmp_path / "results", dirs_exist_ok=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(raw)
    workspace = Workspace(tmp_path, None)
    workspace.write_params()
    monkeypatch.chdir(tmp_path)
    return workspace


@pytest.mark.slow
@BOTH
def test_a_training_killed_inside_any_write_ends_with_the_same_bytes(workspace, reference, prior):
    whole = reference(prior)
    # Inside a checkpoint, between two, and inside what follows the last.
    for n in (9, 14, 24):
        done = workspace.train(prior, fault=DIES.format(n=n))
        assert done.code == -signal.SIGKILL, done
    assert workspace.train(prior).code == 0
    assert workspace.exact(prior) == whole.exact(prior)
    assert workspace.run.name == whole.run.name


@pytest.mark.slow
def test_an_autoencoder_learns_and_is_rebuilt_as_it_was_best(trained):
    results = trained.results("vae")
    status = json.loads((results / "status.json").read_text())
    curve = read_curve(results / "curve.csv")
    assert curve["train"][-1] < curve["train"][0]
    assert status["best_step"] < 24, "a resume could not be told from the last weights"
    vae = load_prior("fast", "digits", "vae")
    assert isinstance(vae, Vae)
    assert not vae.training
    bound, _ = validate(vae, datasets.load("digits").valid.x[:50], 17, seed=0)
    assert -bound.item() == pytest.approx(status["best_valid"], rel=1e-6)


@pytest.mark.slow
@BOTH
def test_the_command_writes_scores_that_depend_on_nothing_else(trained, monkeypatch, prior):
    written = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["evaluate", "--dataset", "digits", "--prior", prior])
        evaluate.main()
        scores = trained.folder / "results/fast/inverse_problems/scores/digits" / prior
        written.append({path.name: path.read_bytes() for path in scores.iterdir()})
    assert written[0] == written[1]
    metrics = json.loads(written[0]["metrics.json"])
    loaded = load_prior("fast", "digits", prior)
    assert metrics["latents"] == 3
    assert metrics["training"]["status"] == "finished"
    with np.load(scores / "arrays.npz") as arrays:
        assert arrays["samples_1"].shape == (3, 1, 8, 8)
        assert arrays["curve_step"].tolist() == [4, 8, 12, 16, 20, 24]
        if prior == "vae":
            bound = metrics["bound"]
            assert arrays["elbo"].mean() == pytest.approx(bound["test"]["nats"], rel=1e-5)
            assert bound["test"]["images"] == 10
            assert bound["train"]["bits_per_dim"] == pytest.approx(
                -bound["train"]["nats"] / (64 * math.log(2))
            )
            assert metrics["parameters"] == sum(p.numel() for p in loaded.parameters())
        else:
            assert metrics["training"]["selection"].startswith("last weights")
            assert metrics["discriminator"]["samples"]["images"] == 10
            assert metrics["parameters"] == sum(p.numel() for p in loaded.generator.parameters())


@pytest.mark.slow
@BOTH
def test_a_rebuilt_prior_gives_gradients_of_its_latents_alone(trained, prior):
    loaded = load_prior("fast", "digits", prior)
    z = torch.randn((2, 3), generator=torch.Generator().manual_seed(0), requires_grad=True)
    loaded.decode(z).square().sum().backward()
    assert bool((z.grad != 0).all())
    assert all(p.grad is None for p in loaded.parameters())
