"""Write every table of the profile, and its published cells with verdicts.

python -m inverse_problems.tables --profile fast

Reads what the evaluations and experiments left in results/<profile>/inverse_problems/; writes
tables/ and cells.csv there.
"""

import argparse
from pathlib import Path

from common.errors import command
from common.report.cells import load_paper
from common.report.ledger import join, write_ledger
from common.report.tables import write_tables
from inverse_problems.report.cells import measurements
from inverse_problems.report.claims import claims
from inverse_problems.report.claims_supervised import claims_table
from inverse_problems.report.results import read_results
from inverse_problems.report.supervised_results import read_supervised
from inverse_problems.report.tables_memory import memory, read_memory
from inverse_problems.report.tables_priors import certificates, priors
from inverse_problems.report.tables_solved import (
    budgets,
    compressed,
    denoising,
    inpainting,
    representation,
    starts,
)
from inverse_problems.report.tables_supervised import ablation, arm

PAPER = Path(__file__).with_name("paper.yaml")


@command
def main() -> None:
    """Write the tables."""
    arguments = argparse.ArgumentParser(
        prog="python -m inverse_problems.tables", description=__doc__
    )
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    write(args.out / args.profile / "inverse_problems", args.profile, args.partial)


def write(folder: Path, profile: str, partial: bool = False) -> None:
    """Write into `folder` the tables and the ledger of what lies there.

    With `partial`, runs that the parameters list but that are not there count as not run.

    Raises:
        UserError: a result is missing or damaged; nothing has been written then.
    """
    work, cells = load_paper(PAPER)
    results = read_results(folder, profile, partial=partial)
    networks = read_supervised(folder / "scores" / "supervised", profile, partial=partial)
    measured = read_memory(folder / "memory", partial)
    rows = join(work.paper, cells, measurements(cells, results))
    tables = [
        claims(results),
        *compressed(results),
        *representation(results),
        *denoising(results),
        *inpainting(results),
        *starts(results),
        *priors(results),
        *certificates(results),
        *budgets(results),
        *memory(measured),
        *([claims_table(networks)] if networks else []),
        *ablation(networks),
        *arm(networks),
    ]
    write_tables(tables, folder / "tables")
    write_ledger(rows, folder / "cells.csv")


if __name__ == "__main__":
    main()
