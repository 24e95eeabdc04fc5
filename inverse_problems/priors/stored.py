"""Trained priors as files: the weights, and what is needed to rebuild the model around them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.errors import UserError
from common.training import weights


def write_prior(path: Path, tensors: Mapping[str, Tensor], data: Dataset) -> None:
    """Write a prior's tensors with shape and pixel values of the images that it was trained on."""
    weights.write_weights(path, tensors, {"shape": list(data.shape), "levels": data.levels})


def read_prior(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], tuple[int, int, int], int]:
    """Return tensors, shape (C, H, W) and number of pixel values.

    Raises:
        UserError: the file is missing, damaged, or not what `write_prior` wrote.
    """
    tensors, facts = weights.read_weights(path, device)
    try:
        channels, height, width = facts["shape"]
        return tensors, (int(channels), int(height), int(width)), int(facts["levels"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: not the weights of a prior; train it again") from None
