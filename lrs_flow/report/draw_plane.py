"""Draw densities of the plane: data, truth, each model's density and samples, on black."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from common.report.figures import Caption, panels, save
from lrs_flow.report.draw_style import listed, scaled_down
from lrs_flow.report.results import Result, number
from lrs_flow.report.tables_plane import misplaced, off_rings

# As in print: zero is black.
MAP = "inferno"
# Colours go with this power of the density: on rings a bridge of a hundredth of the peak must show.
POWER = {"rings": 0.5, "picture": 1.0}
WINDOWS = {"rings": (-4.0, 4.0), "picture": (0.0, 1.0)}


def rings(results: list[Result], folder: Path) -> Caption:
    """Draw the panel of the rings: densities above, samples below."""
    return _panel(
        results,
        "rings",
        "Rings: densities and samples",
        "Titles: by how much the mean log-likelihood of the test points falls behind that of the "
        "true density, and which share of the mass is not where the truth has it or lies off the "
        "rings (beyond three standard deviations of the noise).",
        "Four bright rings on black, data and truth, beside",
        folder,
    )


def picture(results: list[Result], folder: Path) -> Caption:
    """Draw the panel of the picture: densities above, samples below."""
    return _panel(
        results,
        "picture",
        "A picture as a density",
        "The picture is our own drawing; points are drawn in proportion to its brightness. Titles: "
        "by how much the mean log-likelihood of the test points falls behind that of the true "
        "density, and which share of the mass is not where the truth has it.",
        "A picture of a galaxy above a ridge, data and truth, beside",
        folder,
    )


def _panel(
    results: list[Result], dataset: str, title: str, words: str, alt: str, folder: Path
) -> Caption:
    arrays = results[0].arrays
    true = arrays["true_density"].astype(np.float64)
    area = ((WINDOWS[dataset][1] - WINDOWS[dataset][0]) / len(true)) ** 2
    peak = float(true.max())
    columns = 1 + len(results)
    figure, axes = panels(2, columns, width=2.75, height=3.05)
    truth = number(results[0].metrics["truth"]["log_likelihood"])
    image = _show(
        axes[0], dataset, true, peak, f"True density\n{truth:.3f} nats on the test points"
    )
    _show(axes[columns], dataset, _frequency(arrays["data_histogram"], area), peak, "Training data")
    for place, result in enumerate(results, start=1):
        density = result.arrays["density"].astype(np.float64)
        _show(axes[place], dataset, density, peak, _title(result))
        counts = _frequency(result.arrays["histogram"], area)
        _show(axes[columns + place], dataset, counts, peak, f"Samples: {result.name}")
    figure.colorbar(image, ax=axes, label="density", extend="max", shrink=0.6, aspect=40)
    save(figure, folder / dataset)
    return Caption(
        file=f"{dataset}.png",
        title=title,
        caption=(
            "Above the true density and the density that each model itself gives to a grid of "
            f"{len(true)} x {len(true)} cells; below the training data and samples of the models, "
            "counted in the same cells. One colour scale for all, "
            f"{_scale(dataset)}, from 0 to the true peak. {words}{scaled_down(results)}"
        ),
        alt=f"{alt} densities and samples of {listed(results)}",
    )


def _scale(dataset: str) -> str:
    return "linear" if POWER[dataset] == 1 else "by the square root of the density"


def _title(result: Result) -> str:
    truth = result.metrics["truth"]
    lines = [result.name]
    if result.ending:
        lines.append(result.ending)
    excess, error = number(truth["excess"]), number(truth["excess_se"])
    lines.append(f"behind the truth by {excess:.3f} ± {2 * error:.3f}")
    shares = f"misplaced {100 * misplaced(result):.1f}%"
    if result.dataset == "rings":
        shares += f", off the rings {100 * off_rings(result):.1f}%"
    return "\n".join([*lines, shares])


def _frequency(counts: NDArray[np.int32], area: float) -> NDArray[np.float64]:
    """Return counts as a density over the square that is drawn."""
    return counts / (max(1, counts.sum()) * area)


def _show(
    ax: Axes, dataset: str, density: NDArray[np.float64], peak: float, title: str
) -> AxesImage:
    """Draw a density (G, G), row by second coordinate from below."""
    low, high = WINDOWS[dataset]
    image = ax.imshow(
        density,
        origin="lower",
        extent=(low, high, low, high),
        cmap=MAP,
        norm=PowerNorm(POWER[dataset], vmin=0.0, vmax=peak),
        interpolation="nearest",
    )
    ax.set_facecolor("black")
    ax.grid(False)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(title, fontsize=8.5)
    return image
