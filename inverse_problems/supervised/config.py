"""What the parameters may say about the training of a supervised invertible network."""

from dataclasses import field
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import (
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True)

Share = Annotated[float, Field(ge=0, lt=1)]
Term = tuple[PositiveFloat, PositiveFloat]
Kernel = Annotated[tuple[Term, ...], Field(min_length=1)]


@dataclass(frozen=True, config=STRICT)
class Model:
    """Choose a network.

    Args:
        blocks: of two affine maps and a permutation each.
        width: of the hidden layers of a conditioner.
        hidden: their number.
        clamp: largest log-scale,
        clamp_width: and how far a network's output goes until it bends towards it.
        init: standard deviation of all parameters at the start.
    """

    blocks: PositiveInt = 3
    width: PositiveInt = 64
    hidden: PositiveInt = 1
    clamp: PositiveFloat = 4.0
    clamp_width: PositiveFloat = 1.0
    init: PositiveFloat = 0.1


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """Choose how Adam moves the parameters; the learning rate is a matter of the phase.

    Args:
        betas: decay of both averages.
        eps: see Adam.
        weight_decay: L2 penalty, added to the gradient.
        clip: largest absolute entry of a gradient; None for no limit.
    """

    betas: tuple[Share, Share] = (0.9, 0.95)
    eps: PositiveFloat = 1e-6
    weight_decay: NonNegativeFloat = 1e-5
    clip: PositiveFloat | None = None


@dataclass(frozen=True, config=STRICT)
class Noise:
    """Give standard deviations of what is added while training.

    Args:
        y: to the observation.
        z: to the latents from which x is reconstructed.
        pad: of the padding at both ends.
    """

    y: PositiveFloat = 0.05
    z: PositiveFloat = 0.02
    pad: PositiveFloat = 0.01


@dataclass(frozen=True, config=STRICT)
class Weights:
    """Weigh the losses; one with weight 0 is not computed.

    Args:
        y: squared error of the observation and of the padding beside it.
        z: discrepancy of (z, y) to independent latents and the true observation.
        x: discrepancy of inverted observations to x.
        rec: squared error of inverted, slightly disturbed outputs to x.
        likelihood: negative log-likelihood, in place of the others.
    """

    y: NonNegativeFloat = 0.0
    z: NonNegativeFloat = 0.0
    x: NonNegativeFloat = 0.0
    rec: NonNegativeFloat = 0.0
    likelihood: NonNegativeFloat = 0.0


@dataclass(frozen=True, config=STRICT)
class Phase:
    """Say how a stretch of the training goes.

    Args:
        epochs: its length.
        lr: learning rate.
        weights: of the losses.
        ramp: let the weight of x grow, as min(1, 2 * 0.002^(1 - epoch / epochs)).
    """

    epochs: PositiveInt
    lr: PositiveFloat
    weights: Weights
    ramp: bool = False

    def __post_init__(self) -> None:
        if not any(vars(self.weights).values()):
            raise ValueError("expected a loss with a weight above 0")

    def at(self, epoch: int) -> Weights:
        """Return the weights in an epoch of this phase, from 0."""
        if not self.ramp:
            return self.weights
        factor = min(1.0, 2.0 * 0.002 ** (1.0 - epoch / self.epochs))
        return Weights(**{**vars(self.weights), "x": self.weights.x * factor})


@dataclass(frozen=True, config=STRICT)
class Train:
    """Say everything one training depends on.

    Args:
        problem: mixture_all, mixture_some, mixture_none or kinematics.
        z: entries of the latents.
        total: width of the network, padding included.
        phases: one after the other; the optimiser goes on through all of them.
        kernel_z: terms (C, a) of the kernel that compares latents and observations,
        kernel_x: and of the one that compares x.
        match_padding: the latter sees the padding beside x too.
        fit: squared errors are summed over the entries, or their mean is taken.
        reconstruct: from the network's outputs, or from its latents beside the true observation.
        batch: pairs of each model in a step.
        iterations: steps of an epoch.
        points: size of the set to train on; None for fresh pairs in every step.
        seeds: models, K.
        valid_points: pairs of the set that each look takes.
        look_every: epochs between looks,
        save_every: and between checkpoints.
        seed: of everything random.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    problem: str
    total: PositiveInt
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    kernel_z: Kernel
    kernel_x: Kernel
    z: PositiveInt = 2
    model: Model = field(default_factory=Model)
    optimiser: Optimiser = field(default_factory=Optimiser)
    noise: Noise = field(default_factory=Noise)
    match_padding: bool = True
    fit: Literal["sum", "mean"] = "sum"
    reconstruct: Literal["outputs", "targets"] = "outputs"
    batch: PositiveInt = 500
    iterations: PositiveInt = 201
    points: PositiveInt | None = None
    seeds: PositiveInt = 1
    valid_points: PositiveInt = 500
    look_every: PositiveInt = 1
    save_every: PositiveInt = 5
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0
    scaled_down: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if self.save_every % self.look_every:
            raise ValueError(
                f"save_every must be a multiple of look_every; got {self.save_every} and "
                f"{self.look_every}"
            )
        return self

    @property
    def epochs(self) -> int:
        """Return the epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def steps(self) -> int:
        """Return the steps of all phases."""
        return self.epochs * self.iterations

    def at(self, step: int) -> tuple[float, Weights]:
        """Return the learning rate and the weights of a step, from 0."""
        epoch = step // self.iterations
        ends = accumulate(phase.epochs for phase in self.phases)
        for phase, end in zip(self.phases, ends, strict=True):
            if epoch < end:
                return phase.lr, phase.at(epoch - end + phase.epochs)
        raise ValueError(f"the training has {self.steps} steps, got step {step}")


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Say how a trained network is scored.

    Args:
        points: fresh test pairs for accuracy, latents and round trips.
        observations: of these, how many are inverted for calibration and re-simulation,
        samples: with so many posterior samples each.
        compared: of these, how many posteriors are compared with a reference,
        reference: with so many samples each.
        drawn: samples of each posterior for the figures.
        kernel: terms (C, a) of the kernel that compares posteriors.
        tolerance: horizontal tolerance of the rejection sampler, in units of length.
        target: the end of the arm that the figure shows.
        jacobians: points whose log-determinant meets the exact Jacobian.
        seed: of everything random.
    """

    points: PositiveInt = 10_000
    observations: PositiveInt = 1000
    samples: PositiveInt = 4096
    compared: PositiveInt = 100
    reference: PositiveInt = 1000
    drawn: PositiveInt = 1000
    kernel: Kernel = ((0.2, 0.1), (0.2, 0.5), (0.2, 2.0))
    tolerance: PositiveFloat = 0.005
    target: tuple[float, float] = (1.5, 0.0)
    jacobians: PositiveInt = 20
    seed: int = 1
