"""Invertible blocks of images and vectors made of Lipschitz networks, with estimated log-dets."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection
from common.logdet import MONOTONE, RESIDUAL, Estimate, Series, Surrogate
from common.solvers import implicit
from monotone_flow.images.estimators import Estimator, NeumannRoulette, Roulette, Source
from monotone_flow.images.nets import Bound, LipschitzNet

TRAINING = NeumannRoulette()
EVALUATION = Roulette()
ROOT_2 = math.sqrt(2)


class Block(Bijection):
    """A bijection made from one network g with a Lipschitz constant below one.

    Its log-determinant is an estimate. In training mode it comes from `training`, usually a
    `Surrogate`: a number whose gradient is that of the log-determinant and which is added to a
    loss in its place, but is no likelihood. In evaluation mode it comes from `evaluation`.
    `forward_and_estimate` says which by the type of its result, with the standard error;
    `forward_and_logdet`, which chains call, returns the number alone and keeps the standard error
    for `standard_error`.

    A subclass sets `series` and `sign` and implements `_there` and `_back`.

    Args:
        net: g, of events of this shape.
        event_dims: 3 for images, 1 for vectors.
        training: estimator in training mode.
        evaluation: estimator in evaluation mode.
        tolerance: of the solves, relative to 1 + max|x| of the sample.
        backward_tolerance: of the solves for gradients, relative to the largest incoming one.
        limit: evaluations of g per solve.

    Attributes:
        source: of random numbers, set by the trainer (see `set_source`).
        error: standard error of the last log-determinant, None if unknown.

    Shapes: x and z (*batch, *event); logdet (*batch,).
    Raises: NotConverged by the solves; ValueError without a source.
    """

    series: Series
    sign = 1  # of the series in the log-determinant of dz/dx

    def __init__(
        self,
        net: LipschitzNet,
        *,
        event_dims: int = 3,
        training: Estimator = TRAINING,
        evaluation: Estimator = EVALUATION,
        tolerance: float = 1e-6,
        backward_tolerance: float = 1e-5,
        limit: int = 2000,
    ) -> None:
        super().__init__()
        self.net = net
        self.event_dims = event_dims
        self.training_estimator, self.evaluation_estimator = training, evaluation
        self.tolerance, self.backward_tolerance, self.limit = tolerance, backward_tolerance, limit
        self.source: Source | None = None
        self.error: Tensor | None = None

    def forward_and_estimate(
        self, x: Tensor, extra: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Estimate | Surrogate]:
        """Return z and the log-determinant of dz/dx, by type; `extra` conditions the network."""
        g = self.net.bind(extra)
        z, point = self._there(g, self._rows(x))
        return z.reshape(x.shape), self._estimate(g, point, x.shape, self.sign)

    def inverse_and_estimate(
        self, z: Tensor, extra: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Estimate | Surrogate]:
        """Return x and the log-determinant of dx/dz, by type."""
        g = self.net.bind(extra)
        x, point = self._back(g, self._rows(z))
        return x.reshape(z.shape), self._estimate(g, point, z.shape, -self.sign)

    def forward_and_logdet(self, x: Tensor, extra: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        z, estimate = self.forward_and_estimate(x, extra)
        return z, self._number(estimate)

    def inverse_and_logdet(self, z: Tensor, extra: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        x, estimate = self.inverse_and_estimate(z, extra)
        return x, self._number(estimate)

    def inverse(self, z: Tensor) -> Tensor:
        return self._back(self.net.bind(), self._rows(z))[0].reshape(z.shape)

    def _there(self, g: Bound, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the point at which the Jacobian of g counts."""
        raise NotImplementedError

    def _back(self, g: Bound, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return x and the point at which the Jacobian of g counts."""
        raise NotImplementedError

    def _solve(self, g: Any, target: Tensor) -> Tensor:
        """Return w with w + g(w) = target."""
        return implicit(
            g,
            target,
            tol=self.tolerance,
            backward_tol=self.backward_tolerance,
            limit=self.limit,
            event_dims=self.event_dims,
        )

    def _estimate(
        self, g: Bound, point: Tensor, shape: torch.Size, sign: int
    ) -> Estimate | Surrogate:
        estimator = self.training_estimator if self.training else self.evaluation_estimator
        found = estimator(g, point, self.series, self.event_dims, self.source)
        batch = shape[: len(shape) - self.event_dims]
        if isinstance(found, Surrogate):
            return Surrogate(sign * found.surrogate.reshape(batch))
        error = None if found.se is None else found.se.reshape(batch)
        return Estimate(sign * found.value.reshape(batch), error)

    def _number(self, estimate: Estimate | Surrogate) -> Tensor:
        if isinstance(estimate, Surrogate):
            self.error = None
            return estimate.surrogate
        self.error = estimate.se
        return estimate.value

    def _rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *x.shape[x.dim() - self.event_dims :])

    def extra_repr(self) -> str:
        return f"tolerance={self.tolerance:g}, L={self.net.lipschitz():.3f}"


class Residual(Block):
    """z = x + g(x); log det(I + J) at x.

    Reference: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, "Invertible Residual Networks", 2019,
    https://arxiv.org/abs/1811.00995.
    """

    series = RESIDUAL

    def _there(self, g: Bound, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + g(x), x

    def _back(self, g: Bound, z: Tensor) -> tuple[Tensor, Tensor]:
        x = self._solve(g, z)
        return x, x


class InverseResidual(Block):
    """z solves z + g(z) = x; -log det(I + J) at z.

    Reference: Lu, Chen, Li, Wang, Zhu, "Implicit Normalizing Flows", 2021,
    https://arxiv.org/abs/2103.09527.
    """

    series, sign = RESIDUAL, -1

    def _there(self, g: Bound, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self._solve(g, x)
        return z, z

    def _back(self, g: Bound, z: Tensor) -> tuple[Tensor, Tensor]:
        return z + g(z), z


class Monotone(Block):
    """z = sqrt(2) w - x, where w + g(w) = sqrt(2) x; log det(I - J) - log det(I + J) at w.

    The inverse is x = sqrt(2) w - z, where w - g(w) = sqrt(2) z, with the same w: both directions
    cost the same and share the point of their log-determinant.

    Reference: Ahn, Kim, Hong, Kim, "Invertible Monotone Operators for Normalizing Flows", 2022,
    https://arxiv.org/abs/2210.08176 (G(u) there is sqrt(2) g(u / sqrt(2)), with u = sqrt(2) w).
    """

    series = MONOTONE

    def _there(self, g: Bound, x: Tensor) -> tuple[Tensor, Tensor]:
        w = self._solve(g, ROOT_2 * x)
        return ROOT_2 * w - x, w

    def _back(self, g: Bound, z: Tensor) -> tuple[Tensor, Tensor]:
        w = self._solve(lambda w: -g(w), ROOT_2 * z)
        return ROOT_2 * w - z, w


def set_source(model: nn.Module, source: Source | None) -> None:
    """Let all blocks of a model draw from one source."""
    for block in _blocks(model):
        block.source = source


def set_estimators(
    model: nn.Module, *, training: Estimator | None = None, evaluation: Estimator | None = None
) -> None:
    """Change the estimators of all blocks; None leaves one as it is."""
    for block in _blocks(model):
        block.training_estimator = training or block.training_estimator
        block.evaluation_estimator = evaluation or block.evaluation_estimator


def standard_error(model: nn.Module) -> Tensor:
    """Return the standard error of the log-determinant in a model's last pass, (*batch,) in nats.

    The errors of the blocks are independent given the data, so their squares add.

    Raises: ValueError if a block's is unknown: no pass yet, in training, or with a single probe.
    """
    errors = [block.error for block in _blocks(model)]
    known = [error.square() for error in errors if error is not None]
    if not known or len(known) < len(errors):
        raise ValueError(
            f"standard_error: {len(errors) - len(known)} of {len(errors)} blocks know none; "
            "expected a pass in evaluation mode with an estimator of at least two probes"
        )
    return torch.stack(known).sum(0).sqrt()


def _blocks(model: nn.Module) -> list[Block]:
    return [part for part in model.modules() if isinstance(part, Block)]
