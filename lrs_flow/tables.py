"""Write every table of the profile, and its published cells with verdicts.

python -m lrs_flow.tables --profile fast

Reads what `lrs_flow.evaluate` and `lrs_flow.inverse` left in results/<profile>/lrs_flow/; writes
tables/ and cells.csv there.
"""

import argparse
from pathlib import Path

from common.errors import command
from common.report.cells import load_paper
from common.report.ledger import join, write_ledger
from common.report.tables import write_tables
from lrs_flow.report.cells import measurements
from lrs_flow.report.claims import claims
from lrs_flow.report.paired import differences
from lrs_flow.report.results import read_inverse, read_results
from lrs_flow.report.tables_images import depth, images
from lrs_flow.report.tables_inverse import inverse_accuracy, inverse_time
from lrs_flow.report.tables_likelihood import gaussians, pieces, small_sets, uci
from lrs_flow.report.tables_parameters import parameters, published_counts
from lrs_flow.report.tables_plane import plane
from lrs_flow.report.tables_runs import certificates, convergence, paired

PAPER = Path(__file__).with_name("paper.yaml")


@command
def main() -> None:
    """Write the tables."""
    arguments = argparse.ArgumentParser(prog="python -m lrs_flow.tables", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    arguments.add_argument("--partial", action="store_true", help="take what has been run so far")
    args = arguments.parse_args()
    write(args.out / args.profile / "lrs_flow", args.profile, args.partial)


def write(folder: Path, profile: str, partial: bool = False) -> None:
    """Write into `folder` the tables and the ledger of what lies in `folder`/scores.

    With `partial`, runs that the parameters list but that have not been evaluated count as not run.

    Raises:
        UserError: a result is missing or damaged; nothing has been written then.
    """
    work, cells = load_paper(PAPER)
    results = read_results(folder / "scores", profile, partial=partial)
    inverse = read_inverse(folder, partial)
    gaps = differences(results)
    counts = published_counts()
    rows = join(work.paper, cells, measurements(cells, results, counts, profile))
    tables = [
        claims(results, gaps, counts, inverse),
        uci(results, cells),
        *small_sets(results),
        *pieces(results),
        *paired(gaps),
        *gaussians(results, cells),
        *plane(results),
        parameters(counts),
        *inverse_accuracy(inverse),
        *inverse_time(inverse),
        depth(results, cells, counts),
        images(results, rows),
        *convergence(results),
        certificates(results),
    ]
    write_tables(tables, folder / "tables")
    write_ledger(rows, folder / "cells.csv")


if __name__ == "__main__":
    main()
