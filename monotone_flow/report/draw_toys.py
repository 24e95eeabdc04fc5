"""Draw the plane densities: data, the true density, and each model's density and samples."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from common.report.figures import Caption, panels, save
from common.report.tables import NOT_FINITE
from monotone_flow.report.draw_fit import scaled_down
from monotone_flow.report.results import SETS, Result, number, set_name

WINDOW = 4.0
# The brightest cell is this quantile of the truth's, so that single sharp cells hide nothing.
BRIGHT = 0.995
CELLS = 100  # along each axis of a panel; more would make an SVG of megabytes


def toys(results: list[Result], folder: Path) -> Caption:
    """Draw one row for each set: data, true density, then density and samples of each method."""
    names = [name for name in SETS if any(name in result.sets for result in results)]
    columns = 2 + 2 * len(results)
    figure, axes = panels(len(names), columns, width=2.1, height=2.2)
    for place, name in enumerate(names):
        row = axes[place * columns : (place + 1) * columns]
        having = [result for result in results if name in result.sets]
        arrays = having[0].arrays
        true, data = coarse(arrays[f"true_{name}"]), coarse(arrays[f"data_{name}"])
        bright, many = _bright(true), _bright(data)
        _show(row[0], data, many, "data")
        _show(row[1], true, bright, "true density")
        row[0].set_ylabel(set_name(name))
        for ax in row[2 + 2 * len(having) :]:
            ax.remove()
        for number_, result in enumerate(having):
            excess = number(result.sets[name]["excess"]["mean"])
            shown = f"{excess:.3f} nats" if math.isfinite(excess) else NOT_FINITE
            words = result.ending or f"excess {shown}"
            kinds = ("density", "samples")
            density, samples = (coarse(result.arrays[f"{kind}_{name}"]) for kind in kinds)
            _show(row[2 + 2 * number_], density, bright, f"{result.name}\n{words}")
            _show(row[3 + 2 * number_], samples, many, "its samples")
    save(figure, folder / "toys")
    return Caption(
        file="toys.svg",
        title="Densities of the plane",
        caption=(
            "On [-4, 4]^2: as many data points as model samples, counted in cells; the true "
            "density; density and samples of each model's first seed. In a row, densities share "
            "one scale and counts another. Excess: the mean over test points of the true minus the "
            "model's log-density." + scaled_down(results)
        ),
        alt=f"Rows of heat maps for {', '.join(map(set_name, names))}",
    )


def _show(ax: Axes, values: NDArray[np.generic], top: float, title: str) -> None:
    extent = (-WINDOW, WINDOW, -WINDOW, WINDOW)
    # Not resampled: the SVG then holds the cells and not the pixels of the page.
    scale: dict[str, Any] = {"cmap": "inferno", "vmin": 0, "vmax": top, "interpolation": "none"}
    ax.imshow(values, origin="lower", extent=extent, **scale)
    ax.set_title(title, fontsize=8)
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])


def coarse(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return means of cells, (G, G) -> at most (CELLS, CELLS) where G has such a divisor."""
    side = len(values)
    group = next((g for g in range(-(-side // CELLS), side // 10) if side % g == 0), 1)
    grouped = values.astype(np.float64).reshape(side // group, group, side // group, group)
    return np.asarray(grouped.mean((1, 3)))


def _bright(values: NDArray[np.floating]) -> float:
    inside = values[values > 0]
    return float(np.quantile(inside, BRIGHT)) if inside.size else 1.0
