"""What `params.yaml` may say about any training of a prior, and about its evaluation."""

from typing import Literal

from pydantic import ConfigDict, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Training:
    """Say what all trainings of priors have in common; each family adds its own.

    Args:
        family: which trainer, see `inverse_problems.families`.
        steps: optimisation steps.
        stop: stop after so many of them; a later, larger value continues the same run. None to take
            all.
        batch: images of a step, at most.
        eval_every: steps between looks at the validation split.
        valid_items: at most so many validation images are looked at, the first ones.
        save_every: looks between checkpoints.
        seed: of everything random.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    family: str
    steps: PositiveInt
    stop: PositiveInt | None = None
    batch: PositiveInt = 64
    eval_every: PositiveInt = 250
    valid_items: PositiveInt = 100_000
    save_every: PositiveInt = 4
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0
    scaled_down: str = ""

    @model_validator(mode="after")
    def _stops_in_time(self) -> "Training":
        if self.stop is not None and (self.stop > self.steps or self.stop % self.eval_every):
            raise ValueError(
                f"stop must be a multiple of eval_every, {self.eval_every}, and at most steps, "
                f"{self.steps}; got {self.stop}"
            )
        return self

    @property
    def last(self) -> int:
        """Return the number of steps to take for now."""
        return self.steps if self.stop is None else self.stop


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Say how a trained prior is scored.

    Args:
        draws: noise draws of the test images.
        test_items: at most so many test images, the first ones; None for all.
        train_items: train images that are scored too.
        samples: samples at each temperature.
        certified: test images whose round trip is measured.
        jacobians: of these, the images whose log-determinant is compared with the exact Jacobian; 0
            leaves the certificate at round trips.
        seed: of noise and samples.
    """

    draws: PositiveInt = 1
    test_items: PositiveInt | None = None
    train_items: PositiveInt = 1000
    samples: PositiveInt = 64
    certified: PositiveInt = 100
    jacobians: NonNegativeInt = 1
    seed: int = 1
