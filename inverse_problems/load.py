"""Trained priors by name, for recovery experiments and evaluations."""

from pathlib import Path

import torch

from common.errors import UserError
from common.training import config
from inverse_problems.families import trainer
from inverse_problems.priors.base import Prior
from inverse_problems.priors.stored import read_prior

RESULTS = Path("results")


def folder(profile: str, dataset: str, name: str, root: Path = RESULTS) -> Path:
    """Name the folder where `inverse_problems.train` leaves a prior."""
    return root / profile / "inverse_problems" / "priors" / dataset / name


def load_prior(
    profile: str,
    dataset: str,
    name: str,
    root: Path = RESULTS,
    device: torch.device | str = "cpu",
) -> Prior:
    """Rebuild a trained prior, in evaluation mode and with frozen parameters.

    No data set is read. Frozen parameters also let a flow keep the inverses of its matrices.

    Args:
        profile: whose parameters name the model: fast, paper, paper-gpu.
        dataset: what it was trained on.
        name: key of the prior under inverse_problems.train.<dataset>.
        root: folder of results.
        device: where it goes.

    Raises:
        UserError: the parameters name no such prior, its weights are missing or damaged, or are
            those of another model.
    """
    section = config.section("inverse_problems", profile, "train", dataset, name)
    family, cfg = trainer(section)
    path = folder(profile, dataset, name, root) / "weights.pt"
    tensors, shape, levels = read_prior(path, device)
    prior = family.build(cfg, shape, levels).to(device, getattr(torch, cfg.dtype))
    try:
        prior.load_state_dict(tensors)
    except RuntimeError:
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return prior.eval().requires_grad_(False)
