import copy
import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.report.ledger import read_ledger
from lu_net import tables
from tests.lu_net.invented import metrics, speed, vector_metrics

METHODS = ["gaussian", "lu_net", "lu_net_published", "realnvp"]
IMAGES: dict[str, Any] = {
    "gaussian": {"model": {"kind": "gaussian"}, "epochs": 0},
    "lu_net": {"model": {"kind": "lu_net"}, "epochs": 40},
    "lu_net_published": {
        "model": {"kind": "lu_net"},
        "objective": "published",
        "select": "test",
        "epochs": 40,
    },
    "realnvp": {"model": {"kind": "realnvp", "scaled_down": "8 planes instead of 64"}},
}
VECTORS = copy.deepcopy(IMAGES)
VECTORS["lu_net_published"]["select"] = "valid"
SECTION = {
    "datasets": ["mixture", "digits"],
    "methods": METHODS,
    "train": {"mixture": VECTORS, "digits": IMAGES},
    "cells": {"dataset": "digits", "scaled_down": "8x8 digits instead of MNIST"},
}
NAMES = {
    "likelihood_digits",
    "per_class_digits",
    "likelihood_mixture",
    "complexity",
    "timing",
    "certificate",
}
LATEX = {
    r"\textbackslash{}": "\\",
    r"\textless{}": "<",
    r"\textbar{}": "|",
    "---": "—",
    r"\_": "_",
    r"\%": "%",
    r"\&": "&",
    r"\#": "#",
    r"\pm": "±",
    "{,}": ",",
    "$": "",
}


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return results/fast/lu_net with everything that the tables are made of."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"profile": "fast", "lu_net": SECTION}))
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results/fast/lu_net"
    for k, method in enumerate(METHODS):
        write(results / "scores/digits" / method / "metrics.json", metrics(2.2 - 0.1 * k))
        write(results / "scores/mixture" / method / "metrics.json", vector_metrics(1.3 - 0.1 * k))
    write(results / "speed.json", speed())
    return results


def edit(folder: Path, dataset: str, method: str, **changes: Any) -> None:
    path = folder / "scores" / dataset / method / "metrics.json"
    found = json.loads(path.read_text())
    for dotted, value in changes.items():
        *keys, last = dotted.split("__")
        place = found
        for key in keys:
            place = place[key]
        place[last] = value
    write(path, found)


def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    return Path("results/fast/lu_net/tables")


def markdown(path: Path) -> list[list[str]]:
    lines = [line for line in path.read_text().splitlines() if line.startswith("|")]
    grid = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines if ":--" not in line]
    return [[re.sub(r"\\([\\`*|<])", r"\1", text) for text in line] for line in grid]


def latex(path: Path) -> list[list[str]]:
    text = path.read_text()
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    head = text.partition(r"\toprule")[2].partition(r"\midrule")[0]
    grid = []
    for line in (*head.strip().splitlines(), *body.strip().splitlines()):
        cells = re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))
        cells = [re.sub(r" \\times 10\^\{(-?\d+)\}", r"e\1", cell) for cell in cells]
        for code, plain in LATEX.items():
            cells = [cell.replace(code, plain) for cell in cells]
        grid.append(cells)
    return grid


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def joined(path: Path) -> list[list[str]]:
    """The rows of a CSV as people read them: a number with its error."""
    grid = []
    for row in rows(path):
        line = []
        for key, text in row.items():
            if key.endswith("_se") and key.removesuffix("_se") in row:
                line[-1] += f" ± {text}" if text else ""
            else:
                line.append(text or "—")
        grid.append(line)
    return grid


def by_method(path: Path) -> dict[str, dict[str, str]]:
    return {row["method"]: row for row in rows(path)}


@pytest.mark.usefixtures("folder")
def test_markdown_latex_and_csv_agree_and_hold_no_nan(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    listed = [entry["name"] for entry in json.loads((written / "index.json").read_text())]
    assert set(listed) == NAMES
    expected = {f"{name}.{end}" for name in NAMES for end in ("md", "tex", "csv")}
    assert {path.name for path in written.iterdir()} == {*expected, "index.json"}
    for name in NAMES:
        head, *body = markdown(written / f"{name}.md")
        assert len(body) > 1
        assert all(len(line) == len(head) for line in body)
        assert latex(written / f"{name}.tex") == [head, *body]
        assert joined(written / f"{name}.csv") == body
    for path in written.iterdir():
        text = path.read_text()
        assert not re.search(r"\b(nan|inf|None)\b", text, re.IGNORECASE)


@pytest.mark.usefixtures("folder")
def test_the_ledger_has_one_line_per_published_cell_and_the_tables_show_them(
    monkeypatch: pytest.MonkeyPatch,
):
    written = run(monkeypatch)
    ledger = read_ledger(written.parent / "cells.csv")
    assert len(ledger) == 16
    shown = rows(written / "complexity.csv") + rows(written / "timing.csv")
    for line, row in zip(ledger, shown, strict=True):
        assert (line.row, line.column, line.verdict) == (row["row"], row["column"], row["verdict"])
        assert line.reason == row["reason"]
    (nll,) = [line for line in shown if (line["row"], line["column"]) == ("LU-Net", "test NLL")]
    assert (nll["published"], nll["published_standard"]) == ("3.242", "3.250")
    assert (nll["measured"], nll["measured_standard"]) == ("1.850", "2.100")
    assert nll["verdict"] == "scaled down"


@pytest.mark.usefixtures("folder")
def test_numbers_stand_in_the_row_and_column_they_belong_to(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    row = by_method(written / "likelihood_digits.csv")["LU-Net, maximum likelihood"]
    assert (row["bits_per_dim"], row["bits_per_dim_se"]) == ("2.100", "0.012")
    assert (row["train"], row["logit_space"], row["lu_net_units"]) == ("2.000", "2.350", "1.850")
    assert row["fitted_gaussian_bits_per_dim"] == "2.400"
    classes = by_method(written / "per_class_digits.csv")["LU-Net, maximum likelihood"]
    assert [classes[f"c{k}"] for k in range(3)] == ["2.100", "2.110", "2.120"]
    toy = by_method(written / "likelihood_mixture.csv")
    assert toy["the true density"]["integral"] == "1.0000"
    assert toy["the true density"]["nats"] == "1.006"
    assert toy["LU-Net, maximum likelihood"]["nats"] == "1.200"
    assert toy["LU-Net, maximum likelihood"]["excess"] == "0.194"
    assert toy["LU-Net, maximum likelihood"]["integral"] == "0.9999"


@pytest.mark.usefixtures("folder")
def test_what_was_selected_on_test_or_scaled_down_says_so_in_its_row(
    monkeypatch: pytest.MonkeyPatch,
):
    written = run(monkeypatch)
    likelihood = by_method(written / "likelihood_digits.csv")
    published = likelihood["LU-Net, published objective, selected on test"]
    assert published["selected"] == "40 epochs, float32, test"
    assert likelihood["LU-Net, maximum likelihood"]["selected"] == "40 epochs, float32, valid"
    assert likelihood["Gaussian, closed form"]["selected"] == "no training"
    assert "8 planes instead of 64" in likelihood["RealNVP"]["setting"]
    assert "8x8 digits instead of MNIST" in published["setting"]
    for name in ("per_class_digits", "certificate"):
        assert "LU-Net, published objective, selected on test" in by_method(written / f"{name}.csv")
    # The name follows the parameters, which choose on validation data here.
    toy = by_method(written / "likelihood_mixture.csv")
    assert "LU-Net, published objective" in toy


def test_a_diverged_run_prints_diverged_and_no_number(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    for dataset in ("digits", "mixture"):
        edit(folder, dataset, "lu_net_published", training__status="diverged")
        edit(folder, dataset, "lu_net", training__status="diverged", training__epochs_run=3)
    written = run(monkeypatch)
    for name in NAMES - {"complexity", "timing"}:
        found = [row for row in rows(written / f"{name}.csv") if "LU-Net" in row["method"]]
        assert found
        words = ("method", "dataset", "selected", "setting")
        for row in found:
            numbers = [text for key, text in row.items() if key not in words]
            assert set(numbers) == {"diverged", ""} or set(numbers) == {"diverged"}
        assert joined(written / f"{name}.csv") == markdown(written / f"{name}.md")[1:]
    (nll,) = [
        row
        for row in rows(written / "complexity.csv")
        if (row["row"], row["column"]) == ("LU-Net", "test NLL")
    ]
    assert nll["measured"] == "diverged"
    assert "after epoch 3" in nll["reason"]
    gaussian = by_method(written / "likelihood_digits.csv")["Gaussian, closed form"]
    assert gaussian["bits_per_dim"] == "2.200"


def test_what_is_not_finite_or_not_measured_is_told_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    failure = {"error": "LeakySoftplus inverse: residual nan"}
    edit(folder, "digits", "lu_net", certificate__round_trip__float32=failure)
    edit(folder, "digits", "lu_net", certificate__logdet__max_error="not finite")
    edit(folder, "digits", "realnvp", certificate__logdet={"items": 0})
    edit(folder, "mixture", "lu_net", certificate__density=failure)
    infinite = {"mean": "not finite", "se": "not finite", "per_model": ["not finite"] * 3}
    infinite["per_model_se"] = infinite["per_model"]
    edit(folder, "digits", "gaussian", test__bits_per_dim=infinite)
    written = run(monkeypatch)
    found = {(r["dataset"], r["method"]): r for r in rows(written / "certificate.csv")}
    row = found["digits", "LU-Net, maximum likelihood"]
    assert (row["float32_max"], row["float32_median"]) == ("not finite", "not finite")
    assert (row["float64_max"], row["logdet"]) == ("1.0e-14", "not finite")
    assert found["digits", "RealNVP"]["logdet"] == ""
    toy = by_method(written / "likelihood_mixture.csv")
    assert toy["LU-Net, maximum likelihood"]["integral"] == "not finite"
    gaussian = by_method(written / "likelihood_digits.csv")["Gaussian, closed form"]
    assert (gaussian["bits_per_dim"], gaussian["bits_per_dim_se"]) == ("not finite", "")


def test_a_second_run_writes_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    files = [*written.iterdir(), folder / "cells.csv"]
    first = {path: path.read_bytes() for path in files}
    run(monkeypatch)
    assert {path: path.read_bytes() for path in files} == first


@pytest.mark.parametrize("content", [None, "{"])
@pytest.mark.parametrize("name", ["scores/digits/realnvp/metrics.json", "speed.json"])
def test_results_that_are_missing_or_damaged_are_named_and_nothing_is_written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str | None,
):
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"{name}: {'not found' if content is None else 'not valid JSON'}" in text
    assert not (folder / "tables").exists()
    assert not (folder / "cells.csv").exists()
