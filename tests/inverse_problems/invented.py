"""Invented outcomes of experiments, as `inverse_problems.solve` leaves them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from common.metrics.scores import write_scores
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.scoring import cell

IMAGES, SHOWN = 16, 12
SHAPE = (1, 8, 8)
SETS = ("digits", "patches")
RATIOS = {64: 1.0, 26: 26 / 64, 13: 13 / 64, 5: 5 / 64}
# PSNR in distribution at these m, and how much is lost out of distribution.
QUALITY = {
    "glow": ([38.0, 36.0, 33.0, 20.0], 3.0),
    "glow_adam": ([35.0, 31.0, 29.0, 18.0], 3.0),
    "dcgan": ([20.1, 20.0, 20.0, 19.0], 6.0),
    "vae": ([21.1, 21.0, 21.0, 18.0], 6.0),
    "lasso_dct": ([36.0, 26.0, 21.0, 12.0], 0.0),
    "lasso_haar": ([33.0, 22.0, 18.0, 11.0], 0.0),
}


class Lab:
    """Write experiments and parameters of a profile `fast` below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "results/fast/inverse_problems"
        self.solves: dict[str, dict[str, str]] = {}
        self.lacks = ""
        self.write()

    def write(self) -> None:
        """Write the parameters."""
        section = {"solves": self.solves, "priors": {}, "supervised": {"runs": {}}}
        text = yaml.safe_dump({"profile": "fast", "inverse_problems": section}, sort_keys=False)
        (self.root / "params.yaml").write_text(text)

    def add(
        self,
        experiment: str,
        method: str,
        problems: Sequence[tuple[dict[str, Any], float]],
        values: Callable[[dict[str, Any]], dict[str, Any]] = lambda at: {},
        arrays: Arrays | None = None,
        more: dict[str, Any] | None = None,
        draws: int = 1,
    ) -> None:
        """Add a run whose PSNR over images scatters by about 1 dB around those given."""
        self.solves[f"fast-{experiment}-{method}"] = {"experiment": experiment, "method": method}
        self.write()
        cells, psnr, shown = [], [], []
        for place, (at, mean) in enumerate(problems):
            found = [quality(mean, draw) for draw in range(draws)]
            cells.append(cell(at, found, **values(at)))
            psnr.append(torch.stack([f["psnr"] for f in found]))
            shown.append(pictures(place))
        metrics = {
            "experiment": experiment,
            "method": method,
            "trained": "digits",
            "n": 64,
            "scaled_down": self.lacks,
            "images": IMAGES,
            "seeds": draws,
            "cells": cells,
            **(more or {}),
        }
        kept = {f"truth_{name}": pictures(50 + k) for k, name in enumerate(SETS)}
        if psnr:
            kept |= {"psnr": torch.stack(psnr), "shown": torch.stack(shown)}
        write_scores(self.folder / "solved" / experiment / method, metrics, kept | (arrays or {}))

    def compressed(
        self, methods: Sequence[str] = tuple(QUALITY), draws: int = 1, like: str = ""
    ) -> None:
        """Add compressed sensing in and out of distribution; all methods may be like one."""
        for method in methods:
            means, loss = QUALITY[like or method]
            problems = [
                ({"set": name, "m": m, "ratio": ratio}, mean - (loss if name == "patches" else 0))
                for name in SETS
                for (m, ratio), mean in zip(RATIOS.items(), means, strict=True)
            ]
            self.add("compressed", method, problems, draws=draws)


def quality(mean: float, draw: int) -> Arrays:
    """Return what an experiment keeps of each image, around a mean PSNR."""
    scatter = torch.linspace(-1.0, 1.0, IMAGES, dtype=torch.float64)
    psnr = mean + scatter + 0.05 * draw
    return {
        "psnr": psnr,
        "mse": 10 ** (-psnr / 10),
        "ssim": 1 - 10 ** (-psnr / 20),
        "residual": torch.full((IMAGES,), 0.1, dtype=torch.float64),
        "latent": torch.full((IMAGES,), 0.5, dtype=torch.float64),
        "evaluations": torch.full((IMAGES,), 600),
        "failed": torch.zeros(IMAGES, dtype=torch.bool),
    }


def pictures(seed: int) -> Tensor:
    """Return images (N, 1, 8, 8) uint8."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (SHOWN, *SHAPE), generator=generator, dtype=torch.uint8)
