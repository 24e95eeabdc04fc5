"""The registry of cases; each is a module of this package with a function `comparisons`."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

Comparisons = Callable[[Any], list[Any]]


@dataclass(frozen=True)
class Case:
    """Say what a case compares, without importing it.

    Args:
        module: name inside this package.
        summary: one line for `--list`.
        rounds: paired rounds unless asked otherwise.
    """

    module: str
    summary: str
    rounds: int

    def load(self) -> Comparisons:
        """Return the case's `comparisons`: Options -> list of builders of Comparison."""
        function: Comparisons = import_module(f"{__name__}.{self.module}").comparisons
        return function


CASES = {
    case.module: case
    for case in (
        Case("lu_sampling", "LU-Net, sampling 100 images: against the published algorithm", 11),
        Case("lu_layer", "LU layer, forward+backward and inverse: against nflows and masks", 31),
        Case("lu_train_step", "LU-Net, a training step: against the published algorithm", 11),
        Case("spline_forward", "splines, value and log slope: against five libraries", 11),
        Case("spline_forward_backward", "splines, with all gradients: against five libraries", 11),
        Case("spline_inverse", "splines, inverse and its log slope: against five libraries", 11),
        Case("power_step", "spline flow of POWER, a training step: against three libraries", 11),
        Case("monotone_1d_step", "monotone fit, a training step: against the published one", 11),
        Case("recovery_batched", "recovery of 64 images at once: against one after the other", 3),
        Case("monotone_2d_step", "monotone densities, a step: against the published one", 11),
        Case("reversible_memory", "Glow, a training step by inverses: against plain autograd", 7),
    )
}
