"""Write every table of the profile, and its published cells with verdicts.

python -m monotone_flow.tables --profile fast

Reads what the evaluations left in results/<profile>/monotone_flow/scores/; writes tables/ and
cells.csv beside it.
"""

import argparse
from pathlib import Path

from common.errors import command
from common.report.cells import load_paper
from common.report.ledger import join, write_ledger
from common.report.tables import write_tables
from monotone_flow.report.cells import measurements
from monotone_flow.report.claims import claims
from monotone_flow.report.counts import published_counts
from monotone_flow.report.results import read_results
from monotone_flow.report.tables_fit import fit
from monotone_flow.report.tables_images import comparison, images
from monotone_flow.report.tables_runs import certificates
from monotone_flow.report.tables_toys import toys

PAPER = Path(__file__).with_name("paper.yaml")


@command
def main() -> None:
    """Write the tables."""
    arguments = argparse.ArgumentParser(prog="python -m monotone_flow.tables", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    write(args.out / args.profile / "monotone_flow", args.profile, args.partial)


def write(folder: Path, profile: str, partial: bool = False) -> None:
    """Write into `folder` the tables and the ledger of what lies in `folder`/scores.

    With `partial`, runs that the parameters list but that have not been evaluated count as not run.

    Raises:
        UserError: a result is missing or damaged; nothing has been written then.
    """
    work, cells = load_paper(PAPER)
    results = read_results(folder / "scores", profile, partial=partial)
    rows = join(work.paper, cells, measurements(cells, results, published_counts(), profile))
    tables = [
        claims(results, cells),
        *fit(results, cells),
        *toys(results, cells),
        images(rows),
        *comparison(results),
        certificates(results),
    ]
    write_tables(tables, folder / "tables")
    write_ledger(rows, folder / "cells.csv")


if __name__ == "__main__":
    main()
