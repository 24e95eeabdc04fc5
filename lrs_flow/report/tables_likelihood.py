"""Tables of test log-likelihoods of vectors."""

from collections.abc import Sequence
from typing import Any

from common.report.cells import Cell
from common.report.tables import Column, Table
from lrs_flow.report.results import (
    PIECES,
    UCI,
    Result,
    Results,
    entry,
    number,
    of_set,
    scored,
    set_name,
)

# Rows of the published table: name there, and the method that stands for it here.
ROWS = {
    "lrs_c": "LRS (C)",
    "rq_c": "RQ-NSF (C)",
    "q_c": "Q-NSF (C)",
    "q_published_c": "Q-NSF (C), published boundary",
    "affine_c": "Glow, an affine coupling (C)",
    "ffjord": "FFJORD",
    "lrs_small_c": "LRS (C), as small as RQ-NSF",
    "lrs_ar": "LRS (AR)",
    "rq_ar": "RQ-NSF (AR)",
    "q_ar": "Q-NSF (AR)",
    "affine_ar": "MAF, an affine flow (AR)",
    "gaussian": "Gaussian, full covariance",
}
# From memory of the RNADE paper (Uria, Murray, Larochelle 2013), table 1, never checked against it:
# Gaussian, mixture of factor analysers, RNADE.
REMEMBERED = {
    "red-wine": (-13.18, -10.19, -9.36),
    "white-wine": (-13.20, -10.73, -10.23),
    "parkinsons": (-10.85, -1.99, -0.90),
    "ionosphere": (-41.24, -17.55, -2.50),
    "boston-housing": (-11.37, -4.54, -0.64),
}


def uci(results: Results, cells: Sequence[Cell]) -> Table:
    """Return the published table with ours beside it; a dash where nothing was run or printed."""
    published = {cell.id: cell for cell in cells}
    columns, rows = [Column("method", "method")], []
    for dataset in UCI:
        name = set_name(dataset)
        columns += [
            Column(f"{dataset}_p", f"{name}, published", "number", error=f"{dataset}_p_se"),
            Column(dataset, f"{name}, ours", "number", error=f"{dataset}_se"),
        ]
    for method, words in ROWS.items():
        row: dict[str, Any] = {"method": words}
        protocol = {}
        for dataset in UCI:
            # The printed row of quadratic splines has the published boundary.
            printed = {"q_published_c": "q_c", "q_c": ""}.get(method, method)
            if cell := published.get(f"uci/{printed}/{dataset}"):
                row |= {f"{dataset}_p": cell.value, f"{dataset}_p_se": cell.published_se}
            if result := results.get((dataset, method)):
                row |= scored(result, dataset)
                protocol[set_name(dataset)] = f"{result.protocol}, {models(result)}"
        if len(row) == 1:
            continue
        if protocol:
            row["protocol"] = "; ".join(f"{name}: {words}" for name, words in protocol.items())
        rows.append(row)
    return Table(
        "uci",
        "Test log-likelihood on the five sets of the literature",
        "Nats per item, higher is better, plus or minus one standard error; the print doubles "
        "them. Published errors are those of one model over the test points (FFJORD: spread of "
        "three runs); ours are over test points, scores averaged over seeds.",
        [*columns, Column("protocol", "protocol of ours")],
        rows,
        "A dash under ours: not run, with the reason in the cell's line of the ledger. BSDS300 is "
        "rebuilt from the original images, so its patches are not the published ones. The printed "
        "quadratic splines have the published boundary. LRS (AR) is in the paper, but not on its "
        "poster, and was not to be had.",
    )


def pieces(results: Results) -> list[Table]:
    """Return the likelihoods on parts of two of the sets, if there are any."""
    columns = [d for d in PIECES if of_set(results, d)]
    if not columns:
        return []
    return [
        Table(
            "pieces",
            "Test log-likelihood on parts of MINIBOONE and POWER",
            "Nats per item, higher is better, plus or minus one standard error over test items. "
            "Not comparable with published numbers: of MINIBOONE the whole test split but only "
            "1,523 of the 29,556 train rows are here beside the validation split, of POWER the "
            "first 47,960 of 2,075,259 minutes, all in one winter.",
            *wide(results, columns),
        )
    ]


def small_sets(results: Results) -> list[Table]:
    """Return the likelihoods on cross-validated sets, if there are any."""
    sets = dict.fromkeys(d for (d, _), result in results.items() if result.cross_validated)
    if not sets:
        return []
    columns, rows = wide(results, list(sets))
    return [
        Table(
            "small_sets",
            "Test log-likelihood on small sets",
            "Nats per item, higher is better: mean over ten folds, plus or minus the standard "
            "error of that mean (standard deviation over folds / sqrt 10). Every row is scored on "
            "the same folds, so the differences in the next table are known better than these "
            "errors suggest.",
            columns,
            rows,
            "The wines hold repeated rows and rounded values, from which a strong flow can gain; "
            "of Boston housing the choice of columns is ours.",
        )
    ]


def wide(results: Results, sets: Sequence[str]) -> tuple[list[Column], list[dict[str, Any]]]:
    """Return columns and rows of a table with a row for each method and a column for each set."""
    methods = sorted(
        dict.fromkeys(m for d, m in results if d in sets),
        key=lambda m: list(ROWS).index(m) if m in ROWS else len(ROWS),
    )
    rows = []
    for method in methods:
        found = [results[d, method] for d in sets if (d, method) in results]
        row: dict[str, Any] = {"method": ROWS.get(method, found[0].name)}
        for result in found:
            row |= scored(result, result.dataset)
        row["models"] = "; ".join(dict.fromkeys(models(result) for result in found))
        row["protocol"] = "; ".join(dict.fromkeys(result.protocol for result in found))
        rows.append(row)
    columns = [Column(d, set_name(d), "number", "nats", error=f"{d}_se") for d in sets]
    ends = [Column("models", "models"), Column("protocol", "protocol")]
    return [Column("method", "method"), *columns, *ends], rows


def gaussians(results: Results, cells: Sequence[Cell]) -> list[Table]:
    """Return the closed-form Gaussian of every set beside what the literature has for it."""
    published = {cell.id: cell for cell in cells}
    rows = []
    for (dataset, method), result in results.items():
        if method != "gaussian":
            continue
        row: dict[str, Any] = {"data": set_name(dataset), **scored(result, "ours")}
        if cell := published.get(f"uci/gaussian/{dataset}"):
            row |= {"printed": cell.value, "printed_se": cell.published_se}
            row["gap"] = entry(result, number(result.metrics["test"]["mean"]) - cell.value)
        if dataset in REMEMBERED:
            row["memory"], row["factors"], row["rnade"] = REMEMBERED[dataset]
            row["gap"] = entry(result, number(result.metrics["test"]["mean"]) - row["memory"])
        rows.append(row)
    if not rows:
        return []
    memory = "from memory, unverified"
    return [
        Table(
            "gaussian",
            "The full-covariance Gaussian, which checks the data",
            "Test log-likelihood in nats of the maximum likelihood Gaussian, plus or minus one "
            "standard error. It depends on nothing but the data and their preprocessing.",
            [
                Column("data", "data"),
                Column("ours", "ours", "number", error="ours_se"),
                Column("printed", "MAF paper, second-hand", "number", error="printed_se"),
                Column("memory", f"RNADE paper, Gaussian: {memory}", "number", decimals=2),
                Column("gap", "ours minus theirs", "number", decimals=2),
                Column("factors", f"RNADE paper, factor analysers: {memory}", "number", decimals=2),
                Column("rnade", f"RNADE paper, RNADE: {memory}", "number", decimals=2),
            ],
            rows,
            "Nothing in the columns from memory is counted or claimed; folds and columns of that "
            "paper are not known for certain.",
        )
    ]


def models(result: Result) -> str:
    """Return seeds or folds in words."""
    if result.cross_validated:
        return f"{result.models} folds"
    if result.method == "gaussian":
        return "closed form"
    return "1 seed" if result.models == 1 else f"{result.models} seeds"
