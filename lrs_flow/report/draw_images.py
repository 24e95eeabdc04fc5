"""Draw the depth study, and samples of image models at several temperatures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from common.datasets.images import IMAGE_SETS
from common.report.cells import Cell
from common.report.figures import Caption, image_grid, panels, save
from lrs_flow.report.draw_style import COLOURS, listed, scaled_down
from lrs_flow.report.results import DEPTHS, Result, Results, number, set_name
from lrs_flow.report.tables_images import STUDIED
from lrs_flow.report.tables_parameters import Counts

TEMPERATURES = ("0.5", "0.75", "1")
KINDS = {"lrs": "LRS", "rq": "RQ-NSF"}
LARGEST = 12


def depth(results: Results, cells: Sequence[Cell], counts: Counts, folder: Path) -> Caption:
    """Draw bits, spread and parameters against depth: published, and ours beside them."""
    published = {cell.id: cell.value for cell in cells}
    found = [d for d in STUDIED if any(place[0] == d for place in results)]
    figure, axes = panels(1, 3 + len(found), width=3.5, height=3.3)
    drawn: list[Result] = []
    for kind, name in KINDS.items():
        printed = {
            quantity: [published[f"depth/{kind}/d{d}_{quantity}"] for d in DEPTHS]
            for quantity in ("bits", "spread", "parameters")
        }
        style: dict[str, Any] = {
            "color": COLOURS[kind],
            "marker": "o" if kind == "lrs" else "s",
            "ls": "--",
            "ms": 4,
        }
        label = f"{name}, published"
        axes[0].plot(DEPTHS, printed["bits"], label=label, **style)
        axes[1].plot(DEPTHS, printed["spread"], label=label, **style)
        axes[2].plot(DEPTHS, printed["parameters"], label=label, **style)
        ours = [counts["depth", f"depth {d}", kind] / 1e6 for d in DEPTHS]
        shift = 1.05 if kind == "lrs" else 1 / 1.05
        axes[2].plot(
            np.array(DEPTHS) * shift, ours, "x", color=COLOURS[kind], label=f"{name}, computed here"
        )
        for ax, dataset in zip(axes[3:], found, strict=True):
            drawn += _ours(ax, axes[1], results, dataset, kind, name)
    titles = ["MNIST, published", "spread over runs", "parameters"]
    titles += [f"{set_name(d)}, ours" for d in found]
    units = ["bits/dim", "bits/dim", "million"] + ["bits/dim"] * len(found)
    for ax, title, unit in zip(axes, titles, units, strict=True):
        ax.set_xscale("log", base=2)
        ax.set_xticks(DEPTHS, [str(d) for d in DEPTHS])
        ax.set_xlim(1.6, 40)
        ax.set_xlabel("couplings")
        ax.set_ylabel(unit)
        ax.set_title(title)
        ax.legend(fontsize=7.5)
    axes[2].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    save(figure, folder / "depth")
    return Caption(
        file="depth.svg",
        title="Depth study",
        caption=(
            "Bits per dimension, their standard deviation over repeated runs, and trained "
            "parameters, against the number of couplings. Dashed: read off the published plots, to "
            "0.0012 and 0.0001 bits/dim and 0.7 %. Crosses: the architecture inferred from those "
            "parameters, counted here, and moved sideways a little. Solid: ours, with two standard "
            "errors over test images; digits of 8x8 pixels stand in where MNIST was not run, on a "
            "scale of their own." + scaled_down(drawn)
        ),
        alt="Bits falling with depth for LRS and RQ-NSF, spread, and parameters growing with depth",
    )


def _ours(
    ax: Axes, spread_ax: Axes, results: Results, dataset: str, kind: str, name: str
) -> list[Result]:
    """Draw our scores of one kind; return the runs drawn."""
    runs = {
        d: results[dataset, f"{kind}_d{d}"] for d in DEPTHS if (dataset, f"{kind}_d{d}") in results
    }
    runs = {d: run for d, run in runs.items() if not run.diverged}
    if not runs:
        return []
    scores = [run.score() for run in runs.values()]
    marker = "o" if kind == "lrs" else "s"
    ax.errorbar(
        list(runs),
        [mean for mean, _ in scores],
        [2 * se for _, se in scores],
        color=COLOURS[kind],
        marker=marker,
        ms=4,
        capsize=3,
        label=f"{name}, ours",
    )
    spreads = {d: number(run.metrics["test"]["sd_models"]) for d, run in runs.items()}
    known = {d: value for d, value in spreads.items() if np.isfinite(value)}
    if known and dataset == "mnist":
        label = f"{name}, ours"
        spread_ax.plot(
            list(known), list(known.values()), color=COLOURS[kind], marker=marker, ms=4, label=label
        )
    return list(runs.values())


def samples(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw samples of each kind's deepest model, one row for each temperature."""
    studied = [result for result in results if "_d" in result.method]
    deepest = max((result.trained.model.steps for result in studied), default=0)
    shallow = [result for result in studied if result.trained.model.steps < deepest]
    results = [result for result in results if result not in shallow]
    levels = IMAGE_SETS[dataset].levels
    rows, labels = [], []
    for result in results:
        for temperature in TEMPERATURES:
            drawn = result.arrays[f"samples_{temperature}"][:LARGEST]
            rows.append(brightness(drawn, levels))
            labels.append(f"{result.name}, T = {temperature}")
    sheet = np.concatenate(rows)
    stem = f"samples_{dataset}"
    figure = image_grid(sheet, len(rows), len(rows[0]), labels)
    save(figure, folder / stem)
    lost = [f" {result.name} {result.ending}." for result in results if result.ending]
    return Caption(
        file=f"{stem}.png",
        title=f"{set_name(dataset)}: samples",
        caption=(
            "Samples of the first model of each run, the same latents in all three rows, scaled "
            "by the temperature T; T = 1 is the model itself."
            + "".join(lost)
            + scaled_down(results)
        ),
        alt=f"Rows of sampled images of {listed(results)}",
    )


def brightness(pixels: NDArray[np.uint8], levels: int) -> NDArray[np.uint8]:
    """Return pixel values 0 to levels - 1 stretched to 0 to 255."""
    return np.rint(pixels * (255.0 / (levels - 1))).clip(0, 255).astype(np.uint8)
