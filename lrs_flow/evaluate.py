"""Score a trained method on test data, certify it, and draw what the figures show.

python -m lrs_flow.evaluate --profile fast --dataset wine --method lrs_c

Reads what training left in results/<profile>/lrs_flow/<dataset>/<method>/; writes metrics.json and
arrays.npz to results/<profile>/lrs_flow/scores/<dataset>/<method>/.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.datasets.dataset import Dataset
from common.errors import UserError, command
from common.flows.bank import Bank
from common.metrics.certificate import Box, certificate, round_trip
from common.metrics.scores import write_scores
from common.metrics.worst import worst_of
from common.training import config, weights
from common.training.curve import read_curve
from common.training.device import pick_device
from common.training.provenance import parameter_count
from common.training.seeding import generator
from common.training.status import read_status
from lrs_flow.config import Train
from lrs_flow.data import load_folds
from lrs_flow.items import Items, SplitName
from lrs_flow.model import spline_backend
from lrs_flow.plane import WINDOWS, score_plane, true_density
from lrs_flow.protocol import Evaluate
from lrs_flow.train import CHUNK, CURVE, make_bank, nats_per_unit

# Streams of the evaluation's seed.
SCORE, CERTIFY, SAMPLE = range(3)
TEMPERATURES = (0.5, 0.75, 1.0)
# Around 2-D data, wide enough that what lies outside the box is below the quoted digits.
BORDER = 4.0


@command
def main() -> None:
    """Evaluate one method."""
    arguments = argparse.ArgumentParser(prog="python -m lrs_flow.evaluate", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="rings, wine, bsds300, mnist, ...")
    arguments.add_argument("--method", required=True, help="lrs_c, rq_c, lrs_ar, ffjord, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    coordinates = (args.dataset, args.method)
    section = config.section("lrs_flow", args.profile, "train", *coordinates)
    trained = config.load(section, Train)
    section = config.section("lrs_flow", args.profile, "evaluate", args.dataset)
    cfg = config.load(section, Evaluate)
    folds = load_folds(args.dataset, args.raw, trained.models, trained.seed)
    root = args.out / args.profile / "lrs_flow"
    folder = root / args.dataset / args.method
    bank = restore(folder, trained, folds, pick_device(args.device))

    curve = read_curve(folder / "curve.csv")
    arrays = {f"curve_{name}": torch.tensor(curve.get(name, [])) for name in CURVE}
    metrics: dict[str, Any] = {
        "training": read_status(folder),
        "parameters": parameter_count(bank) // bank.models,
        "models": bank.models,
        "cross_validated": len(folds) > 1,
    }
    with spline_backend(trained.model, trained.compiled):
        likelihood(bank, trained, cfg, folds, metrics, arrays)
        if folds[0].levels:
            draw_images(bank, cfg, folds[0].levels, arrays)
        elif args.dataset in WINDOWS:
            score_plane(bank, cfg, true_density(args.dataset, args.raw), folds[0], metrics, arrays)
    metrics["certificate"] = certify(bank, trained, cfg, folds)
    write_scores(root / "scores" / args.dataset / args.method, metrics, arrays)


def restore(folder: Path, trained: Train, folds: Sequence[Dataset], device: torch.device) -> Bank:
    """Build the models and load their weights, in the dtype they were trained in."""
    path = folder / "weights.pt"
    state, _ = weights.read_weights(path, device)
    bank = make_bank(trained, folds).to(device, getattr(torch, trained.dtype))
    try:
        bank.load_tensors(state)
    except (KeyError, IndexError, RuntimeError):
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return bank.eval()


@torch.no_grad()
def likelihood(
    bank: Bank,
    trained: Train,
    cfg: Evaluate,
    folds: Sequence[Dataset],
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add the likelihoods of the test, validation and train splits, in nats or bits/dim.

    Vectors: the log-likelihood, higher is better. Images: bits per dimension, lower is better.
    `test` holds the values of all items, (K, N), averaged over noise draws, NaN where a model has
    fewer items than others.
    """
    sign = 1.0 if folds[0].levels else -1.0
    limits: dict[SplitName, int | None] = {
        "test": cfg.test_items,
        "valid": trained.valid_items,
        "train": cfg.train_items,
    }
    for split, most in limits.items():
        draws = cfg.draws if split == "test" else 1
        nats = item_nats(bank, trained, cfg, folds, split, most, draws)
        values = sign * nats / nats_per_unit(folds[0])
        metrics[split] = summary(values, len(folds) > 1)
        if split == "test":
            arrays["test"] = values.float()
    metrics["unit"] = "bits/dim" if folds[0].levels else "nats"


def item_nats(
    bank: Bank,
    trained: Train,
    cfg: Evaluate,
    folds: Sequence[Dataset],
    split: SplitName,
    most: int | None,
    draws: int,
) -> Tensor:
    """Return negative log-likelihoods (K, N) in nats, float64, averaged over noise draws.

    NaN marks an absent item; where a model gives no number it is inf, so that none is left out.
    """
    device = next(bank.parameters()).device
    dtype = getattr(torch, trained.dtype)
    items = Items.of(folds, split, bank.models, device, dtype, most)
    positions = torch.arange(items.x.shape[1], device=device)
    blocks = []
    for chunk, block in enumerate(positions.split(CHUNK)):
        total = torch.zeros(bank.models, len(block), dtype=torch.float64, device=device)
        for draw in range(draws):
            noise = generator(cfg.seed, SCORE, draw, chunk, device=device)
            x = items.take(block.expand(bank.models, -1), dtype, noise)
            total -= bank.log_prob(x).double()
        total.masked_fill_(total.isnan(), torch.inf)
        blocks.append(torch.where(items.mask(block), total / draws, torch.nan).cpu())
    return torch.cat(blocks, -1)


def summary(values: Tensor, cross_validated: bool) -> dict[str, Any]:
    """Return mean, errors and number of items of values (K, N), NaN for absent items.

    `se_items` is the sampling error of a single model's mean over its test items, `sd_models` the
    standard deviation between models. `se` is the error of the overall mean: folds have test items
    of their own and differ by them too, so it is sd / sqrt(K) over folds; models that share the
    test items get the sampling error of the items' averages over models.
    """
    means = values.nanmean(-1)
    counts = (~values.isnan()).sum(-1)
    variances = (values - means[:, None]).square().nansum(-1) / (counts - 1)
    errors = (variances / counts).sqrt()
    between = means.std().item() if len(means) > 1 else math.nan
    if cross_validated:
        se = between / math.sqrt(len(means))
    else:
        se = (values.mean(0).std() / math.sqrt(values.shape[1])).item()
    return {
        "mean": means.mean().item(),
        "se": se,
        "sd_models": between,
        "se_items": errors.mean().item(),
        "per_model": means.tolist(),
        "per_model_se": errors.tolist(),
        "items": counts.tolist(),
    }


@torch.no_grad()
def draw_images(bank: Bank, cfg: Evaluate, levels: int, arrays: dict[str, Tensor]) -> None:
    """Add samples (N, C, H, W) of the first model at each temperature, in 0 ... levels - 1."""
    device = next(bank.parameters()).device
    for temperature in TEMPERATURES:
        noise = generator(cfg.seed, SAMPLE, device=device)
        draws = bank.each[0].sample(cfg.samples, generator=noise, temperature=temperature)
        arrays[f"samples_{temperature:g}"] = draws.floor().clamp(0, levels - 1).to(torch.uint8)


def certify(bank: Bank, trained: Train, cfg: Evaluate, folds: Sequence[Dataset]) -> dict[str, Any]:
    """Return round-trip and log-det errors, the worst of all models, on test items.

    For 2-D data on the whole plane also the integral of the density.
    """
    device = next(bank.parameters()).device
    items = Items.of(folds, "test", bank.models, device, torch.float64, cfg.certified)
    index = torch.arange(items.x.shape[1], device=device).expand(bank.models, -1)
    x = items.take(index, torch.float64, generator(cfg.seed, CERTIFY, device=device))
    plane = folds[0].shape == (2,) and trained.model.tails
    box = _box(folds[0].train.x) if plane else None
    few = min(cfg.jacobians, index.shape[1])
    found = []
    for flow, part, _ in bank.parts(x):
        if few:
            found.append(certificate(flow, part, jacobian_items=few, box=box))
        else:
            found.append({"round_trip": round_trip(flow.bijection, part), "logdet": {"items": 0}})
    return worst_of(found)


def _box(x: Tensor) -> Box:
    low, high = x.amin(0) - BORDER, x.amax(0) + BORDER
    return (float(low[0]), float(low[1])), (float(high[0]), float(high[1]))


if __name__ == "__main__":
    main()
