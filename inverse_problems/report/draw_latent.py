"""Draw what happens in the latents: norms, smoothness, landscapes of the objective."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.report.figures import PALETTE, Caption, panels, save
from inverse_problems.report.results import Solve, scaled_down, set_name, stem
from inverse_problems.report.tables_priors import prior_name


def norms(solve: Solve, folder: Path) -> Caption:
    """Draw the norm of the latents found, and the PSNR, by the norm of the start."""
    cells = sorted(solve.cells, key=lambda cell: cell.at["norm"])
    start = [cell.at["norm"] for cell in cells]
    figure, (ax,) = panels(1, 1, width=5.2, height=3.6)
    ax.plot(start, [c.score("latent").mean for c in cells], "o-", color=PALETTE["blue"], ms=4)
    ax.axhline(solve.metrics["typical"], color=PALETTE["blue"], lw=1.0, ls=":")
    ax.set_xlabel("norm of the start")
    ax.set_ylabel("norm of the latents found", color=PALETTE["blue"])
    other = ax.twinx()
    scores = [cell.score() for cell in cells]
    error = [2 * score.se for score in scores]
    other.errorbar(
        start, [s.mean for s in scores], yerr=error, color=PALETTE["red"], marker="^", ms=4
    )
    other.set_ylabel("PSNR [dB]", color=PALETTE["red"])
    other.grid(False)
    save(figure, folder / stem(solve))
    ratio = solve.cells[0].at["ratio"]
    return Caption(
        file=f"{stem(solve)}.svg",
        title=f"Norm of the start: {solve.name}",
        caption=(
            f"Compressed sensing of {set_name(solve.trained)} at m / n = {ratio:.3g} without a "
            "penalty, from random directions of a fixed norm. Dotted: the root of n, where latents "
            "of N(0, I) lie." + scaled_down([solve])
        ),
        alt="Norms found rise with the norm of the start, and PSNR falls",
    )


def smoothness(solve: Solve, folder: Path) -> Caption:
    """Draw how far the image moves when the latents move, and norms of clean and noisy images."""
    arrays = solve.arrays
    figure, (left, right) = panels(1, 2, width=4.6, height=3.4)
    for kind, colour, words in (
        ("natural", "blue", "towards other images"),
        ("random", "orange", "random directions"),
    ):
        distance, moved = arrays["distance"], arrays[f"moved_{kind}"]
        mean, std = moved.mean(0), moved.std(0)
        left.plot(distance, mean, color=PALETTE[colour], label=words)
        left.fill_between(distance, mean - std, mean + std, color=PALETTE[colour], alpha=0.2, lw=0)
    left.set_xlabel("change of the latents, |Δz|")
    left.set_ylabel("change of the image, |Δx|")
    left.legend(fontsize=8)
    colours = [colour for name, colour in PALETTE.items() if name != "reference"]
    for (words, values), colour in zip(_norms(solve), colours, strict=False):
        right.hist(values, bins=30, histtype="step", density=True, color=colour, label=words)
    right.axvline(solve.metrics["typical"], color=PALETTE["reference"], lw=1.0, ls=":")
    right.set_xlabel("norm of the latents")
    right.set_ylabel("density")
    right.legend(fontsize=8)
    save(figure, folder / "smoothness")
    return Caption(
        file="smoothness.svg",
        title="Latents of clean and noisy images",
        caption=(
            "Left: mean and standard deviation over images. Right: norms of the latents of test "
            "images, clean and with noise; dotted the root of n." + scaled_down([solve])
        ),
        alt="Nearly straight rising lines; histograms that move right with the noise",
    )


def _norms(solve: Solve) -> list[tuple[str, np.ndarray]]:
    found = [("clean", solve.arrays["norms_0"])]
    for sigma in solve.metrics["sigmas"]:
        found.append((f"$\\sigma$ = {sigma:g}", solve.arrays[f"norms_{sigma:g}"]))
    return found


def landscapes(solves: Sequence[Solve], folder: Path) -> Caption:
    """Draw the objective on planes through the truth's latents, one panel for each prior."""
    shown = [
        (solve, kind) for solve in solves for kind in ("natural", "random") if _has(solve, kind)
    ]
    figure, axes = panels(1, len(shown), width=3.6, height=3.4)
    for ax, (solve, kind) in zip(axes, shown, strict=True):
        side = solve.arrays[f"side_{kind}"]
        surface = np.log10(np.maximum(solve.arrays[f"surface_{kind}"], 1e-12))
        found = ax.contourf(side, side, surface, levels=20)
        ax.plot(0, 0, "+", color="white", ms=9)
        words = "towards other images" if kind == "natural" else "random directions"
        ax.set_title(f"{prior_name(solve.method)}\n{words}", fontsize=10)
        ax.set_aspect("equal")
        figure.colorbar(found, ax=ax, shrink=0.8)
    axes[0].set_ylabel("second direction")
    save(figure, folder / "landscapes")
    return Caption(
        file="landscapes.svg",
        title="Landscapes of the objective",
        caption=(
            "The common logarithm of |A G(z) - y|² on planes through the best known latents (cross)"
            " of one test image; axes in units of the latents." + scaled_down(solves)
        ),
        alt="Contours around a minimum, one panel for each prior and plane",
    )


def _has(solve: Solve, kind: str) -> bool:
    return f"surface_{kind}" in solve.arrays


def bound(solve: Solve, folder: Path) -> Caption:
    """Draw the error of the linear model between its bounds, where there is one."""
    cells = sorted(solve.cells, key=lambda cell: cell.at["m"])
    zero = [cell.at["m"] for cell in cells if not cell.values["upper"]]
    cells = [cell for cell in cells if cell.values["upper"]]
    m = [cell.at["m"] for cell in cells]
    figure, (ax,) = panels(1, 1, width=5.2, height=3.4)
    lower = [cell.values["lower"] for cell in cells]
    upper = [cell.values["upper"] for cell in cells]
    ax.fill_between(m, lower, upper, color=PALETTE["sky"], alpha=0.35, lw=0, label="bounds")
    error = [cell.score("error") for cell in cells]
    ax.errorbar(
        m,
        [e.mean for e in error],
        yerr=[2 * e.se for e in error],
        color=PALETTE["blue"],
        marker="o",
        ms=4,
        label="expected error",
    )
    ax.set_yscale("log")
    ax.set_xlabel("measurements, m")
    ax.set_ylabel("expected squared error")
    ax.legend(fontsize=8)
    save(figure, folder / "bound")
    return Caption(
        file="bound.svg",
        title="The linear model and its bounds",
        caption=(
            f"A linear generator whose covariance is that of {set_name(solve.trained)}; the error "
            "of maximum likelihood, averaged over measurements in closed form given A; bars are "
            "two standard errors over draws of A."
            + (f" From m = {zero[0]} on all is determined and the error is zero." if zero else "")
            + scaled_down([solve])
        ),
        alt="A falling curve inside a band",
    )
