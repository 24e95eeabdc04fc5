"""Measure how far a trained flow is the exact density it claims to be."""

import copy
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from common.bijections.base import Bijection
from common.flows.flow import Flow
from common.solvers import NotConverged

Module = TypeVar("Module", bound=nn.Module)
Box = tuple[tuple[float, float], tuple[float, float]]

# Rows of the Jacobian per pass (a large RealNVP takes 40 MB for each), and points of the grid per
# call: they bound the memory only.
ROWS = 56
POINTS = 1 << 16


def certificate(
    flow: Flow, x: Tensor, *, jacobian_items: int = 2, box: Box | None = None, n: int = 800
) -> dict[str, Any]:
    """Return the flow's certificate, ready for JSON.

    `round_trip` holds what the function of that name returns; `logdet` the largest `max_error` of
    the log-determinant in nats and the number of `items` it was taken over; `density`, with a box,
    the `integral` that is furthest from 1 among the models and its `error`. A number that is not
    finite is given as "not finite", and a solver's failure as {"error": its message}.

    Args:
        flow: one flow, or K stacked ones; it is not changed, nor moved to another mode or dtype.
        x: items (*models, B, *event) of the data's space.
        jacobian_items: the first so many items of each model meet their exact Jacobian.
        box: (low, high) corners of a rectangle of the plane that holds the density; None where
            events are not 2-D vectors.
        n: cells of the box along each axis.
    """
    event_dims = flow.bijection.event_dims
    few = x.narrow(x.dim() - event_dims - 1, 0, jacobian_items)
    count = math.prod(few.shape[: few.dim() - event_dims])
    found: dict[str, Any] = {
        "round_trip": round_trip(flow.bijection, x),
        "logdet": _attempt(
            lambda: {"max_error": _number(logdet_error(flow.bijection, few)), "items": count}
        ),
    }
    if box is not None:
        exact, models = _copy(flow, torch.float64), x.shape[:-2]

        def log_prob(points: Tensor) -> Tensor:
            return exact.log_prob(points.to(x.device).expand(*models, -1, -1))

        def density() -> dict[str, Any]:
            integral, error = density_integral(log_prob, *box, n)
            worst = (integral - 1).abs().argmax()  # a NaN counts as the largest
            return {
                "integral": _number(integral.flatten()[worst].item()),
                "error": _number(error.flatten()[worst].item()),
            }

        found["density"] = _attempt(density)
    return found


@torch.no_grad()
def round_trip(bijection: Bijection, x: Tensor) -> dict[str, Any]:
    """Return the errors of data -> latent -> data in float32 and in float64.

    The error of an entry is |x' - x| / max(1, |x|): relative for large entries, absolute for small
    ones. `float32` and `float64` each hold its `max` and `median` over all entries, or `error` if a
    solver did not converge. The bijection and x are converted to the dtype, in evaluation mode, and
    x' is compared with the converted x.

    Args:
        bijection: it is copied, not changed.
        x: items (*batch, *event), at least one.
    """

    def errors(dtype: torch.dtype) -> dict[str, Any]:
        exact = x.to(dtype)
        transform = _copy(bijection, dtype)
        z = transform.forward_and_logdet(exact)[0]
        back = transform.inverse_and_logdet(z)[0]
        error = ((back - exact).abs() / exact.abs().clamp(min=1)).flatten()
        return {"max": _number(error.max().item()), "median": _number(error.median().item())}

    return {
        "float32": _attempt(lambda: errors(torch.float32)),
        "float64": _attempt(lambda: errors(torch.float64)),
    }


def logdet_error(bijection: Bijection, x: Tensor) -> float:
    """Return the largest |logdet - ln |det J|| over the items, in nats, computed in float64.

    J is the exact Jacobian of the forward direction, by automatic differentiation, so an event of
    D entries costs as much as D forward and backward passes.

    Args:
        bijection: it is copied, not changed; in evaluation mode items must not mix.
        x: items (*models, B, *event).
    """
    transform = _copy(bijection, torch.float64).requires_grad_(False)
    x = x.detach().double()
    event_dims = transform.event_dims
    claimed = transform.forward_and_logdet(x)[1]
    items = x.unbind(x.dim() - event_dims - 1)
    exact = torch.stack([_log_det(transform, item) for item in items], -1)
    return (claimed - exact).abs().max().item()


def density_integral(
    log_prob: Callable[[Tensor], Tensor],
    low: tuple[float, float],
    high: tuple[float, float],
    n: int,
) -> tuple[Tensor, Tensor]:
    """Return the integral of a density over a rectangle and an estimate of its error.

    The midpoint rule on n x n cells; the error is the difference to the rule on half as many cells
    along each axis, which is larger than the error of the finer grid once both resolve the density.

    Args:
        log_prob: maps points (N, 2), float64 on the CPU, to log-densities (*models, N).
        low: lower left corner.
        high: upper right corner.
        n: even number of cells along each axis.

    Returns:
        Integral and error, (*models,), in float64.
    """
    if n < 2 or n % 2:
        raise ValueError(f"density_integral: expected an even number of cells, got {n}")
    fine, coarse = _midpoint(log_prob, low, high, n), _midpoint(log_prob, low, high, n // 2)
    return fine, (fine - coarse).abs()


@torch.no_grad()
def _midpoint(
    log_prob: Callable[[Tensor], Tensor],
    low: tuple[float, float],
    high: tuple[float, float],
    n: int,
) -> Tensor:
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    axes = [a + (b - a) * middle for a, b in zip(low, high, strict=True)]
    points = torch.cartesian_prod(*axes)
    chunks = [log_prob(part).double().exp().sum(-1) for part in points.split(POINTS)]
    cell = math.prod((b - a) / n for a, b in zip(low, high, strict=True))
    return torch.stack(chunks).sum(0) * cell


def _log_det(transform: Bijection, x: Tensor) -> Tensor:
    """Return ln |det J| (*models,) of one item of each model, x (*models, *event).

    Row i of J is the gradient of output i. Copies of the item stand side by side in the batch and
    copy i gives output i, so one backward pass finds many rows.
    """
    event_dims = transform.event_dims
    batch = x.dim() - event_dims
    size = math.prod(x.shape[batch:])
    rows = []
    for row in torch.arange(size, device=x.device).split(ROWS):
        shape = (*x.shape[:batch], len(row), *x.shape[batch:])
        copies = x.unsqueeze(batch).expand(shape).clone().requires_grad_()
        with torch.enable_grad():
            z = transform.forward_and_logdet(copies)[0].flatten(-event_dims)
            outputs = z.gather(-1, row.view(-1, 1).expand(*z.shape[:-1], 1))
        rows.append(torch.autograd.grad(outputs.sum(), copies)[0].flatten(-event_dims))
    return torch.linalg.slogdet(torch.cat(rows, -2)).logabsdet


def _copy(module: Module, dtype: torch.dtype) -> Module:
    return copy.deepcopy(module).to(dtype).eval()


def _attempt(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return measure()
    except NotConverged as error:
        return {"error": str(error)}


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else "not finite"
