"""Run one experiment by one method.

python -m inverse_problems.solve --profile fast --experiment compressed --method glow

Reads the trained prior from results/<profile>/inverse_problems/priors/; writes metrics.json and
arrays.npz to results/<profile>/inverse_problems/solved/<experiment>/<method>/. What is finished is
kept in runs/, so the same command goes on where it was killed.
"""

import argparse
import dataclasses
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError, command
from common.metrics.scores import write_scores
from common.training import config
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.provenance import provenance
from common.training.run import export, open_run
from inverse_problems.experiments import config as settings
from inverse_problems.experiments.compressed import compressed
from inverse_problems.experiments.context import Context
from inverse_problems.experiments.images import denoising, inpainting, representation
from inverse_problems.experiments.latents import landscape, norms, smoothness, starts
from inverse_problems.experiments.linear import bound
from inverse_problems.experiments.methods import solver
from inverse_problems.experiments.parts import Arrays, Parts
from inverse_problems.experiments.problems import Pictures, pictures, slope
from inverse_problems.load import folder, load_prior

Run = Callable[[Any, Context], tuple[dict[str, Any], Arrays]]
EXPERIMENTS: dict[str, tuple[type[settings.Experiment], Run]] = {
    "compressed": (settings.Compressed, compressed),
    "representation": (settings.Representation, representation),
    "denoising": (settings.Denoising, denoising),
    "inpainting": (settings.Inpainting, inpainting),
    "starts": (settings.Starts, starts),
    "norms": (settings.Norms, norms),
    "smoothness": (settings.Smoothness, smoothness),
    "landscape": (settings.Landscape, landscape),
    "bound": (settings.Bound, bound),
}


@command
def main() -> None:
    """Run one experiment."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.solve", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--experiment", required=True, help=", ".join(EXPERIMENTS))
    arguments.add_argument("--method", required=True, help="glow, vae, lasso_dct, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    if args.experiment not in EXPERIMENTS:
        raise UserError(f"--experiment: expected {', '.join(EXPERIMENTS)}, got {args.experiment!r}")
    kind, experiment = EXPERIMENTS[args.experiment]
    section = config.section(
        "inverse_problems", args.profile, "solve", args.experiment, args.method
    )
    cfg = config.load(section, kind)
    device = pick_device(args.device)
    prior, weights = None, ""
    if cfg.method.prior is not None:
        coordinates = (args.profile, cfg.trained, cfg.method.prior)
        prior = load_prior(*coordinates, root=args.out, device=device)
        weights = digest(folder(*coordinates, args.out) / "weights.pt")

    @cache
    def chosen(name: str) -> Pictures:
        return pictures(name, args.raw, cfg.images, cfg.seed)

    names = dict.fromkeys((cfg.trained, *getattr(cfg, "sets", ())))
    data = "".join(chosen(name).digest for name in names)
    resolved = {"experiment": args.experiment, **dataclasses.asdict(cfg)}
    del resolved["scaled_down"]  # how it is called changes nothing
    name = f"inverse_problems-{args.profile}-{args.experiment}-{args.method}"
    with open_run(args.runs, fingerprint(resolved, data + weights), resolved, name) as run:
        parts = Parts(run)
        context = Context(
            trained=cfg.trained,
            pictures=chosen,
            solver=solver(cfg.method, prior, cfg.seed, slope(cfg.trained, args.raw)),
            prior=prior,
            parts=parts,
            device=device,
        )
        with torch.no_grad():
            metrics, arrays = experiment(cfg, context)
        run.write_json(
            "cost.json",
            {
                **provenance(device),
                "fingerprint": run.fingerprint,
                "seconds_of_parts": parts.seconds,
            },
        )
        out = args.out / args.profile / "inverse_problems" / "solved"
        out = out / args.experiment / args.method
        shape = chosen(cfg.trained).shape
        described = {
            "experiment": args.experiment,
            "method": args.method,
            "trained": cfg.trained,
            "n": int(torch.Size(shape).numel()),
            "scaled_down": cfg.scaled_down,
        }
        write_scores(out, {**described, **metrics}, arrays)
        export(run, out, {"cost.json": "cost.json"})


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
