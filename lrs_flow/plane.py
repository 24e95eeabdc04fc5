"""What is only possible in two dimensions: the density on a grid, the true one, samples."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.datasets.picture import PixelDensity, load_density
from common.datasets.rings import Rings
from common.flows.bank import Bank
from common.training.seeding import generator
from lrs_flow.protocol import Evaluate

PLANE_SAMPLE = 7
# Published panels show [-4, 4] x [-4, 4]; a density on the unit square is shown a hair inside it.
WINDOWS = {"rings": (-4.0, 4.0), "picture": (0.001, 0.999)}
POINTS = 1 << 16


def true_density(name: str, raw: Path) -> Rings | PixelDensity:
    """Return the density that a set of the plane was drawn from."""
    return Rings() if name == "rings" else load_density(raw)


@torch.no_grad()
def score_plane(
    bank: Bank,
    cfg: Evaluate,
    truth: Rings | PixelDensity,
    data: Dataset,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add the excess over the truth, and the first model's density and samples on a grid.

    The excess is the mean of log p_true - log p_model over the test points, so that the points'
    own sampling error cancels; it is an estimate of the Kullback-Leibler divergence.

    Arrays: `density` and `true_density` (G, G), row by second coordinate from below; `histogram`
    (G, G), counts of samples; `data_histogram` (G, G), counts of train points.
    """
    device = next(bank.parameters()).device
    true_log = truth.log_prob(data.test.x.double()).cpu()
    values = arrays["test"].double()
    gaps = true_log[: values.shape[1]] - values
    per_model = gaps.mean(-1)
    metrics["truth"] = {
        "log_likelihood": true_log.mean().item(),
        "entropy": float(truth.entropy()),
        "excess": per_model.mean().item(),
        "excess_se": (gaps.mean(0).std() / math.sqrt(gaps.shape[1])).item(),
        "excess_per_model": per_model.tolist(),
    }
    low, high = WINDOWS[data.name]
    axis = low + (high - low) * (torch.arange(cfg.grid, dtype=torch.float64) + 0.5) / cfg.grid
    second, first = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack((first, second), -1).reshape(-1, 2)
    dtype = next(bank.parameters()).dtype
    log_density = torch.cat(
        [
            bank.log_prob(part.to(device, dtype).expand(bank.models, -1, -1))[0].double().cpu()
            for part in points.split(POINTS // bank.models)
        ]
    )
    shape = (cfg.grid, cfg.grid)
    arrays["density"] = log_density.exp().reshape(shape).float()
    arrays["true_density"] = truth.log_prob(points).exp().reshape(shape).float()
    drawn = []
    for part in range(math.ceil(cfg.samples / POINTS)):
        noise = generator(cfg.seed, PLANE_SAMPLE, part, device=device)
        drawn.append(bank.sample(min(POINTS, cfg.samples - part * POINTS), noise)[0].cpu())
    arrays["histogram"] = _histogram(torch.cat(drawn), low, high, cfg.grid)
    arrays["data_histogram"] = _histogram(data.train.x, low, high, cfg.grid)


def _histogram(points: Tensor, low: float, high: float, cells: int) -> Tensor:
    """Count points (N, 2) in the cells of a square window, row by second coordinate from below."""
    at = ((points - low) / (high - low) * cells).floor().long()
    inside = ((at >= 0) & (at < cells)).all(-1)
    flat = at[inside, 1] * cells + at[inside, 0]
    return torch.bincount(flat, minlength=cells * cells).reshape(cells, cells).int()
