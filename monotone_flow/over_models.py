"""Summaries over models that share a protocol."""

from typing import Any

from torch import Tensor


def mean_over_models(values: Tensor) -> dict[str, Any]:
    """Return mean, standard deviation and standard error of the values of K models (K,)."""
    several = len(values) > 1
    sd = values.std().item() if several else None
    return {
        "mean": values.mean().item(),
        "sd": sd,
        "se": sd / len(values) ** 0.5 if sd is not None else None,
        "per_model": values.tolist(),
    }
