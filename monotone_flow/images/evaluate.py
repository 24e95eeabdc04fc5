"""Score a trained flow of images on test images, certify it, and draw samples.

python -m monotone_flow.images.evaluate --profile fast --dataset digits --method monotone_cpila

Reads what training left in results/<profile>/monotone_flow/<dataset>/<method>/; writes metrics.json
and arrays.npz to results/<profile>/monotone_flow/scores/<dataset>/<method>/.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import datasets
from common.datasets.dataset import Dataset
from common.errors import UserError, command
from common.metrics.scores import write_scores
from common.solvers import NotConverged
from common.training import config, weights
from common.training.curve import read_curve
from common.training.device import pick_device
from common.training.seeding import generator
from common.training.status import read_status
from monotone_flow.images.config import Evaluate, Train
from monotone_flow.images.lipschitz import update_norms
from monotone_flow.images.model import ImageModel, build, count
from monotone_flow.images.power_iteration import RelativeChange
from monotone_flow.images.scores import certify, likelihood, lipschitz, meet_exact
from monotone_flow.images.train import CURVE

SAMPLE = 4  # stream of the evaluation's seed; those of the scores are in `scores`
MOST_ITERATIONS = 10_000


@command
def main() -> None:
    """Evaluate one method."""
    arguments = argparse.ArgumentParser(
        prog="python -m monotone_flow.images.evaluate", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="digits, mnist, cifar10, imagenet64")
    arguments.add_argument("--method", required=True, help="monotone_cpila, residual_flow, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("monotone_flow", args.profile, "images")
    trained = config.load(section.at("train").at(args.dataset).at(args.method), Train)
    cfg = config.load(section.at("evaluate").at(args.dataset), Evaluate)
    data = datasets.load(args.dataset, args.raw, seed=trained.seed)
    root = args.out / args.profile / "monotone_flow"
    folder = root / args.dataset / args.method
    model = restore(folder / "best.pt", trained, data, pick_device(args.device))
    # Scores and certificate are those of the weights with norms as exact as they come.
    update_norms(model, RelativeChange(cfg.tolerance, MOST_ITERATIONS))

    curve = read_curve(folder / "curve.csv")
    arrays = {f"curve_{name}": torch.tensor(curve.get(name, [])) for name in CURVE}
    metrics: dict[str, Any] = {
        "training": read_status(folder),
        "parameters": count(model),
        "models": 1,
        "scaled_down": trained.model.scaled_down,
        "unit": "bits/dim",
        "dequantisation": trained.model.dequantisation,
        "lipschitz": lipschitz(model),
    }
    likelihood(model, trained, cfg, data, metrics, arrays)
    if cfg.exact_items:
        metrics["estimator"] = meet_exact(model, trained, cfg, data)
    metrics["certificate"] = certify(model, cfg, data)
    arrays["samples"] = draw(model, trained, cfg, data)
    write_scores(root / "scores" / args.dataset / args.method, metrics, arrays)


def restore(path: Path, trained: Train, data: Dataset, device: torch.device) -> ImageModel:
    """Build the model and load its weights, in the dtype it was trained in."""
    state, _ = weights.read_weights(path, device)
    model = build(trained.model, data.shape, data.levels, trained.seed)
    model.to(device, getattr(torch, trained.dtype))
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return model.eval()


@torch.no_grad()
def draw(model: ImageModel, trained: Train, cfg: Evaluate, data: Dataset) -> Tensor:
    """Return samples (N, C, H, W), uint8 with 255 for the brightest value; none if a solve fails.

    The latents are those of N(0, I): temperature 1.
    """
    noise = generator(cfg.seed, SAMPLE, device=next(model.parameters()).device)
    try:
        x = model.flow.sample(cfg.samples, generator=noise)
    except NotConverged:
        return torch.empty(0, *data.shape, dtype=torch.uint8)
    pixels = x.nan_to_num(0.0).floor().clamp(0, model.levels - 1)
    return (pixels * (255 / (model.levels - 1))).round().to(torch.uint8)


if __name__ == "__main__":
    main()
