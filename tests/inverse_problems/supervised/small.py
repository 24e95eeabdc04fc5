"""Small trainings of the supervised networks, for tests."""

from typing import Any

from common.training import config
from inverse_problems.supervised.config import Train

KERNEL = [[0.2, 2.0], [1.5, 0.5]]


def parameters(problem: str = "mixture_some", **changes: Any) -> dict[str, Any]:
    """Return what params.yaml may say about a tiny training."""
    return {
        "problem": problem,
        "total": 11,
        "model": {"blocks": 2, "width": 8, "clamp": 2.0, "init": 0.2},
        "kernel_z": KERNEL,
        "kernel_x": KERNEL,
        "batch": 12,
        "iterations": 2,
        "seeds": 2,
        "valid_points": 10,
        "save_every": 1,
        "phases": [
            {"epochs": 3, "lr": 1e-3, "weights": {"y": 1.0, "z": 50.0, "rec": 1.0}},
            {"epochs": 3, "lr": 1e-2, "ramp": True, "weights": {"y": 1.0, "x": 250.0}},
        ],
    } | changes


def training(problem: str = "mixture_some", **changes: Any) -> Train:
    """Return it as the trainer reads it."""
    return config.load(parameters(problem, **changes), Train)
