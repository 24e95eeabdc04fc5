"""What `params.yaml` may say about a training of vectors: the 1-D fit and the 2-D densities."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True)

PartName = Literal["actnorm", "residual", "inverse_residual", "monotone"]
DOUBLES = ("cpila", "clipswish", "crelu")  # activations with two outputs for each input
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class Model:
    """Choose a chain of blocks.

    Args:
        layout: parts from data to latents, `actnorm`, `residual`, `inverse_residual`, `monotone`.
        repeat: the layout stands so many times in a row.
        activation: of all nets.
        depth: layers of a net ahead of its last one.
        growth: channels that each of them adds to a dense net, or has in a plain one.
        coefficient: largest norm of a layer.
        concatenation: Lipschitz constant of a learned concatenation; None for plain nets.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    layout: tuple[PartName, ...]
    repeat: PositiveInt = 1
    activation: Literal["cpila", "clipswish", "lipswish", "crelu", "sine"] = "cpila"
    depth: PositiveInt = 3
    growth: PositiveInt = 16
    coefficient: Share = 0.9
    concatenation: Share | None = 0.98
    scaled_down: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        if self.activation in DOUBLES and self.growth % 2:
            raise ValueError(
                f"{self.activation} doubles the channels, so growth counts pairs; expected an even "
                f"number, got {self.growth}"
            )
        return self

    @property
    def parts(self) -> tuple[PartName, ...]:
        """Return the whole chain."""
        return self.layout * self.repeat


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """Choose how Adam moves the parameters.

    Args:
        lr: first learning rate.
        milestones: steps after which it is multiplied by `factor`, once each.
        factor: see there.
        weight_decay: L2 penalty, added to the gradient.
    """

    lr: PositiveFloat = 1e-3
    milestones: tuple[PositiveInt, ...] = ()
    factor: PositiveFloat = 0.2
    weight_decay: NonNegativeFloat = 0.0


@dataclass(frozen=True, config=STRICT)
class Norms:
    """Say how the estimates of the layers' norms follow the weights.

    Args:
        iterations: power iterations after each step, at most.
        tol: stop earlier when the singular vectors move by less; 0 for always all.
        look: iterations ahead of each look.
    """

    iterations: PositiveInt = 5
    tol: NonNegativeFloat = 0.0
    look: PositiveInt = 200


@dataclass(frozen=True, config=STRICT)
class Train:
    """Say everything one training depends on but its data set.

    Args:
        model: which chain.
        optimiser: how it is trained.
        norms: how its Lipschitz constants are kept.
        sets: of `toys`: the densities, one model for each and seed.
        seeds: models of each set.
        steps: optimisation steps.
        batch: fresh points of each model in a step.
        learn_shares_from: step from which on concatenations are learned.
        eval_every: steps between looks at fresh points.
        last_looks: the last so many looks are closer together,
        last_every: so many steps; the published score is their mean.
        eval_points: points of a look.
        save_every: looks between checkpoints.
        compiled: compile the elementwise kernels where that is possible.
        seed: of everything random.
    """

    model: Model
    optimiser: Optimiser = field(default_factory=Optimiser)
    norms: Norms = field(default_factory=Norms)
    sets: tuple[str, ...] = ()
    seeds: PositiveInt = 1
    steps: PositiveInt = 50_000
    batch: PositiveInt = 500
    learn_shares_from: NonNegativeInt = 0
    eval_every: PositiveInt = 1000
    last_looks: PositiveInt = 20
    last_every: PositiveInt = 100
    eval_points: PositiveInt = 10_000
    save_every: PositiveInt = 1
    compiled: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if self.last_looks * self.last_every > self.steps:
            raise ValueError(
                f"the last looks need {self.last_looks} times {self.last_every} steps; "
                f"got steps {self.steps}"
            )
        return self

    @property
    def models(self) -> int:
        """Return K, all models of the training."""
        return max(len(self.sets), 1) * self.seeds

    def look_after(self, step: int) -> bool:
        """Say whether to look at fresh points after so many steps."""
        to_go = self.steps - step
        if to_go < self.last_looks * self.last_every:
            return to_go % self.last_every == 0
        return step % self.eval_every == 0

    def rate(self, step: int) -> float:
        """Return the learning rate of the step after `step` steps."""
        passed = sum(step >= milestone for milestone in self.optimiser.milestones)
        return self.optimiser.lr * self.optimiser.factor**passed
