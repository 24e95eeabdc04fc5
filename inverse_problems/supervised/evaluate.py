"""Score a trained supervised network, certify it, prepare its figures.

python -m inverse_problems.supervised.evaluate --profile fast --task mixture_all

Reads what training left in results/<profile>/inverse_problems/supervised/<task>/; writes
metrics.json and arrays.npz to results/<profile>/inverse_problems/scores/supervised/<task>/.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError, command
from common.flows.bank import Stack
from common.metrics.certificate import certificate
from common.metrics.scores import write_scores
from common.training import config, weights
from common.training.curve import read_curve
from common.training.provenance import parameter_count
from common.training.status import read_status
from inverse_problems.supervised.arm_scores import score_arm
from inverse_problems.supervised.config import Evaluate, Train
from inverse_problems.supervised.mixture_scores import score_mixture
from inverse_problems.supervised.model import build
from inverse_problems.supervised.scores import Trained
from inverse_problems.supervised.train import COLUMNS, layout_of, load_task

CERTIFIED = 1000


@command
def main() -> None:
    """Evaluate one task."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.supervised.evaluate", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper")
    arguments.add_argument("--task", required=True, help="mixture_all, kinematics, ...")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    trained = load_task(args.profile, args.task)
    section = config.section("inverse_problems", args.profile, "supervised", "evaluate")
    cfg = config.load(section, Evaluate)
    root = args.out / args.profile / "inverse_problems"
    folder = root / "supervised" / args.task
    stack = restore(folder / "weights.pt", trained)
    curve = read_curve(folder / "curve.csv")
    arrays = {f"curve_{name}": torch.tensor(curve[name]) for name in COLUMNS}
    metrics: dict[str, Any] = {
        "training": read_status(folder, "task"),
        "problem": trained.problem,
        "blocks": trained.model.blocks,
        "losses": [name for name, weight in vars(trained.phases[-1].weights).items() if weight],
        "parameters": parameter_count(stack) // stack.models,
        "models": stack.models,
        "scaled_down": trained.scaled_down,
    }
    evaluate(Trained(stack, layout_of(trained), trained, cfg), metrics, arrays)
    write_scores(root / "scores" / "supervised" / args.task, metrics, arrays)


def evaluate(model: Trained, metrics: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Add scores and the certificate to metrics, and what is drawn to arrays."""
    score = score_arm if model.trained.problem == "kinematics" else score_mixture
    score(model, metrics, arrays)
    x = model.padded(model.test(CERTIFIED)[0])
    metrics["certificate"] = certificate(model.stack.flow, x, jacobian_items=model.cfg.jacobians)


def restore(path: Path, trained: Train) -> Stack:
    """Build the networks and load their weights, in the dtype they were trained in.

    Raises:
        UserError: the file is missing, damaged, or of another network.
    """
    state, _ = weights.read_weights(path)
    stack = build(trained.model, layout_of(trained), trained.seeds, trained.seed)
    stack.to(getattr(torch, trained.dtype))
    try:
        stack.load_tensors(state)
    except RuntimeError:
        raise UserError(
            f"{path}: not the weights of the model that the parameters name; train it again"
        ) from None
    return stack.eval()


if __name__ == "__main__":
    main()
