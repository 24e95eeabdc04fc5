"""Score fits of the staircase: errors on a fixed grid, slopes, certificates."""

import math
from typing import Any, cast

import torch
from torch import Tensor

from common.flows.bank import Stack
from common.metrics.certificate import certificate
from common.training.seeding import generator
from monotone_flow import staircase
from monotone_flow.chain import OperatorChain, StackedActNorm
from monotone_flow.config import Train
from monotone_flow.over_models import mean_over_models
from monotone_flow.protocol import Evaluate
from monotone_flow.vectors import CHUNK, chain_of

CERTIFY = 0
DRAWN = 2000  # points of the curves in the figures


@torch.no_grad()
def score_fit(
    last: Stack,
    best: Stack,
    trained: Train,
    cfg: Evaluate,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add mean squared errors, slopes and certificates to metrics, and curves to arrays.

    Arrays: `grid` and `target` (G,), `fit` (K, G) and `slope` (K, G) of the last weights.
    """
    device = next(last.parameters()).device
    dtype = getattr(torch, trained.dtype)
    x, y = staircase.grid(cfg.points, dtype=dtype, device=device)
    metrics["unit"] = "mse"
    for name, stack in (("final", last), ("best", best)):
        errors = torch.cat([fit(stack, part)[0] for part in x.split(CHUNK)], 1) - y.T
        metrics[name] = mean_over_models(errors.double().square().mean(-1))

    chain = chain_of(last)
    bounds = chain.nets.bounds()
    metrics["lipschitz"] = {"bound": bounds.max().item(), "per_model": bounds.amax(1).tolist()}
    grid, target = staircase.grid(DRAWN, dtype=dtype, device=device)
    values, log_slopes = fit(last, grid)
    slopes = log_slopes.exp()
    metrics["largest_slope"] = {
        **mean_over_models(slopes.amax(-1).double()),
        "possible": largest_slope(chain.layout, bounds[0].tolist(), _scales(chain)),
    }
    arrays.update(grid=grid[:, 0], target=target[:, 0], fit=values, slope=slopes)
    noise = generator(cfg.seed, CERTIFY, device=device)
    points, _ = staircase.batch(cfg.certified, noise, dtype=torch.float64)
    batch = points.expand(last.models, -1, -1)
    with torch.enable_grad():  # the exact Jacobians are those of automatic differentiation
        metrics["certificate"] = certificate(last.flow, batch, jacobian_items=cfg.jacobians)


def fit(stack: Stack, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values and the logarithms of the slopes of K models at x (N, 1), (K, N) each."""
    z, logdet = chain_of(stack).transform(x.expand(stack.models, -1, -1), logdet=True)
    return z.squeeze(-1), logdet


def _scales(chain: OperatorChain) -> float:
    """Return the product of the first model's scales."""
    scales = [cast(StackedActNorm, part) for part in chain.scales]
    return math.prod(float(scale.log_scale[0].sum().exp()) for scale in scales)


def largest_slope(layout: tuple[str, ...], constants: list[float], scale: float) -> float:
    """Return the largest slope that blocks with these Lipschitz constants and scales allow."""
    limits = {
        "residual": lambda c: 1 + c,
        "inverse_residual": lambda c: 1 / (1 - c),
        "monotone": lambda c: (1 + c) / (1 - c),
    }
    product = scale
    blocks = [part for part in layout if part in limits]
    for part, constant in zip(blocks, constants, strict=True):
        product *= limits[part](constant)
    return product
