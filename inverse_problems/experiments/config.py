"""What `params.yaml` may say about an experiment."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", strict=True)

Ratio = Annotated[float, Field(gt=0, le=1)]
Penalty = Literal["norm", "squared"]
Baseline = Literal[
    "lasso_dct",
    "lasso_haar",
    "lasso_haar_published",
    "lasso_pixel",
    "total_variation",
    "bm3d",
    "pseudo_inverse",
]
Start = Literal["zero", "small", "large", "lasso", "null_space", "noisy", "norm"]


@dataclass(frozen=True, config=STRICT)
class Method:
    """Choose how images are recovered.

    Args:
        prior: key of a trained prior; None for a baseline.
        baseline: name of a baseline; None for a prior.
        budget: name of a published budget, see `inverse_problems.recovery.budgets`.
        changes: what differs from it, by the budget's own names.
        start: of the latents.
        restarts: the one with the lowest measurement objective counts, image by image.
        chunk: images that are solved at once.
    """

    prior: str | None = None
    baseline: Baseline | None = None
    budget: str = "glow_sensing"
    changes: dict[str, Any] = Field(default_factory=dict)
    start: Start = "zero"
    restarts: PositiveInt = 1
    chunk: PositiveInt = 128

    def __post_init__(self) -> None:
        if (self.prior is None) == (self.baseline is None):
            raise ValueError("expected either a prior or a baseline")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Experiment:
    """Say what all experiments have in common.

    Args:
        trained: set that priors were trained on.
        method: how images are recovered.
        images: test images of each set, a seeded choice.
        seed: of the choice, the measurements, the noise and the starts.
        scaled_down: what is smaller than published, in words; empty if nothing.
    """

    trained: str
    method: Method
    images: PositiveInt
    seed: int = 0
    scaled_down: str = ""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Compressed(Experiment):
    """Recover images from m Gaussian measurements, for several m.

    Args:
        sets: test sets; the one that priors were trained on is in distribution.
        ratios: m / n, rounded to whole m.
        draws: draws of A and the noise; all images are measured by each.
        noise: the noise has standard deviation noise / sqrt(m) in each measurement.
        derived: weigh the squared norm of the latents as the noise implies, sigma squared, so the
            minimum is the most probable latents; without, as published, there is no penalty.
    """

    sets: tuple[str, ...]
    ratios: tuple[Ratio, ...]
    draws: PositiveInt = 1
    noise: NonNegativeFloat = 0.1
    derived: bool = False


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Representation(Experiment):
    """Recover images that are measured whole and without noise.

    Args:
        sets: test sets.
    """

    sets: tuple[str, ...]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Denoising(Experiment):
    """Recover images from noisy ones, for several weights of the penalty.

    Args:
        sets: test sets.
        sigmas: standard deviations of the noise.
        gammas: weights of each penalty, by its name; no penalty is weight 0 of any.
        derived: also try the weight that follows from the noise, sigma squared for the square.
    """

    sets: tuple[str, ...]
    sigmas: tuple[PositiveFloat, ...]
    gammas: dict[Penalty, tuple[NonNegativeFloat, ...]] = Field(default_factory=dict)
    derived: bool = True


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Inpainting(Experiment):
    """Fill a missing square, for several weights of the penalty |z|.

    Args:
        sets: test sets.
        gammas: weights.
        starts: of the latents; empty for that of the method.
        side: of the square, as a share of the image's.
    """

    sets: tuple[str, ...]
    gammas: tuple[NonNegativeFloat, ...] = (0.0,)
    starts: tuple[Start, ...] = ()
    side: Ratio = 0.3


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Starts(Experiment):
    """Compressed sensing from several starts, for several weights of the penalty |z|.

    Args:
        ratio: m / n.
        gammas: weights.
        starts: of the latents.
        noise: as in compressed sensing.
        distance: of the start in the null space from the truth, as an image.
    """

    ratio: Ratio
    gammas: tuple[NonNegativeFloat, ...]
    starts: tuple[Start, ...] = ("zero", "small", "large", "lasso", "null_space")
    noise: NonNegativeFloat = 0.1
    distance: PositiveFloat = 5.0


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Norms(Experiment):
    """Compressed sensing from random directions of given norms.

    Args:
        ratio: m / n.
        norms: of the starts; in units of the root of the number of latents.
        noise: as in compressed sensing.
    """

    ratio: Ratio
    norms: tuple[NonNegativeFloat, ...]
    noise: NonNegativeFloat = 0.1


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Smoothness(Experiment):
    """Measure how images move with their latents, and the norms of latents of noisy images.

    Args:
        reach: largest change of the latents.
        steps: changes up to it.
        sigmas: standard deviations of the noise.
    """

    reach: PositiveFloat = 0.8
    steps: PositiveInt = 8
    sigmas: tuple[PositiveFloat, ...] = (0.01, 0.05, 0.1)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Landscape(Experiment):
    """Evaluate the objective on planes through the best known latents of one image.

    Args:
        ratio: m / n.
        cells: points along each axis.
        reach: largest distance along each axis, in units of the distance between two images'
            latents, or of the typical norm for random directions.
        noise: as in compressed sensing.
    """

    ratio: Ratio
    cells: PositiveInt = 20
    reach: PositiveFloat = 1.0
    noise: NonNegativeFloat = 0.1


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Bound(Experiment):
    """Check the bounds of the linear model, whose covariance is that of test images.

    Args:
        measurements: m, from 4 to n.
        draws: of A.
    """

    measurements: tuple[Annotated[int, Field(ge=4)], ...]
    draws: PositiveInt = 50
