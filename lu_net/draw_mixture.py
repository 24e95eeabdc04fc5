"""Draw the two-dimensional toy: densities, samples and latents."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from numpy.typing import NDArray

from common.datasets.mixture import GaussianMixture
from common.report.figures import (
    PALETTE,
    Caption,
    density_panel,
    panels,
    save,
)
from lu_net.draw_scores import histogram
from lu_net.results import Result, listed, number, scaled_down, shown

# A density below exp(FLOOR) is drawn as if it were that.
FLOOR = -12.0
# Distance from every centre, in standard deviations, beyond which a point belongs to none.
FAR = 4.0


def density(results: list[Result], folder: Path) -> Caption:
    """Draw the true density and every flow's own one, and below them their logarithms.

    Arrays `log_density` and `true_log_density` are (len(grid_x), len(grid_y)), in nats.
    """
    first = results[0]
    x, y = first.arrays["grid_x"], first.arrays["grid_y"]
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    true = first.arrays["true_log_density"].T
    peak = float(np.exp(true.max()))
    figure, axes = panels(2, 1 + len(results), width=2.55, height=3.6)
    top, bottom = axes[: 1 + len(results)], axes[1 + len(results) :]
    nats, _ = first.score("test", "true_nats")
    entropy = number(first.metrics["entropy"])
    titles = [f"True density\n{nats:.3f} nats on the test points\nentropy {entropy:.3f}"]
    fields = [true]
    for result in results:
        titles.append(score_title(result))
        fields.append(result.arrays["log_density"].T)
    for ax, title, field in zip(top, titles, fields, strict=True):
        mesh = density_panel(ax, grid, field, vmax=peak)
        ax.set_title(title, fontsize=9)
        highest = np.exp(field[np.isfinite(field)].max(initial=-np.inf))
        ax.text(
            0.97,
            0.97,
            f"highest value {highest:.2f}",
            ha="right",
            va="top",
            fontsize=8,
            transform=ax.transAxes,
        )
    for ax, field in zip(bottom, fields, strict=True):
        logs = log_panel(ax, grid, field, peak)
    figure.colorbar(mesh, ax=top, label="density exp(log p)", extend="max", shrink=0.8)
    figure.colorbar(logs, ax=bottom, label="log p in nats", extend="both", shrink=0.8)
    label_outer(axes, 1 + len(results))
    save(figure, folder / "mixture_density")
    return Caption(
        file="mixture_density.png",
        title="Gaussian mixture: the flows' own densities",
        caption=(
            "Left the true density, then the density that each trained flow itself gives to the "
            f"points of a grid of {len(x)} x {len(y)} over the published region: above as it is, "
            "on one scale that ends at the true peak, below its logarithm, where bridges between "
            "the four blobs show up. "
            f"Titles give the mean negative log-likelihood of the {len(first.arrays['data']):,} "
            "test points in nats, and by how much it exceeds that of the true density on the same "
            "points, with two standard errors; 0 is the best there is." + scaled_down(results)
        ),
        alt="Four blue blobs of the true mixture beside the densities of " + listed(results),
    )


def samples(results: list[Result], folder: Path) -> Caption:
    """Draw the test points and the samples of every method on the same axes."""
    figure, axes = panels(1, 1 + len(results), width=2.55, height=3.6)
    data = results[0].arrays["data"]
    x, y = results[0].arrays["grid_x"], results[0].arrays["grid_y"]
    truth = GaussianMixture.published()
    centres = truth.centres.numpy()
    drawn = [("Test data", "", data, PALETTE["reference"])]
    drawn += [(r.name, r.trouble("samples"), r.arrays["samples"], r.colour) for r in results]
    for ax, (name, trouble, points, colour) in zip(axes, drawn, strict=True):
        ax.scatter(
            points[:, 0], points[:, 1], s=3, color=colour, alpha=0.5, linewidths=0, rasterized=True
        )
        ax.set_xlim(x[0], x[-1])
        ax.set_ylim(y[0], y[-1])
        ax.set_aspect("equal")
        ax.set_xlabel("$x_1$")
        distance = np.linalg.norm(points[:, None] - centres, axis=-1)
        nearest, owner = distance.min(1), distance.argmin(1)
        near = nearest <= FAR * truth.std  # False for NaN
        shares = [np.mean(near & (owner == k)) for k in np.argsort(centres[:, 1])[::-1]]
        low, high = np.array([x[0], y[0]]), np.array([x[-1], y[-1]])
        outside = 1 - np.mean(((low <= points) & (points <= high)).all(1))
        lines = [
            name,
            *textwrap.wrap(trouble, 38),
            "in the blobs: " + ", ".join(f"{100 * share:.0f}" for share in shares) + "%",
            f"in none: {np.mean(~near):.1%}, off the axes: {outside:.1%}",
        ]
        ax.set_title("\n".join(lines), fontsize=8.5)
    label_outer(axes, 1 + len(results))
    save(figure, folder / "mixture_samples")
    return Caption(
        file="mixture_samples.png",
        title="Gaussian mixture: samples",
        caption=(
            f"{len(data):,} test points, and {len(results[0].arrays['samples']):,} points drawn "
            f"from each model, on the same axes. Titles say what share lies within {FAR:g} "
            "standard deviations of each of the four centres, from top to bottom (the truth: 25% "
            "each), what share belongs to none of them (the truth: "
            f"{np.exp(-(FAR**2) / 2):.2%}), and what share lies outside the axes."
            + scaled_down(results)
        ),
        alt="Scatter plots of four blobs: the test data beside samples of " + listed(results),
    )


def latents(results: list[Result], folder: Path) -> Caption:
    """Draw histograms of the encoded test points' coordinates, and the encoded points."""
    figure, axes = panels(2, len(results), width=2.9, height=2.7)
    for ax, result in zip(axes, results, strict=False):
        histogram(ax, result)
    for ax, result in zip(axes[len(results) :], results, strict=True):
        z = result.arrays["latents"]
        ax.scatter(
            z[:, 0], z[:, 1], s=3, color=result.colour, alpha=0.5, linewidths=0, rasterized=True
        )
        for share in (0.5, 0.99):
            circle(ax, np.sqrt(-2 * np.log1p(-share)), f"{share:.0%}")
        ax.set_xlim(-4, 4)
        ax.set_ylim(-4, 4)
        ax.set_aspect("equal")
        ax.set_xlabel("$z_1$")
        ax.set_ylabel("$z_2$")
        outside = 1 - np.mean((np.abs(z) <= 4).all(1))
        ax.set_title(f"off the axes: {outside:.1%}", fontsize=9)
    label_outer(axes[len(results) :], len(results))
    save(figure, folder / "mixture_latents")
    return Caption(
        file="mixture_latents.png",
        title="Gaussian mixture: latents",
        caption=(
            f"The {len(results[0].arrays['latents']):,} encoded test points of each model. Above: "
            "histogram of both coordinates together with the N(0, 1) density they should follow, "
            "every panel with its own vertical scale. "
            "Below: the points themselves, which show what the histogram hides; of N(0, I), half "
            "lies inside the inner circle and 99% inside the outer one." + scaled_down(results)
        ),
        alt="Histograms with a bell curve over them and scatter plots with two circles, for "
        + listed(results),
    )


def score_title(result: Result) -> str:
    """Return name, test score and its excess over the truth, in three or four lines."""
    nats, _ = result.score("test", "nats")
    excess, error = result.score("test", "excess_over_truth")
    lines = [
        result.name,
        f"{shown(nats)} nats on the test points",
        f"excess {shown(excess)} ± {shown(2 * error)}",
    ]
    return "\n".join([*lines, result.ending] if result.ending else lines)


def log_panel(
    ax: Axes, grid: NDArray[np.float64], logp: NDArray[np.float64], peak: float
) -> QuadMesh:
    """Draw log-densities (ny, nx) at points (ny, nx, 2), cut off at `FLOOR` and at log peak."""
    mesh = ax.pcolormesh(
        grid[..., 0],
        grid[..., 1],
        logp,
        cmap="viridis",
        vmin=FLOOR,
        vmax=np.log(peak),
        shading="nearest",
        rasterized=True,
    )
    ax.grid(False)
    ax.set_aspect("equal")
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    return mesh


def circle(ax: Axes, radius: float, label: str) -> None:
    """Draw a circle around the origin, with its label at the top."""
    angle = np.linspace(0, 2 * np.pi, 181)
    ax.plot(radius * np.cos(angle), radius * np.sin(angle), color=PALETTE["reference"], lw=1)
    ax.text(0, radius + 0.08, label, ha="center", va="bottom", fontsize=8)


def label_outer(axes: list[Axes], columns: int) -> None:
    """Keep the labels of the vertical axes in the first column only."""
    for place, ax in enumerate(axes):
        if place % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
