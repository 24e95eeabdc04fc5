"""Which estimate of a block's log-determinant is taken: one to train by, others to report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor

from common.logdet import (
    MONOTONE,
    Estimate,
    Lengths,
    Series,
    Surrogate,
    dense_jacobian,
    gaussian,
    linearise,
    memory_saving_surrogate,
    monotone_logdet,
    neumann_surrogate,
    poisson,
    power_series,
    rademacher,
    residual_logdet,
    roulette,
)
from monotone_flow.images.nets import Bound

Noise = Literal["gaussian", "rademacher"]
NOISES: dict[str, Callable[[int, Tensor, torch.Generator], Tensor]] = {
    "gaussian": gaussian,
    "rademacher": rademacher,
}


@dataclass(frozen=True)
class Source:
    """Where random numbers come from.

    Args:
        probes: draws the probes, on the device of the data or on the CPU.
        lengths: draws the lengths of series; on the CPU, as the host must know the longest.
    """

    probes: torch.Generator
    lengths: torch.Generator

    @classmethod
    def seeded(cls, seed: int, device: torch.device | str = "cpu") -> Self:
        """Return a source for data on a device, a function of the seed alone."""
        return cls(
            torch.Generator(device).manual_seed(seed), torch.Generator().manual_seed(seed + 1)
        )


class Estimator(Protocol):
    """Estimate log det(I + J), or log det(I - J) - log det(I + J), of a network at x."""

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Estimate | Surrogate:
        """Return the estimate per sample; x (B, *event), result (B,)."""
        ...


@dataclass(frozen=True)
class NeumannRoulette:
    """Train: an unbiased gradient, and no value (see `Surrogate`).

    Args:
        exact: terms that are always there.
        rate: mean of the Poisson number of further ones.
        probes: per sample.
        noise: distribution of the probes.
        shared: one length for the whole batch (published), not one per sample.
        memory_saving: keep no graph until the backward pass, at the cost of a second one if the
            loss does not weigh all samples alike.
    """

    exact: int = 10
    rate: float = 2.0
    probes: int = 1
    noise: Noise = "rademacher"
    shared: bool = False
    memory_saving: bool = True

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Surrogate:
        probes, lengths = _draw(self, x, event_dims, source)
        if self.memory_saving:
            return memory_saving_surrogate(g, x, probes, series, lengths, g.tensors, event_dims)
        _, vjp = linearise(g, x, create_graph=True)
        return neumann_surrogate(vjp, probes, series, lengths, event_dims)


@dataclass(frozen=True)
class Roulette:
    """Report: an unbiased value, with a standard error where there are several probes.

    Args: as for `NeumannRoulette`.
    """

    exact: int = 20
    rate: float = 2.0
    probes: int = 2
    noise: Noise = "rademacher"
    shared: bool = False

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Estimate:
        probes, lengths = _draw(self, x, event_dims, source)
        _, vjp = linearise(g, x, create_graph=True)
        return roulette(vjp, probes, series, lengths, event_dims)


@dataclass(frozen=True)
class PowerSeries:
    """Report: the value of a fixed number of terms, biased by `remainder_bound` at most.

    Args:
        terms: how many.
        probes: per sample.
        noise: distribution of the probes.
    """

    terms: int = 40
    probes: int = 2
    noise: Noise = "rademacher"

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Estimate:
        probes = _probes(self.noise, self.probes, x, source)
        _, vjp = linearise(g, x, create_graph=True)
        return power_series(vjp, probes, series, self.terms, event_dims)


@dataclass(frozen=True)
class Exact:
    """Report: the exact value from the whole Jacobian, D backward passes: for small events."""

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Estimate:
        _, vjp = linearise(g, x, create_graph=True)
        logdet = monotone_logdet if series is MONOTONE else residual_logdet
        return Estimate.exact(logdet(dense_jacobian(vjp, x, event_dims)))


@dataclass(frozen=True)
class Omit:
    """Return zeros and do nothing, for passes whose log-determinants nobody reads."""

    def __call__(
        self, g: Bound, x: Tensor, series: Series, event_dims: int, source: Source | None
    ) -> Estimate:
        return Estimate.exact(x.new_zeros(x.shape[:-event_dims]))


PUBLISHED_TRAINING = NeumannRoulette(noise="gaussian", shared=True)
PUBLISHED_EVALUATION = Roulette(probes=1, noise="gaussian", shared=True)


def _draw(
    settings: NeumannRoulette | Roulette, x: Tensor, event_dims: int, source: Source | None
) -> tuple[Tensor, Lengths]:
    probes = _probes(settings.noise, settings.probes, x, source)
    assert source is not None
    lengths = poisson(
        settings.rate,
        settings.exact,
        x.shape[:-event_dims],
        source.lengths,
        probes=settings.probes,
        shared=settings.shared,
    )
    return probes, lengths


def _probes(noise: Noise, n: int, x: Tensor, source: Source | None) -> Tensor:
    if source is None:
        raise ValueError(
            "estimator: expected a source of random numbers, got none; call "
            "set_source(model, Source.seeded(seed, device)) first"
        )
    return NOISES[noise](n, x, source.probes)
