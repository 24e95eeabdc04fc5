"""Tables and figures from invented results: complete, equal again, and honest about failures."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import UserError
from inverse_problems import figures, tables
from tests.inverse_problems.invented import QUALITY, SETS, Lab, pictures

GAMMAS = (0.0, 0.1, 1.0)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return every experiment."""
    monkeypatch.chdir(tmp_path)
    lab = Lab(tmp_path)
    lab.lacks = "8x8 digits"
    lab.compressed()
    for method in ("glow", "dcgan"):
        lab.add("representation", method, [({"set": name}, 45.0) for name in SETS])
    denoising(lab, "glow", ("norm", "squared"))
    denoising(lab, "total_variation", ())
    inpainting(lab)
    starts = [
        ({"start": start, "gamma": gamma, "m": 26, "ratio": 26 / 64}, 30.0 - k)
        for k, start in enumerate(("zero", "small", "large", "lasso", "null_space"))
        for gamma in GAMMAS
    ]
    lab.add("starts", "glow", starts)
    norms = [({"norm": norm, "m": 26, "ratio": 26 / 64}, 30.0 - norm) for norm in (0.0, 4.0, 8.0)]
    lab.add("norms", "glow", norms, more={"typical": 8.0})
    latents(lab)
    return lab


def denoising(lab: Lab, method: str, penalties: tuple[str, ...]) -> None:
    problems: list[tuple[dict[str, Any], float]] = []
    noisy, arrays = [], {}
    for name in SETS:
        for sigma in (0.1, 0.2):
            at = {"set": name, "sigma": sigma}
            noisy.append({"at": at, "psnr": {"mean": 20.0, "se": 0.1}})
            arrays[f"noisy_{name}_{sigma:g}"] = pictures(7)
            for penalty in penalties:
                problems += [
                    ({**at, "penalty": penalty, "gamma": gamma}, 25.0 - abs(gamma - 0.1))
                    for gamma in GAMMAS
                ]
            if not penalties:
                problems.append(({**at, "penalty": None, "gamma": None}, 24.0))
    lab.add(
        "denoising",
        method,
        problems,
        values=lambda at: {"derived": at["gamma"] == 0.1 and at["penalty"] == "squared"},
        arrays=arrays,
        more={"noisy": noisy},
    )


def inpainting(lab: Lab) -> None:
    arrays = {f"measured_{name}": pictures(9) for name in SETS}
    for method, starts in (("glow", ("zero", "large")), ("total_variation", (None,))):
        problems = [
            ({"set": name, "start": start, "gamma": gamma}, 30.0)
            for name in SETS
            for start in starts
            for gamma in (GAMMAS if start else (None,))
        ]
        lab.add("inpainting", method, problems, arrays=arrays)


def latents(lab: Lab) -> None:
    distance = torch.linspace(0.2, 0.8, 4)
    moved = distance * torch.linspace(0.4, 0.6, 16).unsqueeze(1)
    arrays = {"distance": distance, "moved_natural": moved, "moved_random": 0.7 * moved}
    arrays |= {"norms_0": 7 + torch.rand(16), "norms_0.1": 9 + torch.rand(16)}
    more: dict[str, Any] = {"typical": 8.0, "sigmas": [0.1]}
    lab.add("smoothness", "glow", [], arrays=arrays, more=more)
    side = torch.linspace(-1, 1, 6)
    bowl = side.square() + side.square().unsqueeze(1)
    planes = {f"{part}_{kind}": value for kind in ("random", "natural") for part, value in
              (("side", side), ("surface", bowl))}  # fmt: skip
    lab.add("landscape", "glow", [], arrays=planes)
    lab.add("bound", "linear", [])
    path = lab.folder / "solved/bound/linear/metrics.json"
    metrics = json.loads(path.read_text())
    metrics["cells"] = [
        {"at": {"m": m}, "lower": 0.5 / m, "upper": 3.0 / m, "error": {"mean": 1 / m, "se": 0.01}}
        for m in (4, 8, 16)
    ]
    path.write_text(json.dumps(metrics))


def run(monkeypatch: pytest.MonkeyPatch, module: Any, *arguments: str) -> Path:
    monkeypatch.setattr(sys, "argv", ["made", "--partial", *arguments])
    module.main()
    return Path("results/fast/inverse_problems")


def test_tables_hold_every_experiment_and_every_cell(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    folder = run(monkeypatch, tables)
    listed = [entry["name"] for entry in json.loads((folder / "tables/index.json").read_text())]
    assert listed == [
        "claims",
        "compressed_digits",
        "compressed_patches",
        "representation",
        "denoising",
        "inpainting",
        "starts",
        "compressed_details",
    ]
    rows = list(csv.DictReader((folder / "tables/compressed_digits.csv").read_text().splitlines()))
    assert rows[0]["method"] == "Glow, published steps"
    assert len(rows) == len(QUALITY)
    assert float(rows[0]["m26"]) == pytest.approx(36.0, abs=0.01)
    text = (folder / "tables/compressed_patches.md").read_text()
    assert "out of distribution" in text
    assert "Scaled down: 8x8 digits." in text
    verdicts = {
        row["verdict"] for row in csv.DictReader((folder / "cells.csv").read_text().splitlines())
    }
    assert verdicts == {"not run"}


def test_the_best_weight_stands_beside_the_implied_one(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    folder = run(monkeypatch, tables)
    rows = list(csv.DictReader((folder / "tables/denoising.csv").read_text().splitlines()))
    (row,) = [
        r for r in rows
        if r["method"] == "Glow, published steps" and r["penalty"] == "|z|²"
        and float(r["sigma"]) == 0.1 and r["set"] == "8x8 digits"
    ]  # fmt: skip
    assert float(row["weight"]) == 0.1
    assert float(row["best"]) == float(row["derived"]) == pytest.approx(25.0, abs=0.01)
    assert float(row["none"]) == pytest.approx(24.9, abs=0.01)


def test_figures_are_drawn_twice_with_the_same_bytes(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    made = []
    for _ in range(2):
        folder = run(monkeypatch, figures) / "figures"
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    captions = json.loads(made[0]["index.json"])
    assert [caption["file"] for caption in captions] == [
        "compressed.svg",
        "compressed_images.svg",
        "denoising.svg",
        "denoising_images.svg",
        "inpainting.svg",
        "inpainting_images.svg",
        "landscapes.svg",
        "starts.svg",
        "norms.svg",
        "smoothness.svg",
        "bound.svg",
    ]
    assert all(caption["alt"] and caption["caption"] for caption in captions)
    assert "Scaled down: 8x8 digits." in captions[0]["caption"]


@pytest.mark.parametrize("module", [tables, figures])
def test_a_missing_result_is_named_and_nothing_is_written(
    module: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (lab.folder / "solved/compressed/glow/metrics.json").unlink()
    monkeypatch.setattr(sys, "argv", ["made"])
    with pytest.raises(SystemExit):
        module.main()
    assert "solved/compressed/glow/metrics.json: not found" in capsys.readouterr().err
    assert not (lab.folder / "tables").exists()
    assert not (lab.folder / "figures").exists()


def test_cells_are_measured_on_faces_only(lab: Lab):
    from common.report.cells import load_paper
    from inverse_problems.report.cells import measurements
    from inverse_problems.report.results import read_results

    _, cells = load_paper(tables.PAPER)
    results = read_results(lab.folder, "fast", root=lab.root)
    assert all(m.not_run for m in measurements(cells, results))
    glow = results.get("compressed", "glow")
    assert glow is not None
    glow.metrics["trained"] = "celeba64"
    for cell in glow.metrics["cells"]:
        if cell["at"]["set"] == "digits":
            cell["at"] |= {"set": "celeba64", "m": {64: 12288, 26: 5000}.get(cell["at"]["m"], 1)}
    found = {m.id: m for m in measurements(cells, results)}
    whole = found["compressed_celeba/glow/12288"]
    assert whole.measured == pytest.approx(38.0)
    assert whole.scaled_down == "8x8 digits"
    assert found["compressed_celeba/glow/10000"].not_run
    assert found["compressed_2020_celeba/glow/5000"].measured == pytest.approx(36.0)
    assert found["compressed_2020_ffhq/glow/5000"].not_run
    assert found["compressed_birds/glow/5000"].not_run


def test_the_likelihood_of_digits_is_a_cell(lab: Lab):
    from common.report.cells import load_paper
    from inverse_problems.report.cells import measurements
    from inverse_problems.report.results import read_results

    _, cells = load_paper(tables.PAPER)
    cells = [cell for cell in cells if cell.id == "priors/glow_8bit/mnist"]
    results = read_results(lab.folder, "fast", root=lab.root)
    (missing,) = measurements(cells, results)
    assert missing.not_run == "this profile lists no such prior"
    metrics = {
        "bits_per_dim": {"test": {"mean": 1.5, "se": 0.01}},
        "parameters": 76_800,
        "training": {"steps": 10_000},
        "scaled_down": "smaller",
    }
    results.priors["mnist", "glow_8bit"] = metrics
    (found,) = measurements(cells, results)
    assert (found.measured, found.measured_se) == (1.5, 0.01)
    assert found.scaled_down == "76,800 parameters, 10,000 steps"
    metrics["bits_per_dim"]["test"]["mean"] = "not finite"
    (found,) = measurements(cells, results)
    assert found.diverged


def test_an_unknown_table_is_refused():
    from common.report.cells import load_paper
    from inverse_problems.report.cells import measurements
    from inverse_problems.report.results import Results

    _, cells = load_paper(tables.PAPER)
    odd = [type(cells[0])(**{**vars(cells[0]), "id": "landscapes/glow/1"})]
    with pytest.raises(UserError, match="of a table that nothing here measures"):
        measurements(odd, Results({}, {}, {}))
