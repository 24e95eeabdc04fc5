"""What `params.yaml` may say about a training on images."""

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

from monotone_flow.images.architectures import ACTIVATIONS, ActivationName
from monotone_flow.images.chain import Kind
from monotone_flow.images.estimators import Noise

STRICT = ConfigDict(extra="forbid", strict=True)

Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class Model:
    """Choose a flow of images.

    Args:
        kind: of all blocks.
        net: `dense`, or `plain`, three layers without concatenations.
        activation: of all nets.
        blocks: how many on each scale, before each next of which the image is halved.
        depth: dense layers of a net.
        growth: channels that each of them adds; of plain nets their width.
        vectors: append four blocks of the whole image as one vector.
        vector_width: features after the first layer of their nets; of plain nets their width.
        vector_growth: features that each of their dense layers adds.
        coefficient: largest norm of a layer.
        lip: Lipschitz constant of a dense layer.
        alpha: share of [0, 1] that the logit keeps free at either end.
        factor_out: let half of the channels be latent after each scale but the last.
        squeeze_first: space to depth before the first scale.
        dequantisation: `uniform`, or `variational`: the noise is learned.
        noise_blocks: of a variational dequantisation: blocks,
        noise_width: channels of the image's embedding,
        noise_hidden: and channels within its bottlenecks; the nets are those of the flow.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    kind: Kind
    net: Literal["dense", "plain"] = "dense"
    activation: ActivationName = "cpila"
    blocks: tuple[PositiveInt, ...] = (16, 16, 16)
    depth: PositiveInt = 3
    growth: PositiveInt = 172
    vectors: bool = True
    vector_width: PositiveInt = 64
    vector_growth: PositiveInt = 32
    coefficient: Share = 0.98
    lip: Share = 0.98
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    factor_out: bool = False
    squeeze_first: bool = False
    dequantisation: Literal["uniform", "variational"] = "uniform"
    noise_blocks: PositiveInt = 3
    noise_width: PositiveInt = 64
    noise_hidden: PositiveInt = 512
    scaled_down: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        doubles = ACTIVATIONS[self.activation].doubles
        if self.net == "plain" and doubles:
            raise ValueError(
                f"{self.activation} doubles the channels, which plain nets have no use for; "
                "expected activation lipswish, or net dense"
            )
        if doubles:
            for name in ("growth", "vector_growth"):
                if getattr(self, name) % 2:
                    raise ValueError(
                        f"{self.activation} doubles the channels, so {name} counts pairs; "
                        f"expected an even number, got {getattr(self, name)}"
                    )
        if self.net == "plain" and self.dequantisation == "variational":
            raise ValueError("the noise is learned by dense nets; expected net dense")
        return self


@dataclass(frozen=True, config=STRICT)
class Optimiser:
    """Choose how Adam (betas 0.9 and 0.99) moves the parameters, and how they are averaged.

    Args:
        lr: learning rate after the warm-up; it stays.
        warmup: minibatches over which it rises linearly from 0.
        clip: largest L2 norm of the gradient, 0 for no clipping.
        average: share that the averaged parameters keep at each step.
    """

    lr: PositiveFloat = 1e-3
    warmup: NonNegativeInt = 1000
    clip: NonNegativeFloat = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999


@dataclass(frozen=True, config=STRICT)
class Series:
    """Choose the estimates of log-determinants.

    Args:
        exact: terms that are always there, in training.
        look_exact: and at looks.
        rate: mean of the Poisson number of further ones.
        noise: distribution of the probes.
        shared: one length for the whole batch, as published, not one per sample.
        memory_saving: keep no graph until the backward pass.
    """

    exact: NonNegativeInt = 10
    look_exact: NonNegativeInt = 20
    rate: PositiveFloat = 2.0
    noise: Noise = "rademacher"
    shared: bool = False
    memory_saving: bool = True


@dataclass(frozen=True, config=STRICT)
class Train:
    """Say everything one training depends on but its data set.

    Args:
        model: which flow.
        optimiser: how it is trained.
        series: how its log-determinants are estimated.
        tolerance: a layer's power iteration stops where its norm rises by less, relative to it.
        steps: minibatches; or else
        epochs: passes over the data. Exactly one of the two is given.
        batch: images of a minibatch.
        accumulation: minibatches whose mean gradient makes one step of the optimiser.
        learn_shares_from: epoch from which on concatenations are learned.
        flip: mirror each training image left to right with probability one half.
        eval_every: minibatches between looks at the validation split.
        valid_items: at most so many validation images are looked at, the first ones.
        chunk: images that are scored at once.
        save_every: looks between checkpoints.
        seed: of everything random.
    """

    model: Model
    optimiser: Optimiser = field(default_factory=Optimiser)
    series: Series = field(default_factory=Series)
    tolerance: PositiveFloat = 1e-3
    steps: PositiveInt | None = None
    epochs: PositiveInt | None = None
    batch: PositiveInt = 64
    accumulation: PositiveInt = 1
    learn_shares_from: NonNegativeInt = 25
    flip: bool = False
    eval_every: PositiveInt = 1000
    valid_items: PositiveInt = 10_000
    chunk: PositiveInt = 256
    save_every: PositiveInt = 1
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("expected either steps or epochs, got both or neither")
        for name in ("eval_every", "steps"):
            count = getattr(self, name)
            if count is not None and count % self.accumulation:
                raise ValueError(
                    f"{name} must be a multiple of accumulation, {self.accumulation}, so that no "
                    f"gradient is left over; got {count}"
                )
        return self

    def last(self, steps_per_epoch: int) -> int:
        """Return the number of minibatches to take, a multiple of `accumulation`."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return -(-self.epochs * steps_per_epoch // self.accumulation) * self.accumulation

    def rate(self, step: int) -> float:
        """Return the learning rate of the minibatch after `step` ones."""
        warmup = self.optimiser.warmup
        return self.optimiser.lr * (min(1.0, (step + 1) / warmup) if warmup else 1.0)


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Say how a trained model is scored.

    Args:
        draws: noise draws of the test images, each with probes of its own.
        probes: of each image and draw, at least two, so that the estimate's error is known.
        exact: terms of the series that are always there.
        rate: mean of the Poisson number of further ones.
        tolerance: as in training, of the power iterations ahead of the scores.
        test_items: at most so many test images, the first ones; None for all.
        chunk: images that are scored at once.
        samples: samples for the figures, at temperature 1.
        certified: test images whose round trip is measured.
        jacobians: of these, the images whose log-determinant meets the exact Jacobian; 0 for large
            images, where it is out of reach.
        exact_items: test images whose estimated log-determinants meet exact ones; 0 likewise.
        seed: of noise and samples.
    """

    draws: PositiveInt = 1
    probes: Annotated[int, Field(ge=2)] = 2
    exact: NonNegativeInt = 20
    rate: PositiveFloat = 2.0
    tolerance: PositiveFloat = 1e-6
    test_items: PositiveInt | None = None
    chunk: PositiveInt = 256
    samples: PositiveInt = 100
    certified: PositiveInt = 20
    jacobians: NonNegativeInt = 0
    exact_items: NonNegativeInt = 0
    seed: int = 1
