"""Jacobians and their log-determinants in low dimension, D backward passes each."""

from collections.abc import Callable

import torch
from torch import Tensor

from common.logdet.linearise import Product, linearise


def jacobian(g: Callable[[Tensor], Tensor], x: Tensor, event_dims: int = 1) -> Tensor:
    """Return dg_i / dx_j of each sample at [..., i, j], (*batch, D, D).

    g maps each sample on its own, so its Jacobian is block-diagonal over the samples and D backward
    passes give all blocks: the same unit vector goes to the whole batch. Unlike a `vmap` over
    samples this leaves g its leading dimensions. The result can be differentiated, unless under
    `torch.no_grad()`.

    Args:
        g: maps (*batch, *event) to the same shape.
        x: (*batch, *event).
        event_dims: number of trailing dimensions that form an event; D is their size, flattened.
    """
    return dense_jacobian(linearise(g, x, create_graph=True)[1], x, event_dims)


def dense_jacobian(vjp: Product, like: Tensor, event_dims: int = 1) -> Tensor:
    """Return J (*batch, D, D) of the product v -> J^T v, where `like` has the shape of v."""
    rows = [vjp(unit).flatten(-event_dims) for unit in _units(like, event_dims)]
    return torch.stack(rows, -2)


def exact_trace(vjp: Product, like: Tensor, event_dims: int = 1) -> Tensor:
    """Return tr J (*batch,) of the product v -> J^T v, where `like` has the shape of v."""
    entries = [
        vjp(unit).flatten(-event_dims)[..., i] for i, unit in enumerate(_units(like, event_dims))
    ]
    return torch.stack(entries, -1).sum(-1)


def residual_logdet(jacobian: Tensor) -> Tensor:
    """Return log |det(I + J)|, (*batch, D, D) -> (*batch,). Where |J| < 1, det(I + J) > 0."""
    return _shifted_logdet(jacobian)


def monotone_logdet(jacobian: Tensor) -> Tensor:
    """Return log |det(I - J)| - log |det(I + J)|, (*batch, D, D) -> (*batch,)."""
    return _shifted_logdet(-jacobian) - _shifted_logdet(jacobian)


def _shifted_logdet(jacobian: Tensor) -> Tensor:
    """Return log |det(I + J)|, in closed form up to D = 2."""
    features = jacobian.shape[-1]
    if features == 1:
        return (1 + jacobian[..., 0, 0]).abs().log()
    if features == 2:
        (a, b), (c, d) = (row.unbind(-1) for row in jacobian.unbind(-2))
        return ((1 + a) * (1 + d) - b * c).abs().log()
    identity = torch.eye(features, dtype=jacobian.dtype, device=jacobian.device)
    return torch.linalg.slogdet(identity + jacobian).logabsdet


def _units(like: Tensor, event_dims: int) -> Tensor:
    """Return the D unit vectors of an event over the whole batch, (D, *batch, *event)."""
    batch, event = like.shape[:-event_dims], like.shape[-event_dims:]
    identity = torch.eye(event.numel(), dtype=like.dtype, device=like.device)
    units = identity.reshape(-1, *[1] * len(batch), *event)
    return units.expand(-1, *batch, *event)
