"""What a method returns, and what an experiment asks of it."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inverse_problems.experiments.config import Penalty, Start
from inverse_problems.experiments.parts import Arrays
from inverse_problems.experiments.scoring import scores
from inverse_problems.operators.base import LinearOperator


@dataclass(frozen=True)
class Weight:
    """Weigh a penalty on the latents.

    Args:
        gamma: the weight.
        penalty: what is weighed; None for nothing.
    """

    gamma: float = 0.0
    penalty: Penalty | None = None


def derived(sigma: float) -> Weight:
    """Return the weight that makes the minimum the most probable latents given the noise."""
    return Weight(round(sigma**2, 12), "squared")


@dataclass(frozen=True)
class Outcome:
    """Hold the recoveries of B images.

    Attributes:
        x: images (B, C, H, W), not clamped.
        residual: |A x - y| of each, (B,).
        failed: which left the finite numbers, bool (B,).
        evaluations: of the generator with its gradient, (B,); None for baselines.
        latent: norm of the latents over the root of their number, (B,); None for baselines.
        z: the latents, (B, k); None for baselines.
    """

    x: Tensor
    residual: Tensor
    failed: Tensor
    evaluations: Tensor | None = None
    latent: Tensor | None = None
    z: Tensor | None = None

    def latents(self) -> Tensor:
        """Return the latents found, (B, k).

        Raises:
            ValueError: the method has none.
        """
        if self.z is None:
            raise ValueError("a baseline finds no latents")
        return self.z

    def scored(self, truth: Tensor) -> Arrays:
        """Return quality and effort of each image."""
        found = {**scores(self.x, truth), "residual": self.residual, "failed": self.failed}
        if self.evaluations is not None and self.latent is not None:
            found |= {"evaluations": self.evaluations, "latent": self.latent}
        return found


class Solver(Protocol):
    """Recover images from their measurements."""

    def __call__(
        self,
        operator: LinearOperator,
        y: Tensor,
        *,
        weight: Weight = ...,
        start: Start | None = None,
        size: float = 0.0,
        image: Tensor | None = None,
        sigma: float = 0.0,
    ) -> Outcome:
        """Return the recoveries of y (B, *measured).

        Args:
            operator: what measured them.
            y: the measurements.
            weight: of the penalty on the latents; baselines take none.
            start: of the latents; None for that of the method.
            size: of the start "norm": its norm; of "null_space": the distance from the truth.
            image: the truth (B, C, H, W), for the start "null_space".
            sigma: standard deviation of the noise of a measurement, for baselines that need it.
        """
        ...
