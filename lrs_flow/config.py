"""What `params.yaml` may say about one training."""

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


@dataclass(frozen=True, config=STRICT)
class Model:
    """Choose a density model.

    Args:
        kind: what maps a scalar: `lrs` linear rational, `rq` rational quadratic, `q` quadratic
            splines, `affine` scale and shift; or another model altogether: `ffjord`, a continuous
            flow, or `gaussian`, the closed-form full-covariance Gaussian.
        layer: `coupling` or `autoregressive`.
        steps: flow steps; on images, steps per level; FFJORD: continuous blocks.
        hidden: width of the conditioners (channels on images); FFJORD: hidden units per feature.
        blocks: residual blocks of a conditioner; FFJORD: hidden layers.
        dropout: share of hidden units that a training step leaves out.
        batch_norm: normalise inside the conditioners.
        bins: K, of a spline.
        bound: B, a spline acts on [-B, B] and leaves the rest alone.
        tails: False for splines on [0, 1] without tails, and a uniform base.
        start: `published`, from random outputs of the conditioners, or `identity`.
        linear: put a permutation and an LU layer ahead of each step and after the last.
        unconditional: map the kept half of a coupling by splines with free parameters.
        boundary: quadratic splines: `corrected`, or `published`, whose slope at +-B is not 1.
        levels: on images: number of resolutions.
        multi_scale: on images: factor out half of the channels after each level but the last.
        atol: FFJORD: absolute tolerance of the solver.
        rtol: FFJORD: relative tolerance of the solver.
        activation: FFJORD: `softplus` or `tanh`.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    kind: Literal["lrs", "rq", "q", "affine", "ffjord", "gaussian"]
    layer: Literal["coupling", "autoregressive"] = "coupling"
    steps: PositiveInt = 10
    hidden: PositiveInt = 32
    blocks: PositiveInt = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_norm: bool = False
    bins: Annotated[int, Field(ge=2, le=500)] = 8
    bound: PositiveFloat = 3.0
    tails: bool = True
    start: Literal["published", "identity"] = "published"
    linear: bool = True
    unconditional: bool = True
    boundary: Literal["corrected", "published"] = "corrected"
    levels: PositiveInt = 2
    multi_scale: bool = False
    atol: PositiveFloat = 1e-5
    rtol: PositiveFloat = 1e-5
    activation: Literal["softplus", "tanh"] = "softplus"
    scaled_down: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        if not self.tails and (self.linear or self.kind not in ("lrs", "rq", "q")):
            raise ValueError(
                "tails: false is for splines alone, which keep to [0, 1]; expected kind lrs, rq or "
                "q, and linear: false"
            )
        return self


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """Choose how Adam moves the parameters.

    Args:
        lr: first learning rate; it falls to 0 along half a cosine.
        clip: largest L2 norm of a model's gradient, 0 for no clipping.
        weight_decay: decoupled decay per unit of learning rate.
    """

    lr: NonNegativeFloat = 5e-4
    clip: NonNegativeFloat = 5.0
    weight_decay: NonNegativeFloat = 0.0


@dataclass(frozen=True, config=STRICT)
class Train:
    """Say everything one training depends on but its data set.

    Args:
        model: which density model.
        optimiser: how it is trained.
        steps: optimisation steps, over which the learning rate falls.
        stop: stop after so many of them; a later, larger value continues the same run. None to take
            all.
        batch: at most this many items of each model in a step.
        models: independent models (seeds) trained side by side; a cross-validated set has one for
            each of its folds instead, and this must be its number of folds.
        eval_every: steps between looks at the validation split.
        valid_items: at most so many validation items are looked at, the first ones.
        save_every: looks between checkpoints.
        flip: mirror each training image left to right with probability one half.
        compiled: compile the spline kernels on a CPU that has a C++ compiler.
        seed: of everything random.
    """

    model: Model
    optimiser: Optimiser = field(default_factory=Optimiser)
    steps: NonNegativeInt = 1000
    stop: PositiveInt | None = None
    batch: PositiveInt = 128
    models: PositiveInt = 1
    eval_every: PositiveInt = 250
    valid_items: PositiveInt = 100_000
    save_every: PositiveInt = 4
    flip: bool = False
    compiled: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if self.model.kind == "gaussian" and self.steps:
            raise ValueError("the Gaussian is closed form; expected steps: 0")
        if self.model.kind == "ffjord" and self.model.layer != "coupling":
            raise ValueError("FFJORD has no layers to choose; leave `layer` out")
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
