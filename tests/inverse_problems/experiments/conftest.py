"""A linear prior, a solver that is exact, and test images for experiments."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from common.training.run import Run
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.parts import Parts
from inverse_problems.experiments.problems import Pictures
from inverse_problems.experiments.solved import Outcome, Weight
from inverse_problems.operators.base import LinearOperator
from inverse_problems.priors.base import Prior
from tests.inverse_problems.recovery.parts import LinearPrior

SHAPE = (1, 8, 8)
IMAGES = 14


class Exact:
    """Return A^+ y, and write down what was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, operator: LinearOperator, y: Tensor, **asked: Any) -> Outcome:
        self.asked.append({"operator": operator, "y": y, **asked})
        x = operator.pseudo_inverse(y)
        weight = asked.get("weight") or Weight()
        x = x / (1 + weight.gamma)
        batch = torch.zeros(len(y), dtype=torch.float64)
        return Outcome(
            x=x,
            residual=(operator(x) - y).flatten(1).norm(dim=1),
            failed=batch > 0,
            evaluations=batch + 7,
            latent=batch + 0.5,
            z=torch.zeros(len(y), 64, dtype=y.dtype),
        )


def images(name: str) -> Pictures:
    generator = torch.Generator().manual_seed(sum(name.encode()))
    x = torch.rand((IMAGES, *SHAPE), generator=generator, dtype=torch.float64)
    return Pictures(name, x, name)


def linear_prior() -> Prior:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(64, 64, generator=generator, dtype=torch.float64)
    return LinearPrior(torch.linalg.qr(matrix).Q * 0.3, SHAPE)


@pytest.fixture
def exact() -> Exact:
    return Exact()


@pytest.fixture
def context(tmp_path: Path, exact: Exact) -> Context:
    """Return a context with a linear prior and the exact solver."""
    return Context(
        trained="digits",
        pictures=images,
        solver=exact,
        prior=linear_prior(),
        parts=Parts(Run(tmp_path, "0123456789abcdef", "experiment")),
        device=torch.device("cpu"),
    )
