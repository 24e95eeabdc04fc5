"""Score a trained prior on test images, and draw samples.

python -m inverse_problems.evaluate --profile fast --dataset digits --prior glow

Reads what training left in results/<profile>/inverse_problems/priors/<dataset>/<prior>/; writes
metrics.json and arrays.npz to results/<profile>/inverse_problems/scores/<dataset>/<prior>/.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import datasets
from common.errors import command
from common.metrics.scores import write_scores
from common.training import config
from common.training.curve import read_curve
from common.training.device import pick_device
from common.training.provenance import parameter_count
from common.training.seeding import generator
from common.training.status import read_status
from inverse_problems.config import Evaluate
from inverse_problems.families import scorer, trainer
from inverse_problems.load import folder, load_prior
from inverse_problems.priors.base import Prior

# The stream of the evaluation's seed that draws samples; families take those from 0 on.
SAMPLE = 100
TEMPERATURES = (0.7, 1.0)


@command
def main() -> None:
    """Evaluate one prior."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.evaluate", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="digits, mnist, celeba64, ...")
    arguments.add_argument("--prior", required=True, help="glow, spline, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    coordinates = (args.profile, args.dataset, args.prior)
    section = config.section("inverse_problems", args.profile, "train", args.dataset, args.prior)
    _, trained = trainer(section)
    cfg = config.load(
        config.section("inverse_problems", args.profile, "evaluate", args.dataset), Evaluate
    )
    data = datasets.load(args.dataset, args.raw, seed=trained.seed)
    source = folder(*coordinates, args.out)
    prior = load_prior(*coordinates, root=args.out, device=pick_device(args.device))

    curve = read_curve(source / "curve.csv")
    found, arrays = scorer(section).score(prior, cfg, trained, data)
    metrics: dict[str, Any] = {
        "training": read_status(source, "prior"),
        "parameters": parameter_count(prior.requires_grad_(True)),
        "latents": prior.latents,
        "scaled_down": trained.scaled_down,
        **found,
    }
    arrays |= {f"curve_{name}": torch.tensor(values) for name, values in curve.items()}
    arrays |= draw(prior, cfg)
    out = args.out / args.profile / "inverse_problems" / "scores" / args.dataset / args.prior
    write_scores(out, metrics, arrays)


def draw(prior: Prior, cfg: Evaluate) -> dict[str, Tensor]:
    """Return samples (N, C, H, W) at each temperature, in steps of 1/255, uint8."""
    device = next(prior.parameters()).device
    samples = {}
    for temperature in TEMPERATURES:
        noise = generator(cfg.seed, SAMPLE, device=device)
        x = prior.sample(cfg.samples, noise, temperature)
        samples[f"samples_{temperature:g}"] = (255 * x.clamp(0, 1)).round().to(torch.uint8)
    return samples


if __name__ == "__main__":
    main()
