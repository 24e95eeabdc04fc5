"""How long and how an optimiser works, and the published budgets by name."""

from typing import Annotated

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from inverse_problems.recovery.line_search import Mode

STRICT = ConfigDict(extra="forbid", strict=True)
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=STRICT)
class LBFGS:
    """Choose the budget of L-BFGS.

    Args:
        mode: "fixed" takes every step as it comes, as published; "armijo" and "strong_wolfe"
            search along each direction.
        lr: length of a step, or of the first trial of a search, in units of the direction; the very
            first one is also divided by the 1-norm of the gradient where that exceeds 1.
        outer: outer steps; after each one the trace is written and images that ended are let go.
        inner: iterations of an outer step. An image that meets a tolerance waits for the next one.
        memory: pairs kept.
        tolerance_grad: bound on the largest entry of the gradient.
        tolerance_change: bound on the slope, on the largest entry of a step and on the change of
            the value. All tolerances are absolute.
        evaluations: an image takes no further iteration once it had so many; None for no bound.
    """

    mode: Mode = "fixed"
    lr: PositiveFloat = 1.0
    outer: PositiveInt = 20
    inner: PositiveInt = 20
    memory: PositiveInt = 100
    tolerance_grad: NonNegativeFloat = 1e-7
    tolerance_change: NonNegativeFloat = 1e-9
    evaluations: PositiveInt | None = None


@dataclass(frozen=True, config=STRICT)
class Adam:
    """Choose the budget of Adam.

    Args:
        lr: step size.
        steps: most steps.
        betas: decay of the first and of the second moment.
        eps: added to the root of the second moment.
        tolerance_grad: an image stops where the largest entry of its gradient is at most this.
        tolerance_change: an image stops where its lowest value fell by at most this within the last
            `every` steps; 0 and no change at all stops too, a negative number never.
        every: steps between two entries of the trace.
    """

    lr: PositiveFloat = 0.01
    steps: PositiveInt = 2000
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: PositiveFloat = 1e-8
    tolerance_grad: NonNegativeFloat = 1e-7
    tolerance_change: float = -1.0
    every: PositiveInt = 20


# Published: compressed sensing, denoising and inpainting with Glow and with a DCGAN, Asim et al.;
# CSGM, Bora et al. 2017, whose published starts are drawn anew for each restart.
BUDGETS: dict[str, LBFGS | Adam] = {
    "glow_sensing": LBFGS(lr=0.1, outer=30),
    "glow_denoising": LBFGS(lr=1.0, outer=20),
    "glow_inpainting": LBFGS(lr=1.0, outer=20),
    "dcgan": LBFGS(lr=1.0, outer=20),
    "glow_adam": Adam(lr=0.01, steps=2000),
    "csgm_celeba": Adam(lr=0.1, steps=500),
    "csgm_mnist": Adam(lr=0.01, steps=1000),
    # Ours: as many iterations as `glow_sensing` has, with a search that cannot diverge.
    "robust": LBFGS(mode="strong_wolfe", lr=1.0, outer=30),
}
