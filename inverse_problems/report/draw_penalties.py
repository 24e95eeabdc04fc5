"""Draw quality by the weight of the penalty: denoising, inpainting, and the starts of recovery."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from common.report.figures import PALETTE, Caption, image_grid, panels, save
from inverse_problems.report.draw_compressed import STYLES
from inverse_problems.report.results import SEARCHED, Cell, Solve, best, scaled_down, set_name, stem

PENALTIES = {"norm": "|z|", "squared": "|z|²"}
STARTS = {
    "zero": "zero",
    "small": "N(0, 0.1²)",
    "large": "N(0, 0.7²)",
    "lasso": "Lasso, Haar",
    "null_space": "truth off in the null space",
    "noisy": "noisy image",
}
LINES = ("-", "--", ":", "-.")
SHOWN = 8


def denoising(solves: Sequence[Solve], folder: Path) -> Caption:
    """Draw PSNR by the weight of the penalty, one panel for each noise and test set."""
    sets, sigmas = solves[0].values("set"), solves[0].values("sigma")
    figure, axes = panels(len(sets), len(sigmas), width=3.3, height=3.0)
    labels: dict[str, Line2D] = {}
    for place, ax in enumerate(axes):
        dataset, sigma = sets[place // len(sigmas)], sigmas[place % len(sigmas)]
        for solve in solves:
            colour = PALETTE[STYLES.get(solve.method, ("reference", "", ""))[0]]
            for penalty in solve.values("penalty"):
                cells = solve.where(set=dataset, sigma=sigma, penalty=penalty)
                if not cells:
                    continue
                if penalty is None:
                    ax.axhline(cells[0].score().mean, color=colour, lw=1.0, ls="-.")
                    labels[solve.name] = Line2D([], [], color=colour, lw=1.0, ls="-.")
                    continue
                line, dot = LINES[list(PENALTIES).index(penalty)], marker(solve)
                curve(ax, cells, colour, line, marker=dot)
                words = f"{solve.name}, {PENALTIES[penalty]}"
                labels[words] = Line2D([], [], color=colour, ls=line, marker=dot, ms=4)
        noisy = next(n for n in noisy_cells(solves) if n.at == {"set": dataset, "sigma": sigma})
        ax.axhline(noisy.score().mean, color=PALETTE["reference"], lw=1.0, ls=":")
        ax.set_title(f"{set_name(dataset)}, $\\sigma$ = {sigma:g}", fontsize=10)
        ax.set_xlabel("weight of the penalty")
        weights(ax)
    labels["noisy image"] = Line2D([], [], color=PALETTE["reference"], lw=1.0, ls=":")
    axes[0].set_ylabel("PSNR [dB]")
    columns = min(2, len(sigmas)) if len(sigmas) < 3 else 4
    figure.legend(
        labels.values(),
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        handlelength=4,
    )
    save(figure, folder / "denoising")
    return Caption(
        file="denoising.svg",
        title="Denoising",
        caption=(
            f"Priors trained on {set_name(solves[0].trained)}. PSNR by the weight of the penalty "
            "on the latents; level lines are methods without one; bars are two standard errors "
            "over images." + scaled_down(solves)
        ),
        alt="Curves with a maximum inside, above the level of the noisy image",
    )


def denoised(solves: Sequence[Solve], folder: Path) -> Caption:
    """Draw the truth, the noisy image and each method's best at the largest noise."""
    first = solves[0]
    dataset, sigma = first.trained, max(first.values("sigma"))
    rows = [first.arrays[f"truth_{dataset}"][:SHOWN]]
    labels = ["truth", f"noisy, $\\sigma$ = {sigma:g}"]
    rows.append(first.arrays[f"noisy_{dataset}_{sigma:g}"][:SHOWN])
    for solve in solves:
        cell = best(solve.where(set=dataset, sigma=sigma), lambda c: c.score().mean)
        if cell is None:
            continue
        gamma = cell.at["gamma"]
        labels.append(solve.name if gamma is None else f"{solve.name}, weight {gamma:g}")
        rows.append(solve.arrays["shown"][cell.index][:SHOWN])
    figure = image_grid(np.concatenate(rows), len(rows), len(rows[0]), labels)
    save(figure, folder / "denoising_images")
    return Caption(
        file="denoising_images.svg",
        title="Denoising, the images",
        caption=(
            f"{set_name(dataset)}, the first test images. Each method at the weight with the best "
            "PSNR on these test images, as published: an upper bound of what a user gets."
            + scaled_down(solves)
        ),
        alt="Rows of small images: truth, noisy, and one row for each method",
    )


def inpainting(solves: Sequence[Solve], folder: Path) -> Caption:
    """Draw PSNR by the weight of the penalty, one panel for each test set."""
    sets = solves[0].values("set")
    figure, axes = panels(1, len(sets), width=4.4, height=3.2)
    labels: dict[str, Line2D] = {}
    for ax, dataset in zip(axes, sets, strict=True):
        for solve in solves:
            colour = PALETTE[STYLES.get(solve.method, ("reference", "", ""))[0]]
            for place, start in enumerate(solve.values("start")):
                cells = solve.where(set=dataset, start=start)
                if start is None:
                    ax.axhline(cells[0].score().mean, color=colour, lw=1.0, ls="-.")
                    labels[solve.name] = Line2D([], [], color=colour, lw=1.0, ls="-.")
                    continue
                line, dot = LINES[place], marker(solve)
                curve(ax, cells, colour, line, marker=dot)
                words = f"{solve.name}, start {STARTS.get(start, start)}"
                labels[words] = Line2D([], [], color=colour, ls=line, marker=dot, ms=4)
        ax.set_title(set_name(dataset))
        ax.set_xlabel("weight of the penalty")
        weights(ax)
    axes[0].set_ylabel("PSNR of the whole image [dB]")
    figure.legend(
        labels.values(), labels, loc="outside lower center", ncols=2, fontsize=8, handlelength=4
    )
    save(figure, folder / "inpainting")
    return Caption(
        file="inpainting.svg",
        title="Inpainting",
        caption=(
            "A centred square of three tenths of the side is missing. PSNR of the whole image by "
            "the weight of the penalty |z|; bars are two standard errors over images."
            + scaled_down(solves)
        ),
        alt="Curves of PSNR by the weight of the penalty",
    )


def inpainted(solves: Sequence[Solve], folder: Path) -> Caption:
    """Draw the truth, the image with the hole and each method's best."""
    first = solves[0]
    rows, labels = [], ["truth", "measured"]
    sets = first.values("set")
    for kind in ("truth", "measured"):
        rows += [first.arrays[f"{kind}_{dataset}"][: SHOWN // len(sets)] for dataset in sets]
    for solve in solves:
        labels.append(solve.name)
        for dataset in sets:
            cell = best(solve.where(set=dataset), lambda c: c.score().mean)
            assert cell is not None
            rows.append(solve.arrays["shown"][cell.index][: SHOWN // len(sets)])
    columns = sum(len(row) for row in rows[: len(sets)])
    figure = image_grid(np.concatenate(rows), len(labels), columns, labels)
    save(figure, folder / "inpainting_images")
    return Caption(
        file="inpainting_images.svg",
        title="Inpainting, the images",
        caption=(
            f"{', then '.join(map(set_name, sets))}. Each method at its best weight and start."
            + scaled_down(solves)
        ),
        alt="Rows of small images: truth, with a hole, and filled by each method",
    )


def starts(solve: Solve, folder: Path) -> Caption:
    """Draw PSNR by the weight of the penalty for each start."""
    figure, (ax,) = panels(1, 1, width=5.6, height=3.8)
    colours = [colour for name, colour in PALETTE.items() if name != "reference"]
    for start, colour in zip(solve.values("start"), colours, strict=False):
        curve(ax, solve.where(start=start), colour, "-", STARTS.get(start, start))
    ax.set_xlabel("weight of the penalty |z|")
    ax.set_ylabel("PSNR [dB]")
    weights(ax)
    figure.legend(title="start", fontsize=8, loc="outside right upper")
    save(figure, folder / stem(solve))
    ratio = solve.cells[0].at["ratio"]
    return Caption(
        file=f"{stem(solve)}.svg",
        title=f"Where recovery starts, and the penalty: {solve.name}",
        caption=(
            f"Compressed sensing of {set_name(solve.trained)} at m / n = {ratio:.3g}. Bars are two "
            "standard errors over images." + scaled_down([solve])
        ),
        alt="Curves of PSNR for each start that meet where the penalty is strong",
    )


def marker(solve: Solve) -> str:
    """Return what marks the points of a method: dots with a line search, crosses without."""
    return "o" if solve.method.endswith(SEARCHED) else "x"


def curve(
    ax: Axes,
    cells: Sequence[Cell],
    colour: str,
    line: str,
    label: str = "",
    marker: str = "o",
) -> None:
    """Draw PSNR by gamma with errors."""
    cells = sorted(cells, key=lambda cell: cell.at["gamma"])
    scores = [cell.score() for cell in cells]
    ax.errorbar(
        [cell.at["gamma"] for cell in cells],
        [score.mean for score in scores],
        yerr=[0.0 if math.isnan(score.se) else 2 * score.se for score in scores],
        color=colour,
        ls=line,
        marker=marker,
        ms=4,
        lw=1.2,
        elinewidth=0.8,
        label=label or None,
    )


def weights(ax: Axes) -> None:
    """Make an axis of weights that shows zero too."""
    # Level lines reach from 0 to 1 in units of the axes.
    curves = [line for line in ax.lines if len(np.asarray(line.get_xdata())) > 2]
    found = [x for line in curves for x in np.asarray(line.get_xdata(), float) if x > 0]
    least = min(found, default=1e-3)
    ax.set_xscale("symlog", linthresh=least)
    ax.set_xlim(-0.3 * least, 1.6 * max(found, default=1.0))


def noisy_cells(solves: Sequence[Solve]) -> list[Cell]:
    """Return how good the noisy images themselves are."""
    found = solves[0].metrics["noisy"]
    return [Cell(cell["at"], cell, index) for index, cell in enumerate(found)]
