"""How much better or worse one method is than another on the same test items."""

import math
from dataclasses import dataclass

import numpy as np

from common.errors import UserError
from common.report.ledger import DIVERGED
from lrs_flow.report.results import DEPTHS, Result, Results, datasets, number, set_name

# Whom each linear rational method is compared with, on every set where both were run.
PEERS = {
    "lrs_c": ("rq_c", "q_c", "q_published_c", "affine_c", "ffjord", "gaussian"),
    "lrs_small_c": ("rq_c",),
    "lrs_ar": ("rq_ar", "q_ar", "affine_ar"),
    "lrs": ("rq", "affine", "ffjord"),
    "lrs_2": ("rq_2", "affine", "ffjord"),
    **{f"lrs_d{depth}": (f"rq_d{depth}",) for depth in DEPTHS},
}
BETTER, WORSE, LEVEL = "LRS better", "LRS worse", "within two standard errors"


@dataclass(frozen=True)
class Difference:
    """Hold ours minus the peer's score on one set.

    Args:
        ours: the linear rational method.
        peer: the other one.
        mean: of the differences, in the unit of both; NaN if one is not finite.
        se_items: standard error over test items, scores averaged over seeds; NaN on folds.
        se_models: over folds, or over seeds as far as there are several; NaN else.
        count: folds, or test items.
    """

    ours: Result
    peer: Result
    mean: float
    se_items: float
    se_models: float
    count: int

    @property
    def se(self) -> float:
        """Return the standard error from both sources."""
        parts = [part for part in (self.se_items, self.se_models) if math.isfinite(part)]
        return math.hypot(*parts) if parts else math.nan

    @property
    def gain(self) -> float:
        """Return the difference with the sign that makes more of it better."""
        return -self.mean if self.ours.unit == "bits/dim" else self.mean

    @property
    def outcome(self) -> str:
        """Say which is better, as far as two standard errors can tell."""
        if self.ours.diverged or self.peer.diverged:
            return DIVERGED
        if not math.isfinite(self.gain):
            return "not finite"
        if abs(self.gain) <= 2 * self.se:
            return LEVEL
        return BETTER if self.gain > 0 else WORSE

    @property
    def words(self) -> str:
        """Say by how much, with two standard errors, in one clause."""
        names = f"{set_name(self.ours.dataset)}, {self.ours.name} minus {self.peer.name}"
        if self.outcome in (DIVERGED, "not finite"):
            return f"{names}: {self.outcome}"
        return f"{names}: {self.mean:+.3f} ± {2 * self.se:.3f} {self.ours.unit}"


def difference(ours: Result, peer: Result) -> Difference:
    """Compare two methods on one set, item by item, or fold by fold where there are folds.

    Raises:
        UserError: the two were scored on different test items.
    """
    if ours.metrics["test"]["items"][0] != peer.metrics["test"]["items"][0]:
        raise UserError(
            f"{ours.folder} and {peer.folder}: scored on different test items; evaluate both again"
        )
    if ours.cross_validated:
        means = [
            np.array([number(v) for v in r.metrics["test"]["per_model"]]) for r in (ours, peer)
        ]
        gaps = means[0] - means[1]
        return Difference(ours, peer, float(gaps.mean()), math.nan, _error(gaps), len(gaps))
    a, b = (r.arrays["test"].astype(np.float64) for r in (ours, peer))
    with np.errstate(invalid="ignore"):  # what is not finite gives NaN, which says so itself
        gaps = a.mean(0) - b.mean(0)
        seeds = [_error(v.mean(1)) for v in (a, b) if len(v) > 1]
        return Difference(
            ours,
            peer,
            float(gaps.mean()),
            _error(gaps),
            math.hypot(*seeds) if seeds else math.nan,
            len(gaps),
        )


def differences(results: Results) -> list[Difference]:
    """Return all comparisons of `PEERS` whose two methods were run on the same set."""
    pairs = [
        (results[dataset, method], results[dataset, peer])
        for dataset in datasets(results)
        for method, peers in PEERS.items()
        for peer in peers
        if (dataset, method) in results and (dataset, peer) in results
    ]
    return [difference(ours, peer) for ours, peer in pairs]


def _error(values: np.ndarray) -> float:
    """Return the standard error of a mean."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))
