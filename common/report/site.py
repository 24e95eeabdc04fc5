"""Write one self-contained page per profile: what was published, what was measured, the verdicts.

    python -m common.report.site --profile fast --papers lu_net lrs_flow

All papers that are named share the page; without names, all that have a ledger do. Reads
results/<profile>/<paper>/ of each: `cells.csv`, `tables/` and `figures/` with their `index.json`,
and each run's `cost.json`. Writes results/<profile>/index.html and cells.csv.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from common.errors import UserError, command
from common.report.cells import Cell, Work, load_paper
from common.report.digits import significant, with_error
from common.report.exhibits import (
    ShownCost,
    ShownFigure,
    ShownTable,
    load_costs,
    load_figures,
    load_tables,
)
from common.report.files import write_text
from common.report.ledger import (
    VERDICTS,
    LedgerRow,
    read_ledger,
    tally,
    write_ledger,
)
from common.report.tables import MISSING, shown

# Folder of each paper, and its name where there is no paper.yaml yet.
PAPERS = {
    "lu_net": "LU-Net",
    "lrs_flow": "Linear rational spline flows",
    "monotone_flow": "Monotone flows",
    "inverse_problems": "Inverse problems with invertible generative priors",
}


@dataclass(frozen=True)
class ShownCell:
    """A line of the ledger as people read it; `cell` is there if paper.yaml is."""

    row: LedgerRow
    published: str
    measured: str
    published_standard: str
    measured_standard: str
    cell: Cell | None


@dataclass(frozen=True)
class ShownPaper:
    """Everything the page says about one paper; no cells mean that it has not been run."""

    name: str
    title: str
    work: Work | None
    readme: str | None
    counts: dict[str, int]
    headline: str
    ledger: list[tuple[str, list[ShownCell]]]
    tables: list[ShownTable]
    figures: list[ShownFigure]
    costs: list[ShownCost]

    @property
    def has_results(self) -> bool:
        """Say whether there is anything to show yet."""
        return bool(self.ledger or self.tables or self.figures)


def headline(counts: dict[str, int]) -> str:
    """Say in one sentence how many published cells hold."""
    total = sum(counts.values())
    if total == 0:
        return "No published cell has been looked at yet."
    tested = counts["reproduced"] + counts["not reproduced"]
    cells = "cell" if total == 1 else "cells"
    parts = [f"Of {total} published {cells}, {tested or 'none'} {_were(tested)} tested in full"]
    if tested:
        parts.append(f": {counts['reproduced']} reproduced, {counts['not reproduced']} not")
    rest = [
        f"{counts[word]} {_were(counts[word])} {text}"
        for word, text in (("scaled down", "run scaled down"), ("not run", "not run"))
        if counts[word]
    ]
    if rest:
        parts.append(f"; {' and '.join(rest)}, which counts neither way")
    return "".join(parts) + "."


def build(profile: str, results: Path, root: Path, papers: Iterable[str] | None = None) -> Path:
    """Write the page and the joint ledger of a profile; return the page's path.

    Args:
        profile: name of the folder below `results`.
        results: folder of all profiles.
        root: the repository, where the papers' folders with paper.yaml and README.md lie.
        papers: whose results to show, keys of `PAPERS`; None for all that have a ledger. The page
            has them in the order of `PAPERS`, and lists the others as not run yet.

    Raises:
        UserError: a file that a paper's results promise is missing or malformed, or a named paper
            has no ledger.
    """
    folder = results / profile
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; run the profile {profile!r} first")
    if papers is None:
        papers = [name for name in PAPERS if (folder / name / "cells.csv").exists()]
    named = set(papers)
    ledgers = {name: read_ledger(folder / name / "cells.csv") for name in PAPERS if name in named}
    rows = [row for ledger in ledgers.values() for row in ledger]
    shown_papers = [_paper(name, ledgers.get(name), folder, root) for name in PAPERS]
    counts = tally(rows)
    page = _template().render(
        profile=profile,
        papers=shown_papers,
        counts=counts,
        headline=headline(counts),
        verdicts=VERDICTS,
        missing=MISSING,
    )
    write_ledger(rows, folder / "cells.csv")
    write_text(folder / "index.html", page)
    return folder / "index.html"


def _paper(name: str, ledger: Sequence[LedgerRow] | None, folder: Path, root: Path) -> ShownPaper:
    """Gather what the page says about a paper; without a ledger nothing in its folder is read."""
    rows = ledger or []
    work, cells = None, {}
    if (root / name / "paper.yaml").exists():
        work, listed = load_paper(root / name / "paper.yaml")
        cells = {cell.place: cell for cell in listed}
    lines = [_cell(row, cells.get((row.table, row.row, row.column))) for row in rows]
    counts = tally(rows)
    readme = root / name / "README.md"
    return ShownPaper(
        name=name,
        title=work.title if work else PAPERS[name],
        work=work,
        readme=_relative(readme, folder) if readme.exists() else None,
        counts=counts,
        headline=headline(counts),
        ledger=[(table, list(group)) for table, group in groupby(lines, lambda c: c.row.table)],
        tables=[] if ledger is None else load_tables(folder / name / "tables"),
        figures=[] if ledger is None else load_figures(folder / name / "figures"),
        costs=[] if ledger is None else load_costs(folder / name),
    )


def _cell(row: LedgerRow, cell: Cell | None) -> ShownCell:
    return ShownCell(
        row=row,
        published=shown(row.published, row.published_se),
        measured=_readable(row.measured, row.measured_se),
        published_standard=row.published_standard or MISSING,
        measured_standard=_readable(row.measured_standard),
        cell=cell,
    )


def _readable(text: str, error: str = "") -> str:
    """Return a ledger's number with fewer digits, if that is fewer; words stay as they are."""
    if not text:
        return MISSING
    if not _is_number(text):
        return text
    if error:
        return shown(*with_error(float(text), float(error)))
    return min(text, significant(float(text), 5), key=len)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _relative(target: Path, start: Path) -> str:
    """Return the link from a page in `start` to `target`."""
    return Path(os.path.relpath(target, start)).as_posix()


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")


@command
def main(arguments: Iterable[str] | None = None) -> None:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        description="Write results/<profile>/index.html from the results of all papers."
    )
    parser.add_argument("--profile", default="fast", help="which results (default: fast)")
    parser.add_argument(
        "--papers",
        nargs="+",
        choices=PAPERS,
        help="whose results (default: every paper that has a ledger)",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository")
    options = parser.parse_args(None if arguments is None else list(arguments))
    print(build(options.profile, options.results, options.root, options.papers))


if __name__ == "__main__":
    main()
