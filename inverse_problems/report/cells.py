"""What our results say about each of the published cells."""

import math
from collections.abc import Sequence

from common.errors import UserError
from common.report.cells import Cell as Published
from common.report.ledger import Measurement
from inverse_problems.report.results import Cell, Results, Solve, best, number

SOLVE, PRIOR = "solve", "prior"
FACES_NOT_RUN = "faces of 64 x 64 pixels: listed in the profile paper-gpu, which has not been run"
NO_SET = "no run on these images: the set that the published prior learned is not to be had in full"
NO_FFHQ = "no run on FFHQ: its 1,000 published test faces are not to be had"
NO_BM3D = "no run of BM3D is listed: its package is no dependency, for its licence"
NO_PRIOR = "this profile lists no such prior"
NOT_OURS = "quoted from the publication; no method of this repository repeats it"
# Table of the ledger -> test set of ours; methods that are only quoted are not run.
COMPRESSED = {
    "compressed_celeba": "celeba64",
    "compressed_2020_celeba": "celeba64",
}
QUOTED = ("iagan", "deep_decoder")
FACES = "celeba64"


def measurements(cells: Sequence[Published], results: Results) -> list[Measurement]:
    """Return one measurement per published cell.

    Args:
        cells: the published cells; an id is <table>/<method>/<m, gamma, sigma, norm or set>.
        results: the experiments of the profile.

    Raises:
        UserError: a cell belongs to a table that nothing here measures.
    """
    return [_measure(cell, results) for cell in cells]


def _measure(cell: Published, results: Results) -> Measurement:
    table, method, at = cell.id.split("/")
    if method in QUOTED:
        return Measurement(cell.id, SOLVE, not_run=NOT_OURS)
    if method == "bm3d":
        return Measurement(cell.id, SOLVE, not_run=NO_BM3D)
    if table == "compressed_2020_ffhq":
        return Measurement(cell.id, SOLVE, not_run=NO_FFHQ)
    if table in COMPRESSED:
        solve = _on_faces(results, "compressed", method)
        found = solve.where(set=COMPRESSED[table], m=int(at)) if solve else []
        return _psnr(cell, solve, found)
    if table in ("compressed_birds", "compressed_flowers"):
        return Measurement(cell.id, SOLVE, not_run=NO_SET)
    if table == "starts":
        solve = _on_faces(results, "starts", "glow")
        found = solve.where(start=method, gamma=float(at)) if solve else []
        return _psnr(cell, solve, found)
    if table == "norms":
        solve = _on_faces(results, "norms", "glow")
        key = "latent" if method == "glow_latent" else "psnr"
        return _psnr(cell, solve, solve.where(norm=float(at)) if solve else [], key)
    if table == "denoising":
        return _denoising(cell, results, method, float(at))
    if table == "inpainting":
        return _inpainting(cell, results, method, at)
    if table == "priors":
        return _likelihood(cell, results, method, at)
    raise UserError(f"paper.yaml: cell {cell.id!r} is of a table that nothing here measures")


def _denoising(cell: Published, results: Results, method: str, sigma: float) -> Measurement:
    name, _, weight = method.rpartition("_")
    solve = _on_faces(results, "denoising", name or method)
    if solve is None:
        return _psnr(cell, None, [])
    if method == "noisy":
        noisy = [
            Cell(found["at"], found, index)
            for index, found in enumerate(solve.metrics["noisy"])
            if found["at"] == {"set": FACES, "sigma": sigma}
        ]
        return _psnr(cell, solve, noisy)
    cells = solve.where(set=FACES, sigma=sigma, penalty="norm")
    return _psnr(cell, solve, _weighted(cells, weight))


def _inpainting(cell: Published, results: Results, method: str, weight: str) -> Measurement:
    name, _, start = method.partition("_")
    solve = _on_faces(results, "inpainting", name)
    if solve is None:
        return _psnr(cell, None, [])
    cells = solve.where(set=FACES, start=start) if start else solve.where(set=FACES)
    return _psnr(cell, solve, _weighted(cells, weight))


def _likelihood(cell: Published, results: Results, prior: str, dataset: str) -> Measurement:
    metrics = results.priors.get((dataset, prior))
    if metrics is None:
        return Measurement(cell.id, PRIOR, not_run=NO_PRIOR)
    test = metrics["bits_per_dim"]["test"]
    mean, se = number(test["mean"]), number(test["se"])
    if not math.isfinite(mean):
        return Measurement(cell.id, PRIOR, diverged="the score is not finite")
    size = f"{metrics['parameters']:,} parameters, {metrics['training']['steps']:,} steps"
    return Measurement(
        cell.id,
        PRIOR,
        measured=mean,
        measured_se=se if math.isfinite(se) else None,
        scaled_down=size if metrics.get("scaled_down") else "",
    )


def _weighted(cells: list[Cell], weight: str) -> list[Cell]:
    """Return the cell at a weight, or the best one."""
    if weight == "best":
        found = best(cells, lambda c: c.score().mean)
        return [] if found is None else [found]
    return [cell for cell in cells if cell.at["gamma"] == float(weight)]


def _on_faces(results: Results, experiment: str, method: str) -> Solve | None:
    solve = results.get(experiment, method)
    return solve if solve is not None and solve.trained == FACES else None


def _psnr(
    cell: Published, solve: Solve | None, found: Sequence[Cell], key: str = "psnr"
) -> Measurement:
    if solve is None or not found:
        return Measurement(cell.id, SOLVE, not_run=FACES_NOT_RUN)
    score = found[0].score(key)
    if not math.isfinite(score.mean):
        return Measurement(cell.id, SOLVE, diverged="the score is not finite")
    return Measurement(
        cell.id,
        SOLVE,
        measured=score.mean,
        measured_se=score.error if math.isfinite(score.error) else None,
        n_seeds=int(solve.metrics["seeds"]),
        scaled_down=solve.lacks,
    )
