"""Invented results of one paper, in the shape that the pipelines leave them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.report.cells import load_cells
from common.report.figures import (
    Caption,
    density_panel,
    image_grid,
    latent_histogram,
    panels,
    save,
    write_captions,
)
from common.report.ledger import Measurement, join, write_ledger
from common.report.tables import Column, Table, write_tables

ROOT = Path(__file__).resolve().parents[3]
CELLS = load_cells(ROOT / "lu_net" / "paper.yaml")


def measurements() -> list[Measurement]:
    """One measurement per published cell, every kind of verdict among them."""
    found = {cell.id: Measurement(cell.id, "tables@fast", measured=cell.value) for cell in CELLS}

    def change(name: str, **values: object) -> None:
        found[name] = replace(found[name], **values)  # type: ignore[arg-type]

    change("complexity/lu_net/weight_parameters", measured=4.920384, measured_standard=2.46176)
    change("complexity/realnvp/weight_parameters", measured=5.388264, measured_standard=5.388264)
    for model in ("lu_net", "realnvp"):
        change(f"complexity/{model}/gpu_memory", measured=None, not_run="no GPU in this profile")
    change(
        "complexity/lu_net/test_nll",
        measured=1.7683,
        measured_se=0.0042,
        n_seeds=3,
        measured_standard=1.7763,
    )
    change("complexity/realnvp/test_nll", measured=None, diverged="loss not finite at step 1234")
    change("timing/lu_net/train_epoch", measured=12.3, note="on a processor with 2 threads")
    change("timing/realnvp/train_epoch", measured=412.7, scaled_down="16 planes, not 64")
    change("timing/lu_net/density_per_image", measured=2.81, measured_standard=0.012)
    change("timing/lu_net/sampling_per_image", measured=0.41, measured_standard=0.00041)
    return list(found.values())


def table() -> Table:
    columns = [
        Column("method", "Method"),
        Column("planes", "Planes", "integer"),
        Column("parameters", "Parameters", "integer"),
        Column("nll", "Test NLL", "number", unit="bits/dim", error="nll_se"),
        Column("round_trip", "Round trip, float32", "number", digits=2),
        Column("verdict", "Verdict", "verdict"),
    ]
    rows = [
        {"method": "Gaussian, closed form", "parameters": 308504, "nll": 1.958},
        {
            "method": "LU-Net",
            "parameters": 2461760,
            "nll": 1.77634,
            "nll_se": 0.00418,
            "round_trip": 3.04e-6,
            "verdict": "reproduced",
        },
        {"method": "LU-Net, published_init", "nll": 4.21, "round_trip": float("inf")},
        {
            "method": "RealNVP",
            "planes": 16,
            "parameters": 5388264,
            "nll": "diverged",
            "verdict": "not reproduced",
        },
    ]
    return Table(
        name="likelihood",
        title="Likelihood of the test images",
        caption="Mean of ten class models, lower is better; ± is one standard error over 3 seeds.",
        columns=columns,
        rows=rows,
        note="100% of the test images & 30 noise draws each.",
    )


def write_figures(folder: Path) -> None:
    """Three figures, PNG and SVG, and their index."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 8, 8)).astype(np.uint8)
    save(image_grid(images, 3, 10, ["0", "1", "2"], "Noise, three classes"), folder / "samples")
    figure, (ax,) = panels()
    latent_histogram(ax, rng.standard_normal((500, 2)) * 1.2)
    save(figure, folder / "latents")
    figure, (ax,) = panels()
    side = np.linspace(-3, 3, 60)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    logp = -0.5 * (grid**2).sum(-1) - np.log(2 * np.pi)
    density_panel(ax, grid, logp)
    save(figure, folder / "density")
    write_captions(
        [
            Caption("samples.png", "Samples", "One row per class.", "A sheet of 30 grey images"),
            Caption(
                "latents.svg",
                "Latents",
                "All coordinates against the normal density they should follow.",
                "A histogram wider than the normal curve drawn over it",
            ),
            Caption("density.png", "Density", "The model's own density.", "A round blue hill"),
        ],
        folder,
    )


def write_results(results: Path) -> None:
    """Fill results/fast/lu_net as its pipeline would."""
    paper = results / "fast" / "lu_net"
    write_tables([table()], paper / "tables")
    write_figures(paper / "figures")
    write_ledger(join("lu_net", CELLS, measurements()), paper / "cells.csv")
    cost = {"wall_seconds": 754.2, "peak_rss_bytes": 612 * 2**20, "device": "some processor"}
    (paper / "digits" / "lu_net").mkdir(parents=True)
    (paper / "digits" / "lu_net" / "cost.json").write_text(json.dumps(cost), encoding="utf-8")
