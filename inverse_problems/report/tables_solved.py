"""The tables of compressed sensing, denoising, inpainting, starts and representation."""

from collections.abc import Sequence
from typing import Any

from common.report.tables import Column, Table
from inverse_problems.report.draw_penalties import PENALTIES, STARTS, noisy_cells
from inverse_problems.report.results import Cell, Results, Score, Solve, best, set_name, stem


def compressed(results: Results) -> list[Table]:
    """Return one table of PSNR for each test set, a column for each number of measurements."""
    solves = results.of("compressed")
    if not solves:
        return []
    sets = solves[0].values("set")
    return [_compressed(solves, dataset) for dataset in sets]


def _compressed(solves: Sequence[Solve], dataset: str) -> Table:
    first = solves[0]
    columns = [Column("method", "method"), Column("images", "images", "integer")]
    for cell in sorted(first.where(set=dataset), key=lambda c: -c.at["m"]):
        key = f"m{cell.at['m']}"
        title = f"m = {cell.at['m']} ({cell.at['ratio']:.3g} n)"
        columns.append(Column(key, title, "number", "dB", decimals=2, error=f"{key}_se"))
    columns.append(Column("failed", "failed", "integer"))
    rows = []
    for solve in solves:
        row: dict[str, Any] = {"method": solve.name, "failed": 0}
        row["images"] = solve.metrics["images"]
        for cell in solve.where(set=dataset):
            row |= entry(f"m{cell.at['m']}", cell.score())
            row["failed"] += cell.failed
        rows.append(row)
    where = "in distribution" if dataset == first.trained else "out of distribution"
    seeds = first.metrics["seeds"]
    drawn = "one draw" if seeds == 1 else f"{seeds} draws"
    return Table(
        f"compressed_{dataset}",
        f"Compressed sensing: {set_name(dataset)}, {where}",
        f"PSNR of a seeded choice of test images, {drawn} of A and noise, priors trained on "
        f"{set_name(first.trained)}, n = {first.metrics['n']}; higher is better. ± is one standard "
        "error, over images or over draws, whichever is larger; failed images left the finite "
        "numbers and count with their best iterate.",
        columns,
        rows,
        note=notes(solves),
    )


def budgets(results: Results) -> list[Table]:
    """Return what each method spent on compressed sensing and where it ended."""
    solves = results.of("compressed")
    if not solves:
        return []
    rows = [
        {
            "method": solve.name,
            "set": set_name(cell.at["set"]),
            "m": cell.at["m"],
            **entry("ssim", cell.score("ssim")),
            "residual": cell.values.get("residual", {}).get("mean"),
            "latent": cell.values.get("latent", {}).get("mean"),
            "evaluations": cell.values.get("evaluations", {}).get("mean"),
            "failed": cell.failed,
        }
        for solve in solves
        for cell in solve.cells
    ]
    return [
        Table(
            "compressed_details",
            "Compressed sensing: what was found, and what it took",
            "Residual: |A x - y|, mean over images; latents: norm over the root of their number; "
            "evaluations of the generator with its gradient, per image.",
            [
                Column("method", "method"),
                Column("set", "set"),
                Column("m", "m", "integer"),
                Column("ssim", "SSIM", "number", error="ssim_se"),
                Column("residual", "residual", "number", digits=3),
                Column("latent", "latents", "number", digits=3),
                Column("evaluations", "evaluations", "number", digits=3),
                Column("failed", "failed", "integer"),
            ],
            rows,
        )
    ]


def denoising(results: Results) -> list[Table]:
    """Return the best PSNR over weights beside that without a penalty."""
    solves = results.of("denoising")
    if not solves:
        return []
    rows: list[dict[str, Any]] = []
    for noisy in noisy_cells(solves):
        at = {"set": noisy.at["set"], "sigma": noisy.at["sigma"]}
        rows.append({**_problem(at), "method": "noisy image", **entry("best", noisy.score())})
        for solve in solves:
            for penalty in solve.values("penalty"):
                rows += _penalised(solve, solve.where(**at, penalty=penalty), at, penalty)
    return [
        Table(
            "denoising",
            "Denoising",
            f"PSNR of {solves[0].metrics['images']} test images of each set, by noise. The best "
            "weight is the one with the highest PSNR on these test images, as published, so an "
            "upper bound; at the derived weight, sigma squared for the squared norm, nothing was "
            "chosen.",
            [
                Column("set", "set"),
                Column("sigma", "sigma", "number", digits=2),
                Column("method", "method"),
                Column("penalty", "penalty"),
                Column("none", "without penalty", "number", "dB", decimals=2, error="none_se"),
                Column("best", "best", "number", "dB", decimals=2, error="best_se"),
                Column("weight", "at weight", "number", digits=3),
                Column("derived", "at derived", "number", "dB", decimals=2, error="derived_se"),
            ],
            rows,
            note=notes(solves),
        )
    ]


def _penalised(
    solve: Solve, cells: list[Cell], at: dict[str, Any], penalty: str | None
) -> list[dict[str, Any]]:
    if not cells:
        return []
    row = {**_problem(at), "method": solve.name, "penalty": PENALTIES.get(penalty or "", "")}
    if penalty is None:
        return [{**row, **entry("best", cells[0].score())}]
    found = best(cells, lambda c: c.score().mean)
    for cell in cells:
        if cell.at["gamma"] == 0:
            row |= entry("none", cell.score())
        if cell.values.get("derived"):
            row |= entry("derived", cell.score())
    if found is not None:
        row |= {**entry("best", found.score()), "weight": found.at["gamma"]}
    return [row]


def inpainting(results: Results) -> list[Table]:
    """Return PSNR of the filled images, without a penalty and at the best weight."""
    solves = results.of("inpainting")
    if not solves:
        return []
    rows: list[dict[str, Any]] = []
    for dataset in solves[0].values("set"):
        for solve in solves:
            for start in solve.values("start"):
                cells = solve.where(set=dataset, start=start)
                row = {"set": set_name(dataset), "method": solve.name}
                row["start"] = "" if start is None else STARTS.get(start, start)
                found = best(cells, lambda c: c.score().mean)
                for cell in cells:
                    if cell.at["gamma"] == 0:
                        row |= entry("none", cell.score())
                if found is not None:
                    row |= {**entry("best", found.score()), "weight": found.at["gamma"]}
                rows.append(row)
    return [
        Table(
            "inpainting",
            "Inpainting",
            f"PSNR of {solves[0].metrics['images']} whole images of each set with a centred square "
            "missing; the best weight of the penalty "
            "|z| is chosen on these test images, as published.",
            [
                Column("set", "set"),
                Column("method", "method"),
                Column("start", "start"),
                Column("none", "without penalty", "number", "dB", decimals=2, error="none_se"),
                Column("best", "best", "number", "dB", decimals=2, error="best_se"),
                Column("weight", "at weight", "number", digits=3),
            ],
            rows,
            note=notes(solves),
        )
    ]


def starts(results: Results) -> list[Table]:
    """Return PSNR by start and weight."""
    return [_starts(solve) for solve in results.of("starts")]


def _starts(solve: Solve) -> Table:
    names = solve.values("start")
    rows = []
    for gamma in solve.values("gamma"):
        row: dict[str, Any] = {"gamma": gamma}
        for cell in solve.where(gamma=gamma):
            row |= entry(cell.at["start"], cell.score())
        rows.append(row)
    columns = [Column("gamma", "weight of |z|", "number", digits=2)]
    columns += [
        Column(name, STARTS.get(name, name), "number", "dB", decimals=2, error=f"{name}_se")
        for name in names
    ]
    return Table(
        stem(solve),
        f"Where recovery starts, and the penalty: {solve.name}",
        f"PSNR of compressed sensing at m / n = {solve.cells[0].at['ratio']:.3g}, a column for "
        f"each start of the latents; {solve.metrics['images']} images.",
        columns,
        rows,
        note=notes([solve]),
    )


def representation(results: Results) -> list[Table]:
    """Return how well each prior represents images when everything is measured without noise."""
    solves = results.of("representation")
    if not solves:
        return []
    rows = [
        {
            "set": set_name(cell.at["set"]),
            "method": solve.name,
            **entry("psnr", cell.score()),
            **entry("ssim", cell.score("ssim")),
            "failed": cell.failed,
        }
        for solve in solves
        for cell in solve.cells
    ]
    return [
        Table(
            "representation",
            "Representation error",
            f"{solves[0].metrics['images']} images of each set are measured whole and without "
            "noise, so what is missing is what the prior, or the optimiser, cannot reach. For an "
            "invertible prior the true value is infinite.",
            [
                Column("set", "set"),
                Column("method", "method"),
                Column("psnr", "PSNR", "number", "dB", decimals=2, error="psnr_se"),
                Column("ssim", "SSIM", "number", error="ssim_se"),
                Column("failed", "failed", "integer"),
            ],
            rows,
            note=notes(solves),
        )
    ]


def _problem(at: dict[str, Any]) -> dict[str, Any]:
    return {"set": set_name(at["set"]), "sigma": at["sigma"]}


def entry(key: str, score: Score) -> dict[str, Any]:
    """Return a table's entries `key` and `key`_se."""
    return {key: score.mean, f"{key}_se": score.error}


def notes(solves: Sequence[Solve]) -> str:
    """Say what is smaller than published."""
    words = dict.fromkeys(solve.lacks for solve in solves if solve.lacks)
    return f"Scaled down: {'; '.join(words)}." if words else ""
