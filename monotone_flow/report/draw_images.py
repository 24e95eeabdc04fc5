"""Draw samples of the image models."""

from pathlib import Path

import numpy as np

from common.report.figures import Caption, image_grid, save
from monotone_flow.report.draw_fit import scaled_down
from monotone_flow.report.results import Result, set_name

SHOWN = 10


def samples(results: list[Result], dataset: str, folder: Path) -> Caption:
    """Draw one row of samples for each method on an image set."""
    rows = np.concatenate([result.arrays["samples"][:SHOWN] for result in results])
    figure = image_grid(rows, len(results), SHOWN, [result.name for result in results])
    save(figure, folder / f"samples_{dataset}")
    return Caption(
        file=f"samples_{dataset}.svg",
        title=f"Samples: {set_name(dataset)}",
        caption="The first samples of each model, averaged weights." + scaled_down(results),
        alt=f"Rows of small images, one row for each of {len(results)} models",
    )
