"""Draw images: samples beside real ones, and interpolations."""

import itertools
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from common.report.figures import Caption, image_grid, save
from lu_net.results import SETS, Result, listed, scaled_down, shown

# Samples of each class in a block; the first ones that were drawn, none is picked.
SHOWN = 4
# Inches from image to image.
PITCH = 0.42
CLASSES = {
    "fashion-mnist": [
        *("T-shirt", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "boot"),
    ],
}


@dataclass(frozen=True, eq=False)
class Block:
    """Rows of images (R, N, C, H, W), uint8 from 0 to 255, under a heading."""

    images: NDArray[np.uint8]
    heading: str


def samples(results: list[Result], dataset: str, levels: int, folder: Path) -> Caption:
    """Draw real images over samples from N(0, I), left, and from the fitted Gaussian, right.

    Args:
        results: one per method; arrays `test`, `samples_standard` and `samples_fitted` are
            (K, n, C, H, W) with values from 0 to levels - 1.
        dataset: name of the set.
        levels: number of values of a pixel.
        folder: where the pictures go.
    """
    real = brightness(results[0].arrays["test"], levels)
    blocks = [
        [
            Block(by_class(real[:, :SHOWN]), "Real images of the test split"),
            Block(by_class(real[:, SHOWN : 2 * SHOWN]), "More real images of the test split"),
        ]
    ]
    sources = (
        ("samples_standard", "bits_per_dim", "N(0, I)"),
        ("samples_fitted", "fitted_gaussian_bits_per_dim", "fitted Gaussian"),
    )
    for result in results:
        row = []
        for array, score, source in sources:
            bits, _ = result.score("test", score)
            heading = f"{result.name}: {source}, {shown(bits)} bits/dim"
            if trouble := result.trouble(array):
                heading += f" ({trouble})"
            images = brightness(result.arrays[array][:, :SHOWN], levels)
            row.append(Block(by_class(images), heading))
        blocks.append(row)
    models = len(real)
    figure = sheet(blocks, CLASSES.get(dataset, [str(k) for k in range(models)]))
    name = SETS.get(dataset, dataset)
    stem = f"samples_{dataset}"
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.png",
        title=f"{name}: real images and samples",
        caption=(
            f"One column per class, each drawn by its own model; {SHOWN} images of every class, "
            "the first ones drawn, none picked. Top: real test images. Left: latents from N(0, I), "
            "the distribution the model claims and is scored with. Right: latents from a Gaussian "
            "fitted to the encoded training images, as the published samples were made; this "
            "changes the model, so the test score of the changed model stands beside it (standard "
            "bits per dimension, mean of the classes, lower is better)." + scaled_down(results)
        ),
        alt=(
            f"A sheet of {models} columns of {name} images in two halves: real ones on top, then "
            f"samples of {listed(results)}"
        ),
    )


def interpolation(results: list[Result], dataset: str, levels: int, folder: Path) -> Caption:
    """Draw lines between two test images in the latent space of LU-Net and of RealNVP.

    Args:
        results: one per method; array `interpolation` is (K, steps, C, H, W).
        dataset: name of the set.
        levels: number of values of a pixel.
        folder: where the pictures go.
    """
    chosen = [r for r in results if r.method in ("lu_net", "realnvp")] or results[:1]
    row = []
    for result in chosen:
        line = result.arrays["interpolation"].astype(int)
        first = result.arrays["test"][:, 0].astype(int)
        ends = np.stack([first, np.roll(first, -1, 0)], 1)
        error = np.abs(line[:, [0, -1]] - ends).max()
        heading = f"{result.name}. Ends " + (
            "are the real images, exactly" if error == 0 else f"miss the real images by {error}"
        )
        if trouble := result.trouble("interpolation"):
            heading += f" ({trouble})"
        row.append(Block(brightness(line, levels), heading))
    models, steps = row[0].images.shape[:2]
    classes = CLASSES.get(dataset, [str(k) for k in range(models)])
    pairs = [f"{a} → {b}" for a, b in zip(classes, [*classes[1:], classes[0]], strict=True)]
    weights = [f"{weight:.1f}" for weight in np.linspace(0, 1, steps)]
    figure = sheet([row], weights, pairs)
    name = SETS.get(dataset, dataset)
    stem = f"interpolation_{dataset}"
    save(figure, folder / stem)
    return Caption(
        file=f"{stem}.png",
        title=f"{name}: interpolation in the latent space",
        caption=(
            "Each row is a straight line, in the latent space of the left class's model, from the "
            "first test image of that class to the first one of the next class, which this model "
            f"was not trained on; numbers are the weight of the right end, {steps} steps. The ends "
            "are encoded and decoded again; the headings say by how many of "
            f"{levels - 1} grey levels they miss the originals at most." + scaled_down(chosen)
        ),
        alt=f"{models} rows in which one {name} image turns into another of the next class",
    )


def brightness(values: NDArray[Any], levels: int) -> NDArray[np.uint8]:
    """Return pixel values from 0 to levels - 1 as brightness from 0 to 255."""
    return np.round(values.astype(np.float64) * 255 / (levels - 1)).astype(np.uint8)


def by_class(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images (K, n, ...) with one column per class, (n, K, ...)."""
    return images.swapaxes(0, 1)


def sheet(
    blocks: list[list[Block]], columns: list[str], row_labels: list[str] | None = None
) -> Figure:
    """Draw blocks of equal width side by side and one below the other, each under its heading.

    Args:
        blocks: rows of blocks; all have as many columns of images.
        columns: labels of the columns of images, above the first row of blocks.
        row_labels: labels left of the rows of images, for a single row of blocks.
    """
    width, event = len(columns), blocks[0][0].images.shape[2:]
    # A column without images stands between blocks, and a row for headings above them.
    starts = [b * (width + 1) for b in range(len(blocks[0]))]
    across = starts[-1] + width
    rows: list[NDArray[np.uint8]] = []
    heads, filled = [], []
    for line in blocks:
        heads.append(len(rows))
        rows.append(np.full((across, *event), 255, np.uint8))
        for r in range(max(len(block.images) for block in line)):
            row = np.full((across, *event), 255, np.uint8)
            for start, block in zip(starts, line, strict=True):
                if r < len(block.images):
                    row[start : start + width] = block.images[r]
            filled.append(len(rows))
            rows.append(row)
    figure = image_grid(np.concatenate(rows), len(rows), across)
    margin = 0.2 + 0.08 * max(map(len, row_labels or [""]))
    figure.set_size_inches(PITCH * across + margin, PITCH * len(rows) + 0.1)
    (ax,) = figure.axes
    height = np.asarray(ax.images[0].get_array()).shape[0]
    gap = (height - len(rows) * event[1]) / (len(rows) + 1)
    down, right = event[1] + gap, event[2] + gap  # from image to image, in pixels of the sheet
    for r, c in itertools.product(filled, range(across)):
        # A white image would not be told from the paper; the edges of images keep it apart.
        if c % (width + 1) < width:
            corner = (gap - 0.5 + c * right, gap - 0.5 + r * down)
            ax.add_patch(Rectangle(corner, event[2], event[1], fill=False, ec="#999999", lw=0.4))
    if row_labels:
        centres = [gap - 0.5 + place * down + event[1] / 2 for place in filled]
        ax.set_yticks(centres, row_labels, fontsize=8)
        ax.tick_params(axis="y", length=0)
    for start in starts:
        for c, label in enumerate(columns):
            x = gap - 0.5 + (start + c) * right + event[2] / 2
            ax.text(x, down - 0.5, label, fontsize=6.5, ha="center", va="bottom")
    for line, head in zip(blocks, heads, strict=True):
        bottom = (head + 1) * down - 0.5 - (0.32 if head == 0 else 0.08) * down
        for start, block in zip(starts, line, strict=True):
            text, size = textwrap.fill(block.heading, 7 * width), 8.0
            if text.count("\n") > 1:  # the row has room for two lines
                text, size = textwrap.fill(block.heading, 8 * width), 6.5
            ax.text(gap - 0.5 + start * right, bottom, text, fontsize=size, va="bottom")
    return figure
