"""Score what was trained on the staircase or on plane densities, certify it, prepare its figures.

python -m monotone_flow.evaluate --profile fast --dataset toys --method monotone

Reads what training left in results/<profile>/monotone_flow/<dataset>/<method>/; writes metrics.json
and arrays.npz to results/<profile>/monotone_flow/scores/<dataset>/<method>/.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from common.errors import UserError, command
from common.flows.bank import Stack
from common.metrics.scores import write_scores
from common.training import config, weights
from common.training.curve import read_curve
from common.training.device import pick_device
from common.training.provenance import parameter_count
from common.training.status import read_status
from monotone_flow.config import Train
from monotone_flow.fit_scores import score_fit
from monotone_flow.fused import fused
from monotone_flow.plane_scores import score_plane
from monotone_flow.protocol import Evaluate
from monotone_flow.train import columns
from monotone_flow.vectors import build, kernel_sizes


@command
def main() -> None:
    """Evaluate one method."""
    arguments = argparse.ArgumentParser(
        prog="python -m monotone_flow.evaluate", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="staircase, toys")
    arguments.add_argument("--method", required=True, help="monotone, i_densenet, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("monotone_flow", args.profile, "train", args.dataset, args.method)
    trained = config.load(section, Train)
    section = config.section("monotone_flow", args.profile, "evaluate", args.dataset)
    cfg = config.load(section, Evaluate)
    root = args.out / args.profile / "monotone_flow"
    folder = root / args.dataset / args.method
    device = pick_device(args.device)
    last = restore(folder / "weights.pt", trained, args.dataset, device)
    best = restore(folder / "best.pt", trained, args.dataset, device)

    curve = read_curve(folder / "curve.csv")
    names = columns(trained.models)
    if missing := [name for name in names if name not in curve]:
        raise UserError(
            f"{folder / 'curve.csv'}: expected a column for each of {trained.models} models, but "
            f"{missing[0]} is missing; train this model again"
        )
    arrays = {f"curve_{name}": torch.tensor(curve[name]) for name in names[:3]}
    arrays["curve_valid"] = torch.tensor([curve[name] for name in names[3:]]).T
    metrics: dict[str, Any] = {
        "training": read_status(folder),
        "parameters": parameter_count(last) // last.models,
        "models": last.models,
        "scaled_down": trained.model.scaled_down,
    }
    score = score_fit if args.dataset == "staircase" else score_plane
    with fused(kernel_sizes(trained)):
        score(last, best, trained, cfg, metrics, arrays)
    write_scores(root / "scores" / args.dataset / args.method, metrics, arrays)


def restore(path: Path, trained: Train, dataset: str, device: torch.device) -> Stack:
    """Build the models and load their weights, in the dtype they were trained in."""
    state, _ = weights.read_weights(path, device)
    features = 1 if dataset == "staircase" else 2
    stack = build(trained.model, features, trained.models, trained.seed)
    stack.to(device, getattr(torch, trained.dtype))
    try:
        stack.load_tensors(state)
    except (KeyError, IndexError, RuntimeError):
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return stack.eval()


if __name__ == "__main__":
    main()
