"""The certificate of all models of a bank."""

from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.metrics.certificate import Box, certificate, round_trip
from common.metrics.worst import worst_of
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


def _box(x: Tensor) -> Box:
    low, high = x.amin(0) - BORDER, x.amax(0) + BORDER
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))
