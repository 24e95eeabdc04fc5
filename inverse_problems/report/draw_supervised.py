"""Draw what supervised networks invert to: eight Gaussians, arms, calibration."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from common.report.figures import PALETTE, Caption, panels, save
from inverse_problems.report.supervised_results import Supervised, SupervisedResults
from inverse_problems.supervised.kinematics import Kinematics
from inverse_problems.supervised.mixture import CENTRES, STD

WINDOW = 3.4
ARM_X, ARM_Y = (-0.35, 2.25), (-1.3, 1.3)
ALPHA = 0.05
# The contour holds this part of the arms' ends.
HELD = 0.97
GRID = 160
COLOURS = [colour for name, colour in PALETTE.items() if name != "reference"]
EXTRA = ["#999999", "#8B4513"]

Array = NDArray[np.floating]


def posteriors(results: SupervisedResults, folder: Path) -> list[Caption]:
    """Draw, beside the exact posteriors, those of every network: one figure for each label map."""
    captions = []
    problems = dict.fromkeys(run.metrics["problem"] for run in results.values() if not run.is_arm)
    for problem in problems:
        runs = [run for run in results.values() if run.metrics["problem"] == problem]
        captions.append(_mixture(runs, problem, folder))
    return captions


def _mixture(runs: list[Supervised], problem: str, folder: Path) -> Caption:
    columns = min(4, len(runs) + 1)
    rows = -(-(len(runs) + 1) // columns)
    figure, axes = panels(rows, columns, width=2.7, height=2.9)
    first = runs[0].arrays
    _scatter(axes[0], first["labels"], first["exact"])
    axes[0].set_title("exact", fontsize=9)
    for ax, run in zip(axes[1:], runs, strict=False):
        _scatter(ax, run.arrays["labels"], run.arrays["posterior"])
        posterior = run.metrics["posterior"]
        modes, stray = run.score("posterior", "modes")[0], run.score("posterior", "stray")[0]
        ax.set_title(
            f"{run.name}\n{modes:.3g} of {posterior['of']} modes, {stray:.1%} between", fontsize=9
        )
    for ax in axes[len(runs) + 1 :]:
        ax.remove()
    save(figure, folder / problem)
    return Caption(
        file=f"{problem}.svg",
        title=f"Posteriors of eight Gaussians, labels “{problem.removeprefix('mixture_')}”",
        caption=(
            "Samples of x given each label, one colour a label: exact ones, and those of the first "
            "seed of every network, with the modes reached and the share of samples further than "
            "three standard deviations from all modes, means over seeds. Circles: two standard "
            "deviations." + smaller(runs)
        ),
        alt=f"Points around eight circles, in the colours of their labels, {len(runs) + 1} times",
    )


def _scatter(ax: Axes, labels: Array, samples: Array) -> None:
    colours = [*COLOURS, *EXTRA]
    for label, points in zip(labels, samples, strict=True):
        colour = colours[int(label)]
        x, y = points.T
        ax.scatter(x, y, s=2.5, color=colour, alpha=0.45, lw=0, rasterized=True)
    angle = np.linspace(0, 2 * np.pi, 60)
    for x, y in CENTRES:
        ax.plot(
            x + 2 * STD * np.cos(angle),
            y + 2 * STD * np.sin(angle),
            color=PALETTE["reference"],
            lw=0.6,
        )
    ax.set_xlim(-WINDOW, WINDOW)
    ax.set_ylim(-WINDOW, WINDOW)
    ax.set_aspect("equal")
    ax.grid(False)


def arms(results: SupervisedResults, folder: Path) -> list[Caption]:
    """Draw the arms that should reach the target, beside those of the rejection sampler."""
    runs = [run for run in results.values() if run.is_arm]
    if not runs:
        return []
    figure, axes = panels(1, len(runs) + 1, width=3.6, height=3.8)
    first = runs[0].arrays
    _arms(axes[0], first["reference"], first["reference_map"], first["target"], contour=False)
    axes[0].set_title("rejection sampler", fontsize=9)
    for ax, run in zip(axes[1:], runs, strict=True):
        arrays = run.arrays
        _arms(ax, arrays["posterior"], arrays["map"], arrays["target"], contour=True)
        error = run.score("resimulation_error")[0]
        ax.set_title(f"{run.name}\nmedian re-simulation error {error:.3g}", fontsize=9)
    save(figure, folder / "arms")
    target = ", ".join(f"{v:g}" for v in first["target"])
    return [
        Caption(
            file="arms.svg",
            title="Arms that reach a point",
            caption=(
                f"Posterior samples of the arm's configuration given its end at ({target}), the "
                "cross; in dark the most likely one, by mean shift with bandwidth 0.1. The red "
                f"line holds {HELD:.0%} of the ends; the rejection sampler's are on the target. "
                "Medians are over all test observations." + smaller(runs)
            ),
            alt=f"Many thin arms of three segments that meet in one point, {len(runs) + 1} times",
        )
    ]


def _arms(ax: Axes, samples: Array, likely: Array, target: Array, *, contour: bool) -> None:
    joints = Kinematics.joints(torch.from_numpy(samples)).numpy()
    faint = to_rgba(PALETTE["blue"], ALPHA)
    ax.axvline(0, color=PALETTE["reference"], lw=0.8, alpha=0.4)
    ax.add_collection(LineCollection(list(joints), colors=[faint], lw=0.8, rasterized=True))
    best = Kinematics.joints(torch.from_numpy(likely)).numpy()
    ax.plot(*best.T, color=PALETTE["reference"], lw=1.8, marker="o", ms=3.5)
    if contour:
        held_ends(ax, joints[:, -1])
    ax.plot(*target, marker="+", ms=11, mew=1.6, color=PALETTE["orange"], ls="none")
    ax.set_xlim(*ARM_X)
    ax.set_ylim(*ARM_Y)
    ax.set_aspect("equal")
    ax.grid(False)


def held_ends(ax: Axes, ends: Array) -> float:
    """Draw the line of equal density that holds 97 % of the ends (n, 2); return that density."""
    density = gaussian_kde(ends.T)
    level = float(np.quantile(density(ends.T), 1 - HELD))
    x, y = (np.linspace(*span, GRID) for span in (ARM_X, ARM_Y))
    grid = np.stack(np.meshgrid(x, y)).reshape(2, -1)
    values = density(grid).reshape(GRID, GRID)
    ax.contour(x, y, values, levels=[level], colors=[PALETTE["red"]], linewidths=1.2)
    return level


def calibration(results: SupervisedResults, folder: Path) -> list[Caption]:
    """Draw the share of truths inside central intervals against their confidence."""
    runs = list(results.values())
    if not runs:
        return []
    figure, axes = panels(1, 2, width=4.2, height=3.6)
    for ax, arm in zip(axes, (False, True), strict=True):
        ax.axhline(0, color=PALETTE["reference"], lw=1.0, alpha=0.5)
        for place, run in enumerate([run for run in runs if run.is_arm is arm]):
            colours = [*COLOURS, *EXTRA]
            difference = run.arrays["inliers"] - run.arrays["confidence"]
            for seed, line in enumerate(difference):
                label = run.name if seed == 0 else None
                colour = colours[place % len(colours)]
                ax.plot(run.arrays["confidence"], line, lw=1.2, color=colour, label=label)
        ax.set_xlabel("confidence q")
        ax.set_title("arm" if arm else "eight Gaussians", fontsize=10)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=7)
    axes[0].set_ylabel("inside minus q")
    save(figure, folder / "calibration")
    return [
        Caption(
            file="calibration.svg",
            title="Calibration of the posteriors",
            caption=(
                "Share of test observations whose true x lies inside the central interval of "
                "confidence q of its posterior samples, minus q, over all entries of x; below "
                "zero the posteriors are too narrow. One line a seed." + smaller(runs)
            ),
            alt="Lines around zero against confidence, for the Gaussians and for the arm",
        )
    ]


def smaller(runs: Sequence[Supervised]) -> str:
    """Return a sentence that says what is smaller than published, to end a caption with."""
    words = dict.fromkeys(run.lacks for run in runs if run.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""
