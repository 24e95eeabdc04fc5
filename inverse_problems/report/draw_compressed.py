"""Draw compressed sensing: quality by the number of measurements, and the images themselves."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D

from common.report.figures import PALETTE, Caption, image_grid, panels, save
from inverse_problems.report.results import Solve, scaled_down, set_name

STYLES = {
    "glow": ("blue", "o", ":"),
    "glow_robust": ("blue", "o", "-"),
    "glow_adam": ("sky", "o", "-"),
    "glow_map": ("sky", "s", "--"),
    "spline": ("purple", "D", "-"),
    "dcgan": ("red", "^", ":"),
    "dcgan_robust": ("red", "^", "-"),
    "vae": ("orange", "v", ":"),
    "vae_robust": ("orange", "v", "-"),
    "lasso_dct": ("green", "x", "-"),
    "lasso_haar": ("green", "+", "--"),
    "lasso_haar_published": ("green", "1", ":"),
    "lasso_pixel": ("reference", "x", ":"),
    "total_variation": ("reference", "+", "-"),
    "pseudo_inverse": ("reference", ".", "--"),
}
SHOWN = 6  # images of a row


def quality(solves: Sequence[Solve], folder: Path, stem: str = "compressed") -> Caption:
    """Draw error and PSNR by the ratio m/n, one row of panels for each test set."""
    sets = solves[0].values("set")
    figure, axes = panels(len(sets), 2, width=5.0, height=3.3)
    for row, dataset in enumerate(sets):
        left, right = axes[2 * row], axes[2 * row + 1]
        for solve in solves:
            colour, marker, line = STYLES.get(solve.method, ("reference", "o", "-"))
            cells = sorted(solve.where(set=dataset), key=lambda cell: cell.at["ratio"])
            ratio = [cell.at["ratio"] for cell in cells]
            for ax, key in ((left, "mse"), (right, "psnr")):
                scores = [cell.score(key) for cell in cells]
                error = np.nan_to_num([2 * score.error for score in scores])
                ax.errorbar(
                    ratio,
                    [score.mean for score in scores],
                    yerr=error,
                    color=PALETTE[colour],
                    marker=marker,
                    ms=4,
                    ls=line,
                    lw=1.3,
                    elinewidth=0.8,
                )
        where = "in" if dataset == solves[0].trained else "out of"
        for ax in (left, right):
            ax.set_xscale("log")
            ax.set_title(f"{set_name(dataset)}, {where} distribution")
            ax.set_xlabel("measurements per pixel, m / n")
        left.set_yscale("log")
        left.set_ylabel("mean squared error")
        right.set_ylabel("PSNR [dB]")
    lines = [_line(solve) for solve in solves]
    figure.legend(lines, [s.name for s in solves], loc="outside right upper", fontsize=8)
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.svg",
        title="Compressed sensing",
        caption=(
            f"Priors trained on {set_name(solves[0].trained)}; Gaussian measurements with the "
            "published noise. Means over images of values clamped to [0, 1]; bars are two standard "
            "errors, over images or over draws of the measurements, whichever is larger."
            + scaled_down(solves)
        ),
        alt=f"Rising curves of PSNR for {len(solves)} methods on {len(sets)} sets",
    )


def _line(solve: Solve) -> Line2D:
    colour, marker, line = STYLES.get(solve.method, ("reference", "o", "-"))
    return Line2D([], [], color=PALETTE[colour], marker=marker, ms=4, ls=line, lw=1.3)


def images(solves: Sequence[Solve], folder: Path, ratio: float = 0.2) -> Caption:
    """Draw true images and what each method made of them at the ratio nearest to the given one."""
    sets = solves[0].values("set")
    found = min(solves[0].values("ratio"), key=lambda r: abs(r - ratio))
    rows, labels = [], ["truth"]
    rows += [solves[0].arrays[f"truth_{dataset}"][:SHOWN] for dataset in sets]
    for solve in solves:
        labels.append(solve.name)
        for dataset in sets:
            (cell,) = solve.where(set=dataset, ratio=found)
            rows.append(solve.arrays["shown"][cell.index][:SHOWN])
    columns = sum(len(row) for row in rows[: len(sets)])
    sheet = np.concatenate(rows)
    figure = image_grid(sheet, len(labels), columns, labels)
    save(figure, folder / "compressed_images")
    words = ", then ".join(set_name(dataset) for dataset in sets)
    return Caption(
        file="compressed_images.svg",
        title="Compressed sensing, the images",
        caption=f"At m / n = {found:.3g}: {words}; the first test images." + scaled_down(solves),
        alt=f"True images in the first row, and their recoveries by {len(solves)} methods below",
    )
