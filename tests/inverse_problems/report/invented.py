"""Invented results of supervised networks."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.metrics.scores import write_scores
from inverse_problems.report.supervised_results import Supervised, SupervisedResults


def score(*values: float) -> dict[str, Any]:
    """Return a score over models, as evaluation writes it."""
    numbers = torch.tensor(values, dtype=torch.float64)
    se = (numbers.std() / len(values) ** 0.5).item() if len(values) > 1 else None
    return {"mean": numbers.mean().item(), "se": se, "per_model": list(values)}


def metrics(problem: str = "mixture_some", **changes: Any) -> dict[str, Any]:
    """Return a task's metrics; changes replace entries, and those of `posterior` one by one."""
    posterior = {
        "mmd": score(0.01, 0.012),
        "floor": 0.001,
        "modes": score(8, 8),
        "of": 8,
        "stray": score(0.02, 0.021),
        "wrong": score(0.0, 0.0),
    }
    posterior |= changes.pop("posterior", {})
    return {
        "training": {"status": "finished", "steps": 10, "steps_run": 10},
        "problem": problem,
        "blocks": 3,
        "losses": ["y", "z", "x"],
        "parameters": 1234,
        "models": 2,
        "scaled_down": "",
        "accuracy": score(0.999, 1.0),
        "posterior": posterior,
        "dependence": {"mmd": score(0.004, 0.0041), "floor": 0.003},
        "calibration_error": score(0.01, 0.02),
        "width_68": score(0.5, 0.6),
        "resimulation_error": score(0.03, 0.04),
        "map_error": score(0.3, 0.4),
        "reference_map_error": score(0.35),
        "map_resimulation": score(0.02, 0.03),
        "forward_error": score(0.01, 0.01),
        "certificate": {
            "round_trip": {"float32": {"max": 1e-5}, "float64": {"max": 1e-13}},
            "logdet": {"max_error": 1e-14, "items": 4},
        },
    } | changes


def arrays(problem: str) -> dict[str, Tensor]:
    """Return what is drawn of a task."""
    generator = torch.Generator().manual_seed(0)
    shared = {"confidence": torch.linspace(0.01, 0.99, 100), "inliers": torch.rand(2, 100)}
    if problem == "kinematics":
        draws = 0.3 * torch.randn(2, 50, 4, generator=generator)
        named = {"posterior": draws[0], "reference": draws[1], "target": torch.tensor([1.5, 0.0])}
        return shared | named | {"map": draws[0, 0], "reference_map": draws[1, 0]}
    draws = 2 * torch.randn(2, 4, 50, 2, generator=generator)
    return shared | {"labels": torch.arange(4), "posterior": draws[0], "exact": draws[1]}


def results(folder: Path, **tasks: dict[str, Any]) -> SupervisedResults:
    """Write results of tasks and return them."""
    for task, found in tasks.items():
        write_scores(folder / task, found, arrays(found["problem"]))
    return {task: Supervised(task, found, folder / task) for task, found in tasks.items()}
