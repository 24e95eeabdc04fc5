"""The linear model, whose recovery error is known without an optimiser."""

from typing import Any

import torch

from common.training.seeding import generator
from inverse_problems.experiments.config import Bound
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.problems import MATRIX
from inverse_problems.recovery.linear_model import expected_error


def bound(cfg: Bound, context: Context) -> tuple[dict[str, Any], Arrays]:
    """Compare the expected error of a linear generator with its bounds, for every m.

    The generator's covariance is that of the test images that were chosen.

    Returns:
        Metrics with a cell for each m: `error` (mean and standard error over draws of A), `lower`
        and `upper`; arrays `singular` (n,).
    """
    x = context.pictures(context.trained).x.double().flatten(1)
    centred = (x - x.mean(0)) / max(len(x) - 1, 1) ** 0.5
    values = torch.linalg.svdvals(centred)
    singular = torch.zeros(x.shape[1], dtype=torch.float64)
    singular[: len(values)] = values[: len(singular)]
    cells = []
    for m in cfg.measurements:
        found = expected_error(singular, m, cfg.draws, generator(cfg.seed, MATRIX, m))
        cells.append(
            {
                "at": {"m": m, "ratio": m / len(singular)},
                "error": {"mean": found.mean, "se": found.se},
                "lower": found.lower,
                "upper": found.upper,
                "best_upper": found.best_upper,
                "failed": 0,
            }
        )
    return {"cells": cells, "images": len(x), "seeds": cfg.draws}, {"singular": singular}
