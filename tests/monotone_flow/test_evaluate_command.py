"""The evaluation as a command: what it writes, and what it refuses."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from common.training.curve import write_curve
from common.training.weights import read_weights, write_weights
from monotone_flow import evaluate
from monotone_flow.train import columns
from monotone_flow.vectors import build
from tests.monotone_flow.test_evaluate import CURVE, EVALUATE, TRAIN, loaded, untrained


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what two trainings leave."""
    root = tmp_path_factory.mktemp("exported")
    section = {"train": TRAIN, "evaluate": EVALUATE}
    (root / "params.yaml").write_text(yaml.safe_dump({"profile": "fast", "monotone_flow": section}))
    for dataset, method, features in (("staircase", "mixed", 1), ("toys", "monotone", 2)):
        cfg = loaded(TRAIN[dataset][method])
        folder = root / "results/fast/monotone_flow" / dataset / method
        folder.mkdir(parents=True)
        for name, seed in (("weights", 0), ("best", 5)):
            tensors = untrained(cfg, features, seed).tensors()
            write_weights(folder / f"{name}.pt", tensors, {"models": cfg.models})
        looks = CURVE[:, : cfg.models].tolist()
        rows = [[10.0 * k, 1e-3, 1.0, *scores] for k, scores in enumerate(looks, 1)]
        write_curve(folder / "curve.csv", columns(cfg.models), rows)
        status = {"status": "finished", "steps": cfg.steps, "steps_run": cfg.steps}
        (folder / "status.json").write_text(json.dumps(status))
    return root


@pytest.fixture
def trained(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the results, in the current folder, that a test may spoil."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/fast/monotone_flow"


def run(monkeypatch: pytest.MonkeyPatch, results: Path, dataset: str) -> dict[str, bytes]:
    """Run the command; return the files that it wrote."""
    method = {"staircase": "mixed", "toys": "monotone"}[dataset]
    arguments = ["--dataset", dataset, "--method", method, "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["evaluate", *arguments])
    evaluate.main()
    return {
        path.name: path.read_bytes() for path in (results / "scores" / dataset / method).iterdir()
    }


@pytest.mark.parametrize("dataset", ["staircase", "toys"])
def test_the_command_writes_json_and_arrays_and_the_same_bytes_again(
    dataset: str, trained: Path, monkeypatch: pytest.MonkeyPatch
):
    first = run(monkeypatch, trained, dataset)
    assert set(first) == {"metrics.json", "arrays.npz"}
    metrics = json.loads(first["metrics.json"])
    cfg = loaded(next(iter(TRAIN[dataset].values())))
    assert metrics["models"] == cfg.models
    stack = build(cfg.model, 1 if dataset == "staircase" else 2, 1, 0)
    assert metrics["parameters"] == sum(p.numel() for p in stack.parameters())
    assert metrics["training"]["status"] == "finished"
    assert metrics["scaled_down"] == ("few steps" if dataset == "staircase" else "")
    assert b"not finite" not in first["metrics.json"]
    folder = trained / "scores" / dataset / next(iter(TRAIN[dataset]))
    with np.load(folder / "arrays.npz") as arrays:
        assert arrays["curve_step"].tolist() == [10, 20, 30, 40]
        expected = CURVE[:, : cfg.models].float().numpy()
        assert np.array_equal(arrays["curve_valid"], expected)
    assert run(monkeypatch, trained, dataset) == first


def test_last_and_best_weights_are_told_apart(trained: Path, monkeypatch: pytest.MonkeyPatch):
    metrics = json.loads(run(monkeypatch, trained, "staircase")["metrics.json"])
    shutil.copy(trained / "staircase/mixed/weights.pt", trained / "staircase/mixed/best.pt")
    same = json.loads(run(monkeypatch, trained, "staircase")["metrics.json"])
    assert metrics["final"] == same["final"] == same["best"] != metrics["best"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rename(path: Path) -> None:
    state, metadata = read_weights(path)
    first, *_ = state
    state[f"{first}x"] = state.pop(first)
    write_weights(path, state, metadata)


def drop(path: Path) -> None:
    state, metadata = read_weights(path)
    write_weights(path, dict(list(state.items())[1:]), metadata)


def fewer_models(path: Path) -> None:
    state, metadata = read_weights(path)
    write_weights(path, {name: t[:-1] for name, t in state.items()}, metadata)


OTHER = "not the weights of the model that the parameters name; train it again"


def narrow(path: Path) -> None:
    """Take the last model out of the curve."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")


@pytest.mark.parametrize(
    ("file", "harm", "message"),
    [
        ("weights.pt", Path.unlink, "no weights there"),
        ("weights.pt", cut, "damaged weights"),
        ("weights.pt", flip, "damaged weights"),
        ("weights.pt", rename, OTHER),
        ("weights.pt", drop, OTHER),
        ("weights.pt", fewer_models, OTHER),
        ("best.pt", cut, "damaged weights"),
        ("best.pt", drop, OTHER),
        ("curve.csv", Path.unlink, "no learning curve there"),
        ("curve.csv", lambda path: path.write_text("step\nx\n"), "not a learning curve"),
        ("curve.csv", narrow, "expected a column for each of"),
        ("status.json", Path.unlink, "not found; train this model first"),
        ("status.json", lambda path: path.write_text("{"), "damaged; train this model again"),
    ],
)
def test_what_training_left_is_refused_when_it_is_damaged(
    file: str,
    harm: Any,
    message: str,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    harm(trained / "staircase/mixed" / file)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, trained, "staircase")
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"staircase/mixed/{file}" in text
    assert message in text
    assert not (trained / "scores").exists()


def test_weights_of_another_architecture_are_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = trained.parents[2] / "params.yaml"
    path.write_text(path.read_text().replace("growth: 4", "growth: 6"))
    with pytest.raises(SystemExit):
        run(monkeypatch, trained, "staircase")
    assert OTHER in capsys.readouterr().err
