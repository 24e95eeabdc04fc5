"""Score a trained model on test data, certify it, and draw what the figures show.

python -m lu_net.evaluate --profile fast --dataset digits --method lu_net

Reads what training left in results/<profile>/lu_net/<dataset>/<method>/; writes metrics.json and
arrays.npz to results/<profile>/lu_net/scores/<dataset>/<method>/.
"""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from common import datasets
from common.datasets.dataset import Dataset
from common.datasets.mixture import GaussianMixture
from common.errors import UserError, command
from common.metrics.likelihood import (
    bits_per_dim,
    logit_offset,
    logit_space,
    lu_net_units,
    mean_and_se_of_draws,
    realnvp_units,
)
from common.metrics.scores import write_scores
from common.training import config, weights
from common.training.device import pick_device
from lu_net.batches import Items, noise
from lu_net.certify import certify
from lu_net.config import Train
from lu_net.generate import generate, grid_density
from lu_net.latents import FittedGaussian
from lu_net.model import Bank, builder
from lu_net.protocol import Evaluate
from lu_net.train import CURVE

Parsed = TypeVar("Parsed")

# Streams of the evaluation's seed.
TEST, TRAIN, FIT = range(3)
# Items of each model that are scored at once; bounds the memory, and names the noise they get.
CHUNK = 250
# At least so many latent coordinates are kept for the histogram, evenly spaced over the test split.
COORDINATES = 100_000


@command
def main() -> None:
    """Evaluate one model."""
    arguments = argparse.ArgumentParser(prog="python -m lu_net.evaluate", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="mixture, digits, mnist, ...")
    arguments.add_argument("--method", required=True, help="gaussian, lu_net, realnvp, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    coordinates = (args.dataset, args.method)
    trained = config.load(config.section("lu_net", args.profile, "train", *coordinates), Train)
    cfg = config.load(config.section("lu_net", args.profile, "evaluate", *coordinates), Evaluate)
    data = datasets.load(args.dataset, args.raw, trained.valid_per_class, trained.seed)
    folder = args.out / args.profile / "lu_net" / args.dataset / args.method
    bank = restore(folder, trained, data, pick_device(args.device))

    metrics: dict[str, Any] = {"training": read_status(folder)}
    arrays = {"curve": read_curve(folder)}
    if data.levels:
        score_images(bank, trained, cfg, data, metrics, arrays)
    else:
        score_vectors(bank, trained, cfg, data, metrics, arrays)
    metrics["certificate"] = certify(bank, trained, cfg, data)
    scores = args.out / args.profile / "lu_net" / "scores" / args.dataset / args.method
    write_scores(scores, metrics, arrays)


def restore(folder: Path, trained: Train, data: Dataset, device: torch.device) -> Bank:
    """Build the model and load its weights, in the dtype it was trained in."""
    path = folder / "weights.pt"
    state, metadata = weights.read_weights(path, device)
    models = data.classes if trained.model.per_class else 1
    bank = builder(trained.model)(trained.model, data.shape, data.levels, models)
    bank.to(device, getattr(torch, trained.dtype))
    try:
        if metadata["models"] != models:
            raise ValueError(f"{metadata['models']} models")
        bank.load_tensors(state)
    except (KeyError, ValueError, RuntimeError):
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return bank.eval()


def read_status(folder: Path) -> dict[str, Any]:
    """Return how the training ended."""
    return _read(folder / "status.json", lambda text: dict(json.loads(text)))


def read_curve(folder: Path) -> Tensor:
    """Return the learning curve (epochs, columns of `lu_net.train.CURVE`), float64."""

    def parse(text: str) -> Tensor:
        rows = [[float(entry) for entry in line.split(",")] for line in text.splitlines()[1:]]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(CURVE))

    return _read(folder / "curve.csv", parse)


def _read(path: Path, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; train this model first") from None
    except (ValueError, TypeError, RuntimeError):
        raise UserError(f"{path}: damaged; train this model again") from None


@torch.no_grad()
def score_images(
    bank: Bank,
    trained: Train,
    cfg: Evaluate,
    data: Dataset,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add likelihoods on every scale, per class and their mean; draw samples.

    `bits_per_dim` is the standard scale. `logit_space` leaves out the Jacobians of preprocessing;
    `lu_net_units` and `realnvp_units` are what the two published codes would print.
    """
    device = next(bank.parameters()).device
    test = Items.of(data, data.test, trained.model.per_class, device)
    train = Items.of(data, data.train, trained.model.per_class, device)
    fitted = FittedGaussian.of(
        (bank.encode(x).flatten(2), w) for x, w in batches(train, trained, cfg.seed, FIT)
    )

    dims, levels = math.prod(data.shape), data.levels or 0
    shape = (cfg.draws, bank.models, test.x.shape[1])
    bits, offset = (torch.zeros(shape, dtype=torch.float64) for _ in range(2))
    refitted, latents = [], []
    for draw in range(cfg.draws):
        at = 0
        for x, w in batches(test, trained, cfg.seed, TEST, draw):
            span = slice(at, at + w.shape[1])
            at = span.stop
            log_prob = bank.log_prob(x)
            bits[draw, :, span] = bits_per_dim(-log_prob, dims).cpu()
            offset[draw, :, span] = logit_offset(x.flatten(2), levels, trained.model.margin).cpu()
            if draw == 0:
                z = bank.encode(x).flatten(2)
                latents.append(z[w > 0].flatten().float().cpu())
                logdet = log_prob.double() - standard_normal(z)
                refitted.append(bits_per_dim(-fitted.log_prob(z) - logdet, dims).cpu())
    h = logit_space(bits, offset)
    scales = {
        "bits_per_dim": bits,
        "logit_space": h,
        "lu_net_units": lu_net_units(h),
        "realnvp_units": realnvp_units(h),
        "fitted_gaussian_bits_per_dim": torch.cat(refitted, 1)[None],
    }
    metrics["test"] = {name: per_class(values, test.sizes) for name, values in scales.items()}
    metrics["test"]["items"] = list(test.sizes)
    coordinates = torch.cat(latents)
    arrays["latents"] = coordinates[:: max(1, len(coordinates) // COORDINATES)].clone()
    limited = Items(
        train.x[:, : cfg.train_items],
        train.weights[:, : cfg.train_items],
        tuple(min(n, cfg.train_items) for n in train.sizes),
        train.levels,
    )
    nats = [-bank.log_prob(x) for x, _ in batches(limited, trained, cfg.seed, TRAIN)]
    known = bits_per_dim(torch.cat(nats, 1).double().cpu(), dims)
    metrics["train"] = {"bits_per_dim": per_class(known[None], limited.sizes)}
    generate(bank, trained, cfg, test, fitted, metrics, arrays)


@torch.no_grad()
def score_vectors(
    bank: Bank,
    trained: Train,
    cfg: Evaluate,
    data: Dataset,
    metrics: dict[str, Any],
    arrays: dict[str, Tensor],
) -> None:
    """Add the test likelihood in nats beside the true entropy, and the density's integral."""
    device = next(bank.parameters()).device
    truth = GaussianMixture.published()
    for name, split in (("test", data.test), ("train", data.train)):
        items = Items.of(data, split, trained.model.per_class, device)
        parts = [-bank.log_prob(x) for x, _ in batches(items, trained, cfg.seed, TEST)]
        nats = torch.cat(parts, 1).double().cpu()
        true_nats = -truth.log_prob(items.x.cpu())
        metrics[name] = {
            "nats": per_class(nats[None], items.sizes),
            "true_nats": per_class(true_nats[None], items.sizes),
        }
        if name == "test":
            metrics[name]["excess_over_truth"] = per_class((nats - true_nats)[None], items.sizes)
            latents = [bank.encode(x) for x, _ in batches(items, trained, cfg.seed, TEST)]
            arrays["latents"] = torch.cat(latents, 1)[0].double().cpu()
    metrics["entropy"] = truth.entropy()
    grid_density(bank, cfg, truth, data, metrics, arrays)


def batches(
    items: Items, trained: Train, seed: int, stream: int, draw: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield chunks of every model's items in order: x (K, B, *shape), weights (K, B).

    The noise is a function of the last three arguments alone.
    """
    dtype = getattr(torch, trained.dtype)
    device = items.x.device
    for chunk, span in enumerate(torch.arange(items.x.shape[1], device=device).split(CHUNK)):
        index = span.expand(len(items.sizes), -1)
        x = items.take(index, dtype, noise(device, seed, stream, draw, chunk))
        yield x, items.weights[:, span]


def per_class(values: Tensor, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return mean and standard error of each model, and of their mean.

    Args:
        values: (R, K, N), at R noise draws of each model's N items, padding included.
        sizes: how many of the N items are the model's own.
    """
    rows = [mean_and_se_of_draws(values[:, k, :n]) for k, n in enumerate(sizes)]
    means, errors = [m for m, _ in rows], [e for _, e in rows]
    return {
        "mean": sum(means) / len(means),
        "se": math.sqrt(sum(e * e for e in errors)) / len(errors),
        "per_model": means,
        "per_model_se": errors,
    }


def standard_normal(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) in nats: (K, B, D) -> (K, B), float64."""
    return -0.5 * (z.double().square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))


if __name__ == "__main__":
    main()
