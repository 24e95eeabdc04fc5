"""Trained priors are rebuilt and scored."""

import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from common import datasets
from common.errors import UserError
from inverse_problems import evaluate
from inverse_problems.config import Evaluate
from inverse_problems.families import scorer, trainer
from inverse_problems.load import load_prior
from inverse_problems.priors.flow import FlowPrior
from inverse_problems.priors.pixels import Pixels
from inverse_problems.priors.scoring_flow import published_scale
from tests.inverse_problems.workspace import SMALL, Workspace

CPU = torch.device("cpu")


@pytest.fixture
def trained(reference, tmp_path, monkeypatch) -> Workspace:
    """Return a copy of a workspace where both priors were trained, as the current folder."""
    for prior in ("glow", "spline"):
        # The link to the raw data cannot be copied over itself.
        left = shutil.ignore_patterns("data") if (tmp_path / "data").exists() else None
        folder = reference(prior).folder
        shutil.copytree(folder, tmp_path, symlinks=True, dirs_exist_ok=True, ignore=left)
    workspace = Workspace(tmp_path, None)
    workspace.write_params()
    monkeypatch.chdir(tmp_path)
    return workspace


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["glow", "spline"])
def test_a_trained_prior_is_rebuilt_frozen_and_scores_its_validation_loss(trained, prior):
    loaded = load_prior("fast", "digits", prior)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    x = datasets.load("digits").valid.x[:50]
    pixels = Pixels.of(x, 17, None, CPU)
    from inverse_problems.priors.training_flow import score

    assert isinstance(loaded, FlowPrior)
    best = json.loads((trained.results(prior) / "status.json").read_text())["best_valid"]
    assert score(loaded, pixels, 0).item() == pytest.approx(best, rel=1e-6)
    z = loaded.encode(x[:4].float() / 16)
    torch.testing.assert_close(loaded.decode(z), x[:4].float() / 16, rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_command_writes_scores_that_depend_on_nothing_else(trained, monkeypatch):
    written = []
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["evaluate", "--dataset", "digits", "--prior", "glow"])
        evaluate.main()
        scores = trained.folder / "results/fast/inverse_problems/scores/digits/glow"
        written.append({path.name: path.read_bytes() for path in scores.iterdir()})
    assert written[0] == written[1]
    metrics = json.loads(written[0]["metrics.json"])
    bits = metrics["bits_per_dim"]
    assert bits["bits"] == pytest.approx(math.log2(17))
    assert bits["test"]["images"] == 10
    assert bits["test"]["draws"] == 2
    assert bits["test"]["published_scale"] == pytest.approx(bits["test"]["mean"] + 8 - bits["bits"])
    assert metrics["certificate"]["logdet"]["max_error"] < 1e-9
    assert metrics["certificate"]["round_trip"]["float64"]["max"] < 1e-11
    assert metrics["training"]["status"] == "finished"
    assert metrics["latents"] == 64
    with np.load(scores / "arrays.npz") as arrays:
        assert arrays["samples_0.7"].shape == (3, 1, 8, 8)
        assert arrays["samples_1"].dtype == np.uint8
        assert not np.array_equal(arrays["samples_0.7"], arrays["samples_1"])
        assert arrays["test"].mean() == pytest.approx(bits["test"]["mean"], rel=1e-5)
        assert arrays["curve_step"].tolist() == [4, 8, 12, 16, 20, 24]


@pytest.mark.slow
def test_what_cannot_be_rebuilt_is_refused_in_one_sentence(trained, monkeypatch):
    with pytest.raises(UserError, match="did you mean 'glow'"):
        load_prior("fast", "digits", "glo")
    with pytest.raises(UserError, match="no weights there; run the training stage first"):
        load_prior("fast", "digits", "glow", root=Path("elsewhere"))
    trained.prior("glow")["model"]["width"] = 5
    trained.write_params()
    with pytest.raises(UserError, match="not the weights of the model"):
        load_prior("fast", "digits", "glow")


def test_five_bits_are_three_too_many_on_the_published_scale():
    assert published_scale(1.5, 32) == pytest.approx(4.5)
    assert published_scale(1.5, 256) == pytest.approx(1.5)


def test_scores_of_an_untrained_flow_are_averages_over_images_and_draws(raw):
    data = datasets.load("digits", raw)
    family, cfg = trainer(SMALL)
    prior = family.build(cfg, (1, 8, 8), 17).eval()
    wanted = Evaluate(draws=3, test_items=5, train_items=4, certified=2, jacobians=0)
    found, arrays = scorer(SMALL).score(prior, wanted, cfg, data)
    test = found["bits_per_dim"]["test"]
    assert arrays["test"].shape == (5,)
    assert test["mean"] == pytest.approx(arrays["test"].mean().item())
    assert test["se"] == pytest.approx(arrays["test"].std().item() / 5**0.5, rel=1e-4)
    assert 0 < test["se_draws"] < test["se"]
    assert math.isnan(found["bits_per_dim"]["train"]["se_draws"])
    assert found["certificate"]["logdet"] == {"items": 0}
