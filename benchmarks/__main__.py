"""Compare one thing with its peers: `python -m benchmarks lu_layer`.

Ours and the peer take turns in one process, and each comparison prints one JSON line. A peer that
is not installed is named on stderr and skipped: `pip install .[bench]` brings all of them.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cases import CASES
from common.errors import UserError, command


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """List the cases, or run one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("case", nargs="?", help="what to compare")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--save", action="store_true", help="keep the rows under --out")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--rounds", type=int, help="of both sides; by default, the case's own")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run?")
    parser.add_argument("--weights", type=Path, help="trained weights (lu_sampling, monotone)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:1")
    args = parser.parse_args(arguments)
    if args.list:
        width = max(map(len, CASES))
        print("\n".join(f"{name:<{width}}  {case.summary}" for name, case in CASES.items()))
    elif args.case not in CASES:
        raise UserError(f"expected one of the cases {', '.join(CASES)}; got {args.case or 'none'}")
    elif args.quick and args.save:
        raise UserError("--quick measures nothing worth keeping; use it without --save")
    elif args.threads < 1 or (args.rounds is not None and args.rounds < 1):
        raise UserError(f"expected at least 1, got --threads {args.threads} --rounds {args.rounds}")
    else:
        run(args)


def run(args: argparse.Namespace) -> None:
    """Time every comparison of a case.

    Raises:
        UserError: not one comparison was possible.
    """
    # Only here, so that --list and wrong arguments answer at once.
    import torch

    from benchmarks import rows
    from benchmarks.comparison import MissingPeer, Options
    from benchmarks.paired import measure
    from common.training.device import pick_device

    torch.set_num_threads(args.threads)
    case = CASES[args.case]
    options = Options(pick_device(args.device), args.quick, args.weights)
    rounds = args.rounds or (2 if args.quick else case.rounds)
    skipped = []
    builders = case.load()(options)
    for build in builders:
        try:
            pair = build()
        except MissingPeer as missing:
            skipped.append(str(missing))
            print(f"skipped: {missing}", file=sys.stderr)
            continue
        times = measure(pair, rounds, options.device, args.quick)
        line = rows.row(args.case, pair, times, options.device)
        print(json.dumps(line), flush=True)
        if args.save:
            rows.save(line, args.out)
        del pair  # before the next one is built
    if len(skipped) == len(builders):
        raise UserError(f"{args.case}: no comparison was possible: {'; '.join(skipped)}")


if __name__ == "__main__":
    main()
