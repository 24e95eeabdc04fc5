"""What `params.yaml` may say about evaluations and the comparison of inverses."""

from pydantic import ConfigDict, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """Say how a trained model is scored.

    Args:
        draws: noise draws of the test images.
        train_items: train items of each model that are scored too.
        samples: samples drawn for the figures; of images, at temperature 1.
        grid: cells along each axis of a plane where a 2-D density is drawn.
        certified: test items of each model whose round trip is measured.
        jacobians: of these, the items whose log-determinant is compared with the exact Jacobian; 0
            leaves the certificate at round trips.
        test_items: at most so many test items of each model, the first ones; None for all.
        seed: of noise and samples.
    """

    draws: PositiveInt = 1
    train_items: PositiveInt = 10_000
    samples: PositiveInt = 100
    grid: PositiveInt = 512
    certified: PositiveInt = 200
    jacobians: NonNegativeInt = 5
    test_items: PositiveInt | None = None
    seed: int = 1


@dataclass(frozen=True, config=STRICT)
class Inverse:
    """Say how the inverses of the two rational splines are compared.

    Args:
        elements: scalars of the accuracy study.
        samples: samples of each trained model whose drawing is timed.
        rounds: timed rounds, after one that is not counted.
        dataset: the set whose trained models are timed.
        methods: their methods, the first one is compared with each other one.
        seed: of logits and latents.
    """

    elements: PositiveInt = 100_000
    samples: PositiveInt = 10_000
    rounds: PositiveInt = 11
    dataset: str = "bsds300"
    methods: tuple[str, ...] = ("lrs_c", "rq_c")
    seed: int = 0
