"""Random lengths of a series, and the weights that keep its mean."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lengths:
    """Hold how many terms are kept and what each counts, for every probe of every sample.

    Term k weighs 1 for k <= exact, else 1 / P(N >= k - exact) where it is kept and 0 where not: 1
    on average.

    Args:
        n: (probes, *batch), whole numbers exact + N.
        weights: (terms, probes, *batch) of the terms 1 ... terms, terms the largest n; float64.
    """

    n: Tensor
    weights: Tensor

    def weights_of(self, probes: Tensor, event_dims: int) -> tuple[Tensor, ...]:
        """Return for each of the probes (n, *batch, *event) its weights (terms, *batch).

        Raises: ValueError unless there is one length for each probe of each sample.
        """
        if self.n.shape != probes.shape[:-event_dims]:
            raise ValueError(
                f"lengths: expected shape {tuple(probes.shape[:-event_dims])}, one for each probe "
                f"of each sample, got {tuple(self.n.shape)}; draw them with probes={len(probes)} "
                f"for the batch {tuple(probes.shape[1:-event_dims])}"
            )
        return self.weights.to(probes, non_blocking=True).unbind(1)


def poisson(
    rate: float,
    exact: int,
    batch_shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    probes: int = 1,
    shared: bool = False,
) -> Lengths:
    """Draw exact + N terms, N Poisson with the given rate.

    The weights grow as k!, faster than the terms of any J fall in the worst case: for no L > 0 is
    the variance finite over all J with |J| <= L. Where J is small this never shows; `SecondMoment`
    keeps watch.

    Args:
        rate: mean of N, positive.
        exact: terms that are always there.
        batch_shape: of the samples.
        generator: on the CPU, unless the wait for the device that its largest length costs is free.
        probes: how many lengths a sample needs.
        shared: let all samples have one length per probe (as published); their errors are then
            not independent. Otherwise each has its own, and the longest decides the time.

    Raises: ValueError for a rate that is not positive.

    Reference: Residual Flows for Invertible Generative Modeling, Chen, Behrmann, Duvenaud and
    Jacobsen, 2019, https://arxiv.org/abs/1906.02735, section 3.1.
    """
    if not rate > 0:
        raise ValueError(f"poisson: expected a positive rate, got {rate}")
    shape = _draw_shape(batch_shape, probes, shared)
    rates = torch.full(shape, rate, dtype=torch.float64, device=generator.device)
    extra = torch.poisson(rates, generator=generator)

    def survival(j: Tensor) -> Tensor:
        # P(N >= j) is the incomplete gamma function: no small number comes as a difference from 1.
        return torch.special.gammainc(j, torch.full_like(j, rate))

    return _lengths(extra, exact, survival, (probes, *batch_shape))


def geometric(
    p: float,
    exact: int,
    batch_shape: tuple[int, ...],
    generator: torch.Generator,
    *,
    probes: int = 1,
    shared: bool = False,
) -> Lengths:
    """Draw exact + N terms, N = 1, 2, ... geometric: P(N >= j) = (1 - p)^(j - 1).

    The variance is finite for all J with |J| <= L if L^2 < 1 - p.

    Args:
        p: chance to stop after each term, in (0, 1).
        exact: terms that are always there, beside the first of N.
        batch_shape: of the samples.
        generator: as for `poisson`.
        probes: how many lengths a sample needs.
        shared: as for `poisson`.

    Raises: ValueError for p outside (0, 1).

    Reference: as for `poisson`.
    """
    if not 0 < p < 1:
        raise ValueError(f"geometric: expected p in (0, 1), got {p}")
    shape = _draw_shape(batch_shape, probes, shared)
    extra = torch.empty(shape, dtype=torch.float64, device=generator.device)
    extra.geometric_(p, generator=generator)
    return _lengths(extra, exact, lambda j: (1 - p) ** (j - 1), (probes, *batch_shape))


def _draw_shape(batch_shape: tuple[int, ...], probes: int, shared: bool) -> tuple[int, ...]:
    return (probes, *[1] * len(batch_shape)) if shared else (probes, *batch_shape)


def _lengths(
    extra: Tensor, exact: int, survival: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> Lengths:
    n = exact + extra.long()
    terms = int(n.max()) if n.numel() > 0 else exact
    j = torch.arange(1 - exact, terms - exact + 1, dtype=torch.float64, device=extra.device)
    weights = torch.where(j > 0, 1 / survival(j.clamp(min=1)), 1.0)
    weights = weights.reshape(-1, *[1] * n.dim())
    kept = extra >= j.reshape(-1, *[1] * n.dim())
    return Lengths(n.expand(shape), (weights * kept).expand(terms, *shape))
