"""Draw figures in one style and save them so that the same figure gives the same bytes.

Importing this module sets the style for everything drawn afterwards; no display is needed.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from common.errors import UserError
from common.report.files import write_bytes, write_text

# Okabe and Ito's colours, told apart with every common colour vision deficiency; black is kept for
# references and the yellow left out, since it vanishes on white.
PALETTE = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "reference": "#000000",
}

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(
        color=[colour for name, colour in PALETTE.items() if name != "reference"]
    ),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is there on every machine
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "image.cmap": "viridis",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "invertible-replications",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}

matplotlib.use("Agg")
matplotlib.rcParams.update(STYLE)

Array = NDArray[np.generic] | torch.Tensor


def panels(
    rows: int = 1, cols: int = 1, *, width: float = 3.4, height: float = 3.0
) -> tuple[Figure, list[Axes]]:
    """Return a figure in the shared style and its axes row by row; width and height per panel."""
    figure = Figure(figsize=(width * cols, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, cols, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` (150 dpi) and `stem.svg`; return the two paths.

    Neither holds a date or a version, and ids in the SVG are hashed with a fixed salt.
    """
    paths = []
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=150, metadata=metadata)
        paths.append(stem.with_name(f"{stem.name}.{suffix}"))
        write_bytes(paths[-1], buffer.getvalue())
    return paths


@dataclass(frozen=True)
class Caption:
    """The words for one saved picture: `alt` says what one would see, for those who cannot."""

    file: str
    title: str
    caption: str
    alt: str


def write_captions(captions: Sequence[Caption], folder: Path) -> None:
    """Write `index.json`: which pictures of the folder the page shows, in this order.

    Raises:
        UserError: a picture is not in the folder.
    """
    for caption in captions:
        if not (folder / caption.file).exists():
            raise UserError(f"{folder / caption.file}: no such picture, but it has a caption")
    index = [asdict(caption) for caption in captions]
    write_text(folder / "index.json", json.dumps(index, indent=2, ensure_ascii=False) + "\n")


def image_grid(
    images: Array,
    rows: int,
    cols: int,
    row_labels: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw images row by row on one sheet.

    Args:
        images: uint8, (N, H, W), (N, 1, H, W) or (N, 3, H, W), N at most rows * cols.
        rows: rows of the sheet; places without an image stay white.
        cols: images per row.
        row_labels: one label left of each row.
        title: stands above the sheet.

    Raises:
        UserError: the images have another type or shape, or do not fit.
    """
    pixels = _as_numpy(images)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise UserError(
            f"image_grid: expected uint8 of shape (N, H, W) or (N, C, H, W), got {pixels.dtype} of "
            f"shape {pixels.shape}"
        )
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.shape[1] not in (1, 3):
        raise UserError(f"image_grid: expected 1 or 3 channels, got {pixels.shape[1]}")
    if len(pixels) > rows * cols:
        raise UserError(f"image_grid: {len(pixels)} images do not fit into {rows} x {cols} places")
    if row_labels is not None and len(row_labels) != rows:
        raise UserError(f"image_grid: {len(row_labels)} labels for {rows} rows")
    sheet = _sheet(pixels, rows, cols)
    # Small images get about as much room as large ones; the margin carries the labels.
    size = 0.5 if pixels.shape[-1] <= 32 else 0.9
    figure, (ax,) = panels(width=max(2.4, cols * size + 0.3), height=rows * size + 0.3)
    ax.imshow(sheet, interpolation="nearest", vmin=0, vmax=255, cmap="gray")
    ax.grid(False)
    ax.set_xticks([])
    pitch = pixels.shape[2] + _gap(pixels)
    if row_labels is None:
        ax.set_yticks([])
    else:
        centres = _gap(pixels) + pixels.shape[2] / 2 - 0.5 + pitch * np.arange(rows)
        ax.set_yticks(centres, list(row_labels))
        ax.tick_params(axis="y", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title)
    return figure


def density_panel(ax: Axes, grid: Array, logp: Array, *, vmax: float | None = None) -> QuadMesh:
    """Draw the density exp(logp) of a 2-D model, zero in white; return the mesh for a colour bar.

    Args:
        ax: the axes to draw on.
        grid: the points, (ny, nx, 2), on a regular grid.
        logp: log-density in nats at the points, (ny, nx).
        vmax: density of the darkest colour, so that panels can share one scale.

    Raises:
        UserError: the shapes do not belong together.
    """
    points, log_density = _as_numpy(grid), _as_numpy(logp)
    if points.shape != (*log_density.shape, 2):
        raise UserError(
            f"density_panel: expected a grid (ny, nx, 2) and logp (ny, nx), got {points.shape} and "
            f"{log_density.shape}"
        )
    density = np.exp(log_density.astype(np.float64))
    mesh = ax.pcolormesh(
        points[..., 0],
        points[..., 1],
        density,
        cmap="Blues",
        vmin=0.0,
        vmax=vmax,
        shading="nearest",
        rasterized=True,  # tens of thousands of cells as vectors would make an SVG of megabytes
    )
    ax.grid(False)
    ax.set_aspect("equal")
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    return mesh


def latent_histogram(ax: Axes, z: Array, *, limit: float = 4.0) -> None:
    """Draw a histogram of all latent coordinates with the N(0, 1) density over it.

    Args:
        ax: the axes to draw on.
        z: latents of any shape, taken together.
        limit: the axis runs from -limit to limit; the share outside is printed, not hidden.
    """
    values = _as_numpy(z).astype(np.float64).ravel()
    inside = values[np.abs(values) <= limit]  # False for NaN, so that NaN counts as outside
    edges = np.linspace(-limit, limit, 61)
    counts, _ = np.histogram(inside, edges)
    heights = counts / max(1, values.size) / np.diff(edges)
    ax.stairs(heights, edges, fill=True, color=PALETTE["sky"], alpha=0.8, label="latents")
    t = np.linspace(-limit, limit, 241)
    pdf = np.exp(-0.5 * t**2) / np.sqrt(2 * np.pi)
    ax.plot(t, pdf, color=PALETTE["reference"], label="N(0, 1)")
    outside = 1 - inside.size / max(1, values.size)
    if outside > 0:
        ax.plot([], [], " ", label=f"outside: {outside:.1%}")
    ax.set_xlim(-limit, limit)
    ax.set_xlabel("latent coordinate")
    ax.set_ylabel("density")
    ax.legend(loc="upper right")


def _as_numpy(values: Array | ArrayLike) -> NDArray[np.generic]:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.asarray(values)


def _gap(pixels: NDArray[np.generic]) -> int:
    return max(1, pixels.shape[-1] // 14)


def _sheet(pixels: NDArray[np.generic], rows: int, cols: int) -> NDArray[np.generic]:
    """Return one white sheet (H', W', 3) with the images (N, C, H, W) set into it."""
    gap = _gap(pixels)
    height, width = pixels.shape[2] + gap, pixels.shape[3] + gap
    sheet = np.full((rows * height + gap, cols * width + gap, 3), 255, dtype=np.uint8)
    for place, image in enumerate(pixels):
        top, left = gap + place // cols * height, gap + place % cols * width
        target = sheet[top : top + pixels.shape[2], left : left + pixels.shape[3]]
        target[:] = np.moveaxis(image, 0, -1)
    return sheet
