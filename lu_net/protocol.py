"""What `params.yaml` may say about evaluations, timings and the ledger."""

from typing import Literal

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Evaluate:
    """Say how a trained model is scored.

    Args:
        draws: noise draws of the test split.
        train_items: items of each class of the train split that are scored too.
        samples: samples drawn of each class.
        steps: interpolation weights from 0 to 1, both ends included.
        certified: test items of each model whose round trip is measured.
        jacobians: items whose log-determinant is compared with the exact Jacobian, of each model; 0
            leaves the certificate at round trips, where a Jacobian costs too much.
        seed: of noise and samples.
    """

    draws: PositiveInt = 30
    train_items: PositiveInt = 500
    samples: PositiveInt = 10
    steps: PositiveInt = 11
    certified: PositiveInt = 20
    jacobians: NonNegativeInt = 1
    seed: int = 1


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Timed:
    """Say which model is timed and how.

    Args:
        method: the training whose model, optimiser and batch are timed.
        planes: replaces the training's planes, None to keep them: the published size of RealNVP is
            timed also where it is too large to train.
        sample_batch: images drawn at once.
        density_items: images scored in the timed pass.
        repeats: timed calls of each kind, after one that is not counted; the median is kept. A call
            that scores takes many batches and is repeated a fifth as often.
    """

    method: str
    planes: PositiveInt | None = None
    sample_batch: PositiveInt = 100
    density_items: PositiveInt = 2560
    repeats: PositiveInt = 20


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Speed:
    """Say what `lu_net.speed` measures.

    Args:
        dataset: set whose images are used.
        models: the timed models by the name of their row.
    """

    dataset: str
    models: dict[Literal["lu_net", "realnvp"], Timed]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Cells:
    """Say which results stand for the published cells.

    Args:
        dataset: set whose likelihoods are compared with the published ones.
        scaled_down: what that set or its protocol lacks, in words; empty if nothing.
    """

    dataset: str
    scaled_down: str = ""
