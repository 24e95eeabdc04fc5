"""Write every table of the profile, and its published cells with verdicts.

python -m lu_net.tables --profile fast

Reads what `lu_net.evaluate` and `lu_net.speed` left in results/<profile>/lu_net/; writes tables/
and cells.csv there.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from common.errors import UserError, command
from common.report.cells import load_paper
from common.report.ledger import DIVERGED, LedgerRow, join, write_ledger
from common.report.tables import NOT_FINITE, Column, Table, write_tables
from common.training import config
from lu_net.cells import TITLES, Results, measurements
from lu_net.config import Train
from lu_net.protocol import Cells

PAPER = Path(__file__).with_name("paper.yaml")
METHODS = {
    "gaussian": "Gaussian, closed form",
    "lu_net": "LU-Net, maximum likelihood",
    "lu_net_published": "LU-Net, published objective",
    "realnvp": "RealNVP",
}
Trained = dict[tuple[str, str], Train]


@command
def main() -> None:
    """Write the tables."""
    arguments = argparse.ArgumentParser(prog="python -m lu_net.tables", description=__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("--profile", default="fast", help="fast, paper, paper-gpu")
    arguments.add_argument("--out", type=Path, default=Path("results"))
    args = arguments.parse_args()
    section = config.section("lu_net", args.profile)
    folder = args.out / args.profile / "lu_net"
    datasets, methods = section["datasets"], section["methods"]
    trained = {
        (dataset, method): config.load(section.at("train").at(dataset).at(method), Train)
        for dataset in datasets
        for method in methods
    }
    results = {key: read(folder / "scores" / key[0] / key[1] / "metrics.json") for key in trained}
    speed = read(folder / "speed.json")
    stand_in = config.load(section.at("cells"), Cells)
    work, cells = load_paper(PAPER)
    ours = measurements(stand_in, results, trained, speed)
    rows = join(work.paper, cells, ours)
    images = [d for d in datasets if "bits_per_dim" in results[d, methods[0]]["test"]]
    reduced = {stand_in.dataset: stand_in.scaled_down}
    tables = [likelihood(d, methods, results, trained, reduced) for d in images]
    tables += [per_class(d, methods, results, trained) for d in images]
    tables += [vectors(d, methods, results, trained) for d in datasets if d not in images]
    tables += [comparison(table, rows) for table in TITLES]
    tables.append(certificates(results, trained))
    write_tables(tables, folder / "tables")
    write_ledger(rows, folder / "cells.csv")


def read(path: Path) -> dict[str, Any]:
    """Return a JSON file of results."""
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; run `dvc repro`, or its command alone") from None
    except ValueError:
        raise UserError(f"{path}: not valid JSON; delete it and run `dvc repro` again") from None


def likelihood(
    dataset: str,
    methods: list[str],
    results: Results,
    trained: Trained,
    reduced: dict[str, str],
) -> Table:
    """Return the test likelihood of every method on every scale, mean of the class models.

    `reduced` says of a data set that stands in for a published one what it lacks.
    """
    rows = []
    for method in methods:
        metrics, cfg = results[dataset, method], trained[dataset, method]
        lacks = [part for part in (reduced.get(dataset, ""), cfg.model.scaled_down) if part]
        if cfg.objective == "published" and cfg.dtype == "float32":
            lacks.append("float32 instead of float64")
        row: dict[str, Any] = {
            "method": name(method, cfg),
            "setting": "; ".join(lacks) or "full",
            "selected": training(cfg),
        }
        for key in ("bits_per_dim", "logit_space", "lu_net_units", "fitted_gaussian_bits_per_dim"):
            row |= number(key, metrics["test"][key], metrics)
        row |= number("train", metrics["train"]["bits_per_dim"], metrics)
        rows.append(row)
    columns = [
        Column("method", "method"),
        Column("bits_per_dim", "test", "number", "bits/dim", error="bits_per_dim_se"),
        Column("train", "train", "number", "bits/dim", error="train_se"),
        Column("logit_space", "test, logit space", "number", "bits/dim", error="logit_space_se"),
        Column("lu_net_units", "test, LU-Net's units", "number", error="lu_net_units_se"),
        Column(
            "fitted_gaussian_bits_per_dim",
            "test, Gaussian fitted to latents",
            "number",
            "bits/dim",
            error="fitted_gaussian_bits_per_dim_se",
        ),
        Column("selected", "trained, selected on"),
        Column("setting", "protocol"),
    ]
    return Table(
        f"likelihood_{dataset}",
        f"Test likelihood, {dataset}",
        "Mean over the ten class models, plus or minus its standard error over test images. "
        "The first column is the standard scale: integer pixels, uniform dequantisation, every "
        "Jacobian counted. LU-Net's units leave out the Jacobians of preprocessing and are half a "
        "bit too low (ln pi in place of ln 2 pi).",
        columns,
        rows,
        "A row selected on test repeats the published protocol and is not comparable with the "
        "others. The last likelihood scores N(mean, covariance) fitted to the encoded training "
        "data in place of N(0, I): one more affine layer, which overfits where images are few.",
    )


def training(cfg: Train) -> str:
    """Return length, precision and selection split in words."""
    if cfg.epochs == 0:
        return "no training"
    plural = "" if cfg.epochs == 1 else "s"
    return f"{cfg.epochs} epoch{plural}, {cfg.dtype}, {cfg.select}"


def per_class(dataset: str, methods: list[str], results: Results, trained: Trained) -> Table:
    """Return the test likelihood of every class model."""
    classes = len(results[dataset, methods[0]]["test"]["items"])
    rows = []
    for method in methods:
        metrics = results[dataset, method]
        values = metrics["test"]["bits_per_dim"]
        row: dict[str, Any] = {"method": name(method, trained[dataset, method])}
        for k in range(len(values["per_model"])):
            row[f"c{k}"] = shown(values["per_model"][k], metrics)
            row[f"c{k}_se"] = error(values["per_model_se"][k], metrics)
        rows.append(row)
    columns = [Column("method", "method")]
    columns += [Column(f"c{k}", f"class {k}", "number", error=f"c{k}_se") for k in range(classes)]
    return Table(
        f"per_class_{dataset}",
        f"Test likelihood by class, {dataset}",
        "Standard bits/dim of each class model on the test images of its class, plus or minus the "
        "standard error over images.",
        columns,
        rows,
    )


def vectors(dataset: str, methods: list[str], results: Results, trained: Trained) -> Table:
    """Return the test likelihood on the 2-D set, beside the truth."""
    truth = results[dataset, methods[0]]["test"]["true_nats"]
    rows: list[dict[str, Any]] = [
        {
            "method": "the true density",
            "nats": truth["mean"],
            "nats_se": truth["se"],
            "excess": 0.0,
            "integral": 1.0,
        }
    ]
    for method in methods:
        metrics = results[dataset, method]
        rows.append(
            {
                "method": name(method, trained[dataset, method]),
                **number("nats", metrics["test"]["nats"], metrics),
                **number("excess", metrics["test"]["excess_over_truth"], metrics),
                "integral": certified(metrics, "density", "integral"),
            }
        )
    entropy = results[dataset, methods[0]]["entropy"]
    return Table(
        f"likelihood_{dataset}",
        f"Test likelihood, {dataset}",
        "Negative log-likelihood of fresh test points. The true density's entropy is "
        f"{entropy:.4f} nats. The excess is averaged over the same points, so their sampling "
        "error cancels. The integral is of the model's density over a box around the data.",
        [
            Column("method", "method"),
            Column("nats", "test", "number", "nats", error="nats_se"),
            Column("excess", "excess over the truth", "number", "nats", error="excess_se"),
            Column("integral", "integral", "number", decimals=4),
        ],
        rows,
    )


def comparison(table: str, rows: list[LedgerRow]) -> Table:
    """Return one of the two published comparison tables, cell by cell."""
    entries = [
        {
            "row": r.row,
            "column": r.column,
            "unit": r.unit,
            "published": entry(r.published),
            "measured": entry(r.measured),
            "published_standard": entry(r.published_standard),
            "measured_standard": entry(r.measured_standard),
            "standard_unit": r.standard_unit,
            "verdict": r.verdict,
            "reason": r.reason,
        }
        for r in rows
        if r.table == table
    ]
    return Table(
        table,
        TITLES[table],
        "Each published number beside ours in the published unit, then both like for like: on a "
        "scale that the two models share.",
        [
            Column("row", "model"),
            Column("column", "quantity"),
            Column("published", "published", "number"),
            Column("measured", "ours", "number"),
            Column("unit", "unit"),
            Column("published_standard", "published, like for like", "number"),
            Column("measured_standard", "ours, like for like", "number"),
            Column("standard_unit", "unit, like for like"),
            Column("verdict", "verdict", "verdict"),
            Column("reason", "reason"),
        ],
        entries,
    )


def entry(text: str) -> float | str | None:
    """Return a number of the ledger; a word stays, and an empty entry is missing."""
    if text in ("", DIVERGED):
        return text or None
    return float(text)


def certificates(results: Results, trained: Trained) -> Table:
    """Return the round-trip and log-det errors of every trained model."""
    rows = []
    for (dataset, method), metrics in results.items():
        cfg = trained[dataset, method]
        row: dict[str, Any] = {"dataset": dataset, "method": name(method, cfg)}
        for dtype in ("float32", "float64"):
            for key in ("max", "median"):
                row[f"{dtype}_{key}"] = certified(metrics, "round_trip", dtype, key)
        row["logdet"] = certified(metrics, "logdet", "max_error")
        row["diagonal"] = certified(metrics, "smallest_abs_diagonal")
        rows.append(row)
    return Table(
        "certificate",
        "Invertibility of the trained models",
        "Largest and median error of data to latent to data over test items, relative for entries "
        "above 1 in size and absolute below, in both precisions; largest difference of the "
        "log-determinant from the exact Jacobian's in float64; smallest |u_dd|.",
        [
            Column("dataset", "data"),
            Column("method", "method"),
            Column("float32_max", "float32, max", "number", digits=2),
            Column("float32_median", "float32, median", "number", digits=2),
            Column("float64_max", "float64, max", "number", digits=2),
            Column("float64_median", "float64, median", "number", digits=2),
            Column("logdet", "log-det error", "number", "nats", digits=2),
            Column("diagonal", "smallest diagonal", "number", digits=2),
        ],
        rows,
        "Not finite: the inverse overflowed or did not converge. A dash: RealNVP has no diagonal, "
        "or its exact Jacobian costs too much.",
    )


def name(method: str, cfg: Train) -> str:
    """Return what people read; a row that saw the test data says so."""
    words = METHODS.get(method, method)
    return f"{words}, selected on test" if cfg.epochs and cfg.select == "test" else words


def certified(metrics: dict[str, Any], *keys: str) -> Any:
    """Return a number of the certificate, a word for a failure, or None if it was not measured."""
    found = metrics["certificate"]
    for key in keys:
        # A solver's failure stands in place of the numbers; a density has an `error` among them.
        if key not in found:
            return shown(NOT_FINITE if "error" in found else None, metrics)
        found = found[key]
    return shown(found, metrics)


def number(key: str, value: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of a mean and its standard error; a diverged run says so."""
    return {key: shown(value["mean"], metrics), f"{key}_se": error(value["se"], metrics)}


def shown(value: Any, metrics: dict[str, Any]) -> Any:
    """Return a value, or the word that stands for it if the training diverged."""
    return DIVERGED if metrics["training"]["status"] == DIVERGED else value


def error(value: Any, metrics: dict[str, Any]) -> Any:
    """Return a standard error where there is a number to carry it."""
    found = shown(value, metrics)
    return None if isinstance(found, str) else found


if __name__ == "__main__":
    main()
