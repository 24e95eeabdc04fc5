"""The command, on what real trainings leave."""

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from common.training.weights import read_weights, write_weights
from lrs_flow import evaluate
from lrs_flow.data import FOLDS, load_folds
from tests.lrs_flow.workspace import Workspace

NAN = math.nan


def run(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, dataset: str, method: str
) -> dict[str, bytes]:
    """Run the command; return the files that it wrote."""
    workspace.write_params()
    monkeypatch.chdir(workspace.folder)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--dataset", dataset, "--method", method])
    evaluate.main()
    scores = workspace.folder / "results/fast/lrs_flow/scores" / dataset / method
    return {path.name: path.read_bytes() for path in scores.iterdir()}


def refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Workspace
) -> str:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, workspace, "wine", "gaussian")
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not (workspace.folder / "results/fast/lrs_flow/scores").exists()
    return text


def numbers(value: Any) -> Iterator[Any]:
    """Return all leaves of a nested structure."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    else:
        yield value


@pytest.fixture(scope="session")
def fitted(new_workspace: Callable[[], Workspace]) -> Workspace:
    """Return a workspace where the Gaussian was trained."""
    workspace = new_workspace()
    assert workspace.train("wine", "gaussian").code == 0
    return workspace


@pytest.fixture
def trained(fitted: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy of a workspace where the Gaussian was trained."""
    shutil.copytree(fitted.folder, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Workspace(tmp_path, fitted.forks)


@pytest.mark.slow
def test_the_gaussian_scores_what_torch_s_own_does(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, raw: Path
):
    metrics = json.loads(run(monkeypatch, trained, "wine", "gaussian")["metrics.json"])
    folds = load_folds("wine", raw, FOLDS, 0)
    for k, fold in enumerate(folds):
        x = fold.train.x
        peer = MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0))
        expected = peer.log_prob(fold.test.x).mean().item()
        assert metrics["test"]["per_model"][k] == pytest.approx(expected, rel=1e-5)  # float32
    assert metrics["cross_validated"] is True
    assert metrics["models"] == FOLDS
    (features,) = folds[0].shape
    assert metrics["parameters"] == features * (features + 1)
    assert metrics["training"]["status"] == "finished"
    assert all(isinstance(leaf, int | float | str) for leaf in numbers(metrics))
    assert "not finite" not in list(numbers(metrics))


@pytest.mark.slow
def test_a_second_evaluation_writes_the_same_bytes(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
):
    first = run(monkeypatch, trained, "wine", "gaussian")
    assert set(first) == {"metrics.json", "arrays.npz"}
    now = time.time()
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(now + 86_400))
    assert run(monkeypatch, trained, "wine", "gaussian") == first


@pytest.mark.slow
def test_images_are_trained_and_evaluated_from_end_to_end(
    reference: Callable[[str, str], Workspace], monkeypatch: pytest.MonkeyPatch
):
    workspace = reference("digits", "rq_d1")
    files = run(monkeypatch, workspace, "digits", "rq_d1")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    metrics = json.loads(files["metrics.json"], parse_constant=refuse)
    assert set(metrics) == {
        *("training", "parameters", "models", "cross_validated", "unit"),
        *("test", "valid", "train", "certificate"),
    }
    assert "not finite" not in list(numbers(metrics))
    assert metrics["cross_validated"] is False
    assert metrics["test"]["items"] == [10, 10]
    assert metrics["valid"]["items"] == [20, 20]
    # Untrained pixels of 17 levels cost a little more than log2 17 = 4.1 bits.
    assert 1 < metrics["test"]["mean"] < 6
    # The certificate's rounding grows with 24 steps of training only a little.
    assert metrics["certificate"]["round_trip"]["float64"]["max"] < 1e-8
    assert metrics["certificate"]["logdet"] == {
        "items": 2,
        "max_error": pytest.approx(0, abs=1e-8),
    }
    scores = workspace.folder / "results/fast/lrs_flow/scores/digits/rq_d1"
    with np.load(scores / "arrays.npz") as arrays:
        assert arrays["curve_step"].tolist() == [4, 8, 12, 16, 20, 24]
        assert arrays["test"].shape == (2, 10)
        for temperature in ("0.5", "0.75", "1"):
            samples = arrays[f"samples_{temperature}"]
            assert samples.shape == (3, 1, 8, 8)
            assert samples.dtype == np.uint8
            assert samples.max() <= 16


@pytest.mark.slow
def test_a_model_that_is_not_finite_is_reported_as_such(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
):
    path = trained.results("wine", "gaussian") / "weights.pt"
    tensors, facts = read_weights(path)
    tensors["bijection.packed"][3, 0, 0] = NAN
    write_weights(path, tensors, facts)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = run(monkeypatch, trained, "wine", "gaussian")["metrics.json"]
    metrics = json.loads(text, parse_constant=refuse)
    assert metrics["test"]["mean"] == "not finite"
    assert [k for k, v in enumerate(metrics["test"]["per_model"]) if v == "not finite"] == [3]
    assert metrics["test"]["items"] == [17, 18, 18, 18, 18, 17, 18, 18, 18, 18]
    assert metrics["certificate"]["round_trip"]["float64"]["max"] == "not finite"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("weights.pt", "no weights there"),
        ("status.json", "not found; train this model first"),
        ("curve.csv", "no learning curve there"),
    ],
)
def test_a_missing_file_is_named_before_anything_is_scored(
    trained: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    what: str,
):
    (trained.results("wine", "gaussian") / name).unlink()
    monkeypatch.setattr(evaluate, "likelihood", lambda *_: pytest.fail("scored before"))
    text = refused(monkeypatch, capsys, trained)
    assert name in text
    assert what in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content"),
    [("status.json", b"{"), ("status.json", b"[1]"), ("curve.csv", b"step\nx\n")],
)
def test_a_damaged_file_is_named_in_one_sentence(
    trained: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
):
    (trained.results("wine", "gaussian") / name).write_bytes(content)
    text = refused(monkeypatch, capsys, trained)
    assert name in text
    assert "train" in text


@pytest.mark.slow
def test_the_weights_of_another_model_are_refused(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    section = {"model": {"kind": "affine", "steps": 1}, "models": 10}
    trained.parameters["train"]["wine"]["gaussian"] = section
    text = refused(monkeypatch, capsys, trained)
    assert "gaussian/weights.pt: not the weights of the model that the parameters name" in text
