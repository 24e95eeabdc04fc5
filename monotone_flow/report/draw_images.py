"""Draw samples of the image models."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.report.figures import Caption, image_grid, save
from monotone_flow.report.draw_fit import scaled_down
from monotone_flow.report.results import Result, set_name

SHOWN = 10


def samples(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw one row of samples for each method on an image set."""
    rows = [row(result) for result in results]
    labels = [result.label for result in results]
    figure = image_grid(np.concatenate(rows), len(results), SHOWN, labels)
    save(figure, folder / f"samples_{dataset}")
    return Caption(
        file=f"samples_{dataset}.svg",
        title=f"Samples: {set_name(dataset)}",
        caption=(
            "The first samples of each model at temperature 1, averaged weights; the same latents "
            "in all rows." + scaled_down(results)
        ),
        alt=f"Rows of small images, one row for each of {len(results)} models",
    )


def row(result: Result) -> NDArray[np.uint8]:
    """Return the first samples of a run, white where there are fewer."""
    drawn = result.arrays["samples"][:SHOWN]
    found = np.full((SHOWN, *drawn.shape[1:]), 255, np.uint8)
    found[: len(drawn)] = drawn
    return found
