"""The published fixed-point solver: Anderson of depth one, then a damped iteration."""

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]

PATIENCE = 10  # iterations of Anderson without improvement
RIDGE = 1e-8
SLOW, SHRINK, LEAST = 30, 0.9, 0.1  # of the damped iteration


@torch.no_grad()
def solve(f: Map, start: Tensor, eps: float, cap: int) -> tuple[Tensor, int]:
    """Return w (B, D) with w = f(w), and how often f was called.

    It converged if every number of the batch meets |f(w) - w| <= eps (1 + |start|): one hard row
    keeps all rows iterating. What does not converge is logged and returned, as published.

    Args:
        f: (B, D) -> (B, D), row by row.
        start: (B, D).
        eps: the tolerance, absolute and relative to the start.
        cap: the most calls of f by each of the two iterations.
    """
    scale = eps + eps * start.abs()
    w, error, calls = _anderson(f, start, scale, cap)
    if error > 1:
        w, error, more = _damped(f, start if error > 10 else w, scale, cap)
        calls += more
    if error > 1:
        logging.getLogger(__name__).info("not converged: %.3g times the tolerance", error)
    return w, calls


def _anderson(f: Map, start: Tensor, scale: Tensor, cap: int) -> tuple[Tensor, float, int]:
    """Mix two values of f per row; return iterate, error in units of the tolerance, calls."""
    w = start
    value = f(w)
    residual = value - w
    error = best = _worst(residual, scale)
    calls = 1
    waited = 0
    old_value = old_residual = None
    while error > 1 and waited < PATIENCE and calls < cap:
        w = value
        if old_value is not None and old_residual is not None:
            change = residual - old_residual
            dot = (change * residual).sum(-1, keepdim=True)
            mixing = dot / (change.square().sum(-1, keepdim=True) + RIDGE)
            w = value - mixing * (value - old_value)
        old_value, old_residual = value, residual
        value = f(w)
        residual = value - w
        error = _worst(residual, scale)
        calls += 1
        waited = 0 if error < best else waited + 1
        best = min(best, error)
    return w, error, calls


def _damped(f: Map, w: Tensor, scale: Tensor, cap: int) -> tuple[Tensor, float, int]:
    """Average w and f(w), per row with less of the latter when it does not improve."""
    damping = torch.full_like(w[:, :1], 0.5)
    best = torch.full_like(damping, torch.inf)
    waited = torch.zeros_like(damping)
    calls, error = 0, math.inf
    while calls < cap:
        residual = f(w) - w
        calls += 1
        errors = (residual.abs() / scale).amax(-1, keepdim=True)
        error = errors.max().item()
        if error <= 1:
            break
        waited = torch.where(errors < best, 0, waited + 1)
        best = torch.minimum(best, errors)
        stuck = waited >= SLOW
        damping = torch.where(stuck, (SHRINK * damping).clamp(min=LEAST), damping)
        waited = waited.masked_fill(stuck, 0)
        w = w + damping * residual
    return w, error, calls


def _worst(residual: Tensor, scale: Tensor) -> float:
    return (residual.abs() / scale).max().item()
