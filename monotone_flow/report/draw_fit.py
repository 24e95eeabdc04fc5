"""Draw the fits of the staircase: the target, every seed's fit, and where the error lies."""

from pathlib import Path

import numpy as np

from common.report.figures import PALETTE, Caption, panels, save
from monotone_flow.report.results import Result


def fits(results: list[Result], folder: Path) -> Caption:
    """Draw one column for each kind of block: the fits above, their absolute errors below."""
    count = len(results)
    figure, axes = panels(2, count, width=3.6, height=2.8)
    for column, result in enumerate(results):
        above, below = axes[column], axes[count + column]
        arrays = result.arrays
        grid, target = arrays["grid"], arrays["target"]
        above.plot(grid, target, color=PALETTE["reference"], lw=2.4, alpha=0.35, label="target")
        for seed, values in enumerate(arrays["fit"]):
            label = "fit, one line a seed" if seed == 0 else None
            above.plot(grid, values, color=PALETTE["red"], lw=0.9, alpha=0.8, label=label)
            below.semilogy(grid, np.abs(values - target), color=PALETTE["red"], lw=0.7, alpha=0.8)
        final, steep = result.metrics["final"], result.metrics["largest_slope"]
        words = result.ending or (
            f"MSE {_shown(final['mean'])}, largest slope {_shown(steep['mean'])}"
        )
        above.set_title(f"{result.name}\n{words}", fontsize=9)
        below.set_xlabel("x")
        below.set_ylim(1e-5, 2)
    axes[0].set_ylabel("y")
    axes[count].set_ylabel("absolute error")
    axes[0].legend(loc="upper left", fontsize=8)
    save(figure, folder / "fit")
    return Caption(
        file="fit.svg",
        title="Fit of the staircase",
        caption=(
            "Above: the target (grey) and the last weights of every seed (red), with the mean "
            "squared error and the largest slope, means over seeds. Below: the absolute error, on "
            "one logarithmic scale." + scaled_down(results)
        ),
        alt=f"A staircase and its fits by {count} kinds of blocks, with their errors below",
    )


def scaled_down(results: list[Result]) -> str:
    """Return a sentence that says what is smaller than published, to end a caption with."""
    words = dict.fromkeys(result.lacks for result in results if result.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
