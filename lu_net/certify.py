"""The certificate of all models of a bank."""

import math
from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.metrics.certificate import Box, certificate, round_trip
from lu_net.batches import Items, noise
from lu_net.config import Train
from lu_net.model import Bank, Stack
from lu_net.protocol import Evaluate

# Stream of the evaluation's seed; `lu_net.evaluate` and `lu_net.generate` use the others.
CERTIFY = 6
# Around 2-D data, wide enough that what lies outside the box is below the quoted digits.
BORDER = 6.0


def certify(bank: Bank, trained: Train, cfg: Evaluate, data: Dataset) -> dict[str, Any]:
    """Return round-trip and log-det errors, the worst of all models, on dequantised test items.

    For 2-D data also the integral of the density; for LU-Net the smallest |u_dd|.
    """
    device = next(bank.parameters()).device
    items = Items.of(data, data.test, trained.model.per_class, device)
    index = torch.arange(cfg.certified, device=device).expand(bank.models, -1)
    index = index % torch.tensor(items.sizes, device=device).unsqueeze(-1)
    x = items.take(index, torch.float64, noise(device, cfg.seed, CERTIFY))
    box = None if data.levels else _box(data.train.x)
    found = []
    for flow, part, _ in bank.parts(x):
        if cfg.jacobians:
            found.append(certificate(flow, part, jacobian_items=cfg.jacobians, box=box))
        else:
            found.append({"round_trip": round_trip(flow.bijection, part), "logdet": {"items": 0}})
    worst = worst_of(found)
    if isinstance(bank, Stack):
        diagonals = [layer.packed.diagonal(dim1=-2, dim2=-1) for layer in bank.layers()]
        worst["smallest_abs_diagonal"] = torch.cat(diagonals).abs().min().item()
    return worst


def worst_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one certificate for several, each entry from the model that fares worst in it.

    Errors are the largest ones, the integral is the one furthest from 1, and items add up. What is
    not finite is worse than any number, and a solver's failure than anything else.
    """
    trips = [one["round_trip"] for one in found]
    logdets = [one["logdet"] for one in found]
    worst: dict[str, Any] = {
        "round_trip": {dtype: _largest([trip[dtype] for trip in trips]) for dtype in trips[0]},
        "logdet": _largest(logdets),
    }
    if "items" in worst["logdet"]:
        worst["logdet"]["items"] = sum(logdet["items"] for logdet in logdets)
    if "density" in found[0]:
        worst["density"] = max((one["density"] for one in found), key=_distance)
    return worst


def _largest(parts: list[dict[str, Any]]) -> dict[str, Any]:
    for part in parts:
        if "error" in part:
            return part
    return {key: max((part[key] for part in parts), key=_size) for key in parts[0]}


def _distance(density: dict[str, Any]) -> tuple[bool, float]:
    """Return what orders densities: a failure, then how far the integral is from 1."""
    failed = "integral" not in density
    return failed, math.inf if failed else abs(_size(density["integral"]) - 1)


def _size(value: float | str) -> float:
    return math.inf if isinstance(value, str) else value


def _box(x: Tensor) -> Box:
    low, high = x.amin(0) - BORDER, x.amax(0) + BORDER
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))
