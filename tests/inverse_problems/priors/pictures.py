"""Small image sets, and trainings of a few steps on them."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset, Split
from common.training import config
from common.training.run import open_run

LEVELS = 5
CPU = torch.device("cpu")
FILES = ("weights.pt", "curve.csv", "status.json")


def pictures(
    sizes: tuple[int, int, int] = (22, 9, 7), shape: tuple[int, int, int] = (1, 8, 8)
) -> Dataset:
    """Return bright squares on dark ground, as train, validation and test images."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (sum(sizes), *shape), generator=draw, dtype=torch.uint8)
    x[..., 2:6, 2:6] += 3
    splits = [Split(part, torch.zeros(len(part), dtype=torch.int64)) for part in x.split(sizes)]
    return Dataset("invented", *splits, levels=LEVELS, classes=1)


def trained(
    module: ModuleType, folder: Path, settings: dict[str, Any], data: Dataset | None = None
) -> dict[str, bytes]:
    """Train in a folder, or continue there, and return the files that no clock enters."""
    cfg = config.load(settings, module.Config)
    with open_run(folder, "a", settings, "a training") as run:
        module.train(run, cfg, data or pictures(), CPU)
    return {name: (folder / "a" / name).read_bytes() for name in FILES}


def weights(folder: Path) -> dict[str, Tensor]:
    """Return the exported tensors."""
    tensors: dict[str, Tensor] = torch.load(folder / "a/weights.pt", weights_only=True)[
        "state_dict"
    ]
    return tensors
