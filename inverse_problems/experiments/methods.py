"""The methods of the experiments by name: priors with their budgets, and baselines."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from common.errors import UserError
from common.training.seeding import generator
from inverse_problems.baselines.base import Baseline, pseudo_inverse
from inverse_problems.baselines.bases import BasisName
from inverse_problems.baselines.lasso import Lasso
from inverse_problems.baselines.total_variation import TotalVariation
from inverse_problems.experiments.config import Baseline as BaselineName
from inverse_problems.experiments.config import Method
from inverse_problems.experiments.config import Start as StartName
from inverse_problems.experiments.problems import START
from inverse_problems.experiments.solved import Outcome, Solver, Weight
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior
from inverse_problems.recovery.budgets import BUDGETS, LBFGS, Adam
from inverse_problems.recovery.recover import Objective, recover
from inverse_problems.recovery.starts import Start

# Standard deviations of the random starts, as published.
STDS = {"small": 0.1, "large": 0.7}
LEAST_PENALTY = 1e-3  # of total variation where there is no noise


def solver(method: Method, prior: Prior | None, seed: int, slope: float) -> Solver:
    """Return a method.

    Args:
        method: which.
        prior: that which it names, None for a baseline.
        seed: of the random starts.
        slope: mean length of the gradient of training images, for total variation.
    """
    if method.baseline is not None:
        return Untrained(method.baseline, slope)
    assert prior is not None
    return Generative(method, prior, seed)


class Untrained:
    """Recover images by a baseline.

    Total variation is weighed as an exponential law of the length of the gradient says whose mean
    is that of training images: with noise of standard deviation sigma, by 4 sigma^2 / slope.

    Args:
        name: of the baseline.
        slope: mean length of the gradient of training images.
    """

    def __init__(self, name: BaselineName, slope: float) -> None:
        self.name, self.slope = name, slope

    def __call__(
        self,
        operator: LinearOperator,
        y: Tensor,
        *,
        weight: Weight | None = None,
        start: StartName | None = None,
        size: float = 0.0,
        image: Tensor | None = None,
        sigma: float = 0.0,
    ) -> Outcome:
        x = self._baseline(sigma)(y, operator)
        residual = (operator(x) - y).flatten(1).norm(dim=1)
        return Outcome(x=x, residual=residual, failed=~x.isfinite().flatten(1).all(1))

    def _baseline(self, sigma: float) -> Baseline:
        if self.name == "total_variation":
            return TotalVariation(max(4 * sigma**2 / self.slope, LEAST_PENALTY))
        if self.name == "bm3d":
            from inverse_problems.baselines.block_matching import BM3D

            return BM3D(sigma)
        if self.name == "pseudo_inverse":
            return pseudo_inverse
        _, basis, *published = self.name.split("_")
        return Lasso(cast(BasisName, basis), as_published=bool(published))


class Generative:
    """Recover images as outputs of a prior.

    Args:
        method: which budget and start.
        prior: in evaluation mode.
        seed: of the random starts.
    """

    def __init__(self, method: Method, prior: Prior, seed: int) -> None:
        self.method, self.prior = method, prior
        self.budget = budget(method)
        # Not the generator's state: a call must not depend on those before it.
        self.seed = int(torch.randint(2**31, (), generator=generator(seed, START)))

    def __call__(
        self,
        operator: LinearOperator,
        y: Tensor,
        *,
        weight: Weight | None = None,
        start: StartName | None = None,
        size: float = 0.0,
        image: Tensor | None = None,
        sigma: float = 0.0,
    ) -> Outcome:
        weight = weight or Weight()
        begin, image = self._start(start or self.method.start, size, operator, y, image)
        found = recover(
            self.prior,
            operator,
            y,
            objective=Objective(penalty=weight.penalty or "none", gamma=weight.gamma),
            optimiser=self.budget,
            start=begin,
            image=image,
            chunk=self.method.chunk,
        )
        return Outcome(
            x=found.x,
            residual=found.residual.sqrt(),
            failed=found.failures > 0,
            evaluations=found.evaluations,
            latent=found.norm,
            z=found.z,
        )

    def _start(
        self,
        name: StartName,
        size: float,
        operator: LinearOperator,
        y: Tensor,
        image: Tensor | None,
    ) -> tuple[Start, Tensor | None]:
        options: dict[str, Any] = {"restarts": self.method.restarts, "seed": self.seed}
        if name in STDS:
            return Start("normal", STDS[name], **options), None
        if name == "norm":
            return Start("norm", size, **options), None
        if name == "null_space":
            return Start("null_space", size, **options), image
        if name == "lasso":
            return Start("image", **options), Lasso("haar")(y, operator)
        if name == "noisy":
            return Start("image", **options), y
        return Start("zero", **options), None


def budget(method: Method) -> LBFGS | Adam:
    """Return the named budget with the changes that a method makes.

    Raises:
        UserError: there is no such budget, or it has no such number.
    """
    if method.budget not in BUDGETS:
        raise UserError(f"budget {method.budget!r}: expected one of {', '.join(BUDGETS)}")
    try:
        return replace(BUDGETS[method.budget], **method.changes)
    except (TypeError, ValueError) as error:
        raise UserError(f"budget {method.budget!r} with {method.changes}: {error}") from None
