"""What `params.yaml` may say about the training of a flow."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from inverse_problems.config import STRICT, Training


@dataclass(frozen=True, config=STRICT)
class FlowModel:
    """Choose a flow.

    Args:
        kind: `glow`, or spline couplings, `lrs` linear rational and `rq` rational quadratic.
        levels: number of resolutions.
        steps: flow steps of each level.
        last_steps: Glow: those of the last level instead; None for as many as the others.
        width: channels of the couplings' networks.
        coupling: Glow: `affine` or `additive`.
        bias: Glow: lower bound of the affine couplings' scales; 0 as published.
        mixing: Glow: 1x1 convolutions by `full` matrices or `lu` factors.
        split: Glow: prior of factored-out channels, `normal` or `learned`.
        std: Glow: standard deviation of the networks' first weights.
        blocks: splines: residual blocks of the couplings' networks.
        bins: splines: K.
        bound: splines: B.
    """

    kind: Literal["glow", "lrs", "rq"] = "glow"
    levels: PositiveInt = 2
    steps: PositiveInt = 4
    last_steps: PositiveInt | None = None
    width: PositiveInt = 64
    coupling: Literal["affine", "additive"] = "affine"
    bias: NonNegativeFloat = 0.0
    mixing: Literal["full", "lu"] = "full"
    split: Literal["normal", "learned"] = "normal"
    std: PositiveFloat = 0.01
    blocks: PositiveInt = 1
    bins: Annotated[int, Field(ge=2, le=500)] = 4
    bound: PositiveFloat = 3.0


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """Choose how Adam moves the parameters.

    Args:
        lr: learning rate after the warm-up.
        schedule: what follows: `constant`, `cosine` down to 0, or `plateau`, halved whenever the
            training loss has not improved for `patience` steps.
        warmup: steps over which the rate rises linearly.
        patience: of the plateau.
        smallest: rate below which the plateau does not go.
        clip_value: largest entry of a gradient, 0 for no limit; applied first.
        clip_norm: largest L2 norm of the gradient, 0 for no limit.
    """

    lr: PositiveFloat = 1e-3
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    warmup: NonNegativeInt = 0
    patience: PositiveInt = 1000
    smallest: NonNegativeFloat = 1e-8
    clip_value: NonNegativeFloat = 5.0
    clip_norm: NonNegativeFloat = 100.0


@dataclass(frozen=True, config=STRICT, kw_only=True)
class TrainFlow(Training):
    """Say everything the training of a flow depends on but its data set.

    Args:
        model: which flow.
        optimiser: how it is trained.
        bits: reduce 8-bit pixels to so many bits first; None to keep them.
        compiled: compile the kernels of splines on a CPU that has a C++ compiler.
    """

    family: Literal["flow"] = "flow"
    model: FlowModel = field(default_factory=FlowModel)
    optimiser: Optimiser = field(default_factory=Optimiser)
    bits: Annotated[int, Field(ge=1, le=8)] | None = None
    compiled: bool = False
