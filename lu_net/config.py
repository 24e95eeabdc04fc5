"""What `params.yaml` may say about one training."""

from dataclasses import field
from typing import Literal

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Model:
    """Choose a density model.

    Args:
        kind: `gaussian` is the closed-form full-covariance Gaussian in logit space.
        per_class: one independent model per class, or one for all data.
        margin: width of [0, 1] that the logit keeps free; no logit for continuous data.
        layers: LU-Net: M, the number of LU layers; one activation fewer.
        slope: LU-Net: slope of the leaky softplus at minus infinity.
        init: LU-Net: `identity`, `published` (the framework's default, masked), or `whitening`.
        shrinkage: whitening, gaussian: share of the covariance that is moved to its diagonal.
        fit_steps: whitening: steps that fit the coordinates' marginals before training.
        planes: RealNVP on images: planes of the first scale.
        final: RealNVP on images: couplings of the last scale.
        couplings: RealNVP: couplings before the last scale, or all of them on vectors.
        width: RealNVP on vectors: hidden width.
        scaled_down: what is smaller than the published protocol, in words; empty if nothing.
    """

    kind: Literal["gaussian", "lu_net", "realnvp"]
    per_class: bool = True
    margin: float = 1e-5
    layers: int = 4
    slope: float = 0.1
    init: Literal["whitening", "identity", "published"] = "whitening"
    shrinkage: float = 0.02
    fit_steps: int = 500
    planes: int = 64
    final: int = 3
    couplings: int = 6
    width: int = 64
    scaled_down: str = ""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Optimiser:
    """Choose how the parameters move.

    Args:
        name: `adam`, or `sgd` with momentum 0.9.
        lr: first learning rate.
        schedule: `cosine` falls to `lr_last`; `staircase` multiplies by `factor` every `every`
            epochs.
        clip: each model's gradient is scaled to norm at most 1: `l1`, `l2` or `none`.
    """

    name: Literal["adam", "sgd"] = "adam"
    lr: float = 1e-3
    schedule: Literal["cosine", "staircase"] = "cosine"
    lr_last: float = 0.0
    warmup: int = 0
    factor: float = 1.0
    every: int = 1
    clip: Literal["none", "l1", "l2"] = "none"


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Train:
    """Say everything one training depends on but its data set.

    Args:
        objective: `likelihood`, or `published`: log|u| weighted by `logdet_weight`, and no gradient
            through the activations' log-slopes if `detach` (papers and code differ, see README).
        select: split whose score picks the epoch that is kept; `test` is what was published.
        valid_per_class: items of each class held out of train; None where the set has its own.
        epochs: passes over the training split; 0 keeps the initialisation.
        batch: at most this many items of each model in a step.
        eval_every: epochs between looks at the selection split.
        save_every: epochs between checkpoints.
    """

    model: Model
    optimiser: Optimiser = field(default_factory=Optimiser)
    objective: Literal["likelihood", "published"] = "likelihood"
    logdet_weight: float = 1.0
    detach: bool = False
    select: Literal["valid", "test"] = "valid"
    valid_per_class: int | None = None
    epochs: int = 40
    batch: int = 256
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0
    eval_every: int = 1
    save_every: int = 5

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        if self.objective == "published" and self.model.kind != "lu_net":
            raise ValueError("the published objective is LU-Net's; expected 'likelihood'")
        if self.model.kind == "realnvp" and self.optimiser.clip != "none":
            raise ValueError("clipping is per stacked model; expected clip: none for realnvp")
        if min(self.batch, self.eval_every, self.save_every) < 1 or self.epochs < 0:
            raise ValueError("batch, eval_every, save_every must be positive, epochs not negative")
        return self
