"""Train one generative prior on one data set.

python -m inverse_problems.train --profile fast --dataset digits --prior glow

The same command continues a training that was killed, and only exports one that is finished.
"""

import argparse
import dataclasses
from pathlib import Path

from common import datasets
from common.errors import command
from common.training import config
from common.training.device import pick_device
from common.training.fingerprint import fingerprint
from common.training.run import export, open_run
from inverse_problems.families import trainer
from inverse_problems.load import folder

EXPORTS = ("weights.pt", "curve.csv", "status.json", "cost.json")


@command
def main() -> None:
    """Train, or continue, or export."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.train", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--dataset", required=True, help="digits, mnist, celeba64, ...")
    arguments.add_argument("--prior", required=True, help="glow, spline, ...")
    arguments.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    arguments.add_argument("--raw", type=Path, default=Path("data/raw"))
    arguments.add_argument("--runs", type=Path, default=Path("runs"))
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("inverse_problems", args.profile, "train", args.dataset, args.prior)
    family, cfg = trainer(section)
    data = datasets.load(args.dataset, args.raw, seed=cfg.seed)
    resolved = {"dataset": args.dataset, **dataclasses.asdict(cfg)}
    # Where it pauses and how that is called changes nothing of what it does until there.
    del resolved["stop"], resolved["scaled_down"]
    name = f"inverse_problems-{args.profile}-{args.dataset}-{args.prior}"
    with open_run(args.runs, fingerprint(resolved, data.digest), resolved, name) as run:
        status = run.status
        if status is None or (status["status"] == "finished" and status["steps_run"] < cfg.last):
            family.train(run, cfg, data, pick_device(args.device))
        out = folder(args.profile, args.dataset, args.prior, args.out)
        export(run, out, {file: file for file in EXPORTS})


if __name__ == "__main__":
    main()
