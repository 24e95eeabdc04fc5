"""The evaluation as a command: what it writes of a real training, and what it refuses."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.training.weights import read_weights, write_weights
from monotone_flow.images import evaluate
from monotone_flow.images.config import Evaluate, Model, Train
from monotone_flow.images.model import build
from tests.monotone_flow.images.workspace import EVALUATE, Workspace

# Every test needs a training.
pytestmark = pytest.mark.slow

OTHER = "not the weights of the model that the parameters name; train it again"


@pytest.fixture
def trained(image_reference: Callable[[str], Workspace], tmp_path: Path) -> Callable[[str], Any]:
    """Return copies of a workspace where a method was trained."""

    def get(method: str = "monotone") -> Workspace:
        whole = image_reference(method)
        folder = tmp_path / method
        shutil.copytree(whole.folder, folder, symlinks=True)
        return Workspace(folder, whole.forks)

    return get


def run(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, method: str = "monotone"
) -> dict[str, bytes]:
    """Run the command; return the files that it wrote."""
    workspace.write_params()
    monkeypatch.chdir(workspace.folder)
    given = ["--dataset", "digits", "--method", method, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *given])
    evaluate.main()
    scores = workspace.folder / "results/fast/monotone_flow/scores/digits" / method
    return {path.name: path.read_bytes() for path in scores.iterdir()}


@pytest.mark.parametrize("method", ["monotone", "noisy"])
def test_the_command_writes_what_the_report_reads_and_the_same_bytes_again(
    method: str, trained, monkeypatch: pytest.MonkeyPatch
):
    workspace = trained(method)
    first = run(monkeypatch, workspace, method)
    assert set(first) == {"metrics.json", "arrays.npz"}
    metrics = json.loads(first["metrics.json"])
    assert b"not finite" not in first["metrics.json"]
    assert 1 < metrics["test"]["mean"] < 10
    assert metrics["test"]["se"] > metrics["test"]["se_estimator"] > 0
    assert metrics["valid"]["items"] == 12
    assert metrics["training"]["status"] == "finished"
    assert (metrics["unit"], metrics["scaled_down"], metrics["models"]) == ("bits/dim", "tiny", 1)
    assert metrics["dequantisation"] == ("variational" if method == "noisy" else "uniform")
    assert metrics["lipschitz"]["bound"] < 1
    assert metrics["certificate"]["round_trip"]["float64"]["max"] < 1e-9
    assert metrics["certificate"]["logdet"]["items"] == 1
    assert metrics["certificate"]["logdet"]["max_error"] < 1e-8
    assert metrics["estimator"]["items"] == EVALUATE["digits"]["exact_items"]
    folder = workspace.folder / "results/fast/monotone_flow/scores/digits" / method
    with np.load(folder / "arrays.npz") as arrays:
        assert arrays["curve_step"].tolist() == [4, 8, 12, 16]
        assert {f"curve_{name}" for name in ("seconds", "valid", "surrogate")} <= set(arrays)
        assert arrays["test"].shape == (12,)
        assert (arrays["samples"].shape, arrays["samples"].dtype) == ((3, 1, 8, 8), np.uint8)
    assert run(monkeypatch, workspace, method) == first


def test_the_brightest_of_a_samples_pixels_is_white():
    cfg = Train(Model("residual", blocks=(1,), depth=1, growth=4, vectors=False), steps=1)
    model = build(cfg.model, (1, 4, 4), 17, 0).eval()

    class Data:
        shape = (1, 4, 4)

    found = evaluate.draw(model, cfg, Evaluate(samples=200), Data())  # type: ignore[arg-type]
    # 17 values from 0 to 16 are spread over 0 to 255.
    assert set(found.unique().tolist()) <= {round(255 * value / 16) for value in range(17)}
    assert int(found.max()) == 255
    assert found.dtype == torch.uint8


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def drop(path: Path) -> None:
    state, metadata = read_weights(path)
    write_weights(path, dict(list(state.items())[1:]), metadata)


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("best.pt", Path.unlink, "no weights there"),
        ("best.pt", cut, "damaged weights"),
        ("best.pt", drop, OTHER),
        ("curve.csv", Path.unlink, "no learning curve there"),
        ("status.json", Path.unlink, "not found; train this model first"),
        ("status.json", lambda path: path.write_text("{"), "damaged; train this model again"),
    ],
)
def test_what_training_left_is_refused_when_it_is_damaged(
    file: str,
    harm: Any,
    message: str,
    trained,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    workspace = trained()
    harm(workspace.results() / file)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, workspace)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"digits/monotone/{file}" in text
    assert message in text
    assert not (workspace.folder / "results/fast/monotone_flow/scores").exists()
