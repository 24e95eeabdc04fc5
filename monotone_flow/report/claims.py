"""Which of the paper's claims hold, judged from the numbers."""

import math
from dataclasses import dataclass
from itertools import pairwise

from common.report.tables import Column, Table
from monotone_flow.report.results import (
    PANELS,
    Result,
    Results,
    certified,
    number,
    of_set,
    set_name,
)
from monotone_flow.report.tables_runs import lipschitz_bound

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
UNTESTED = "not testable here"
LIMITS = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True)
class Claim:
    """Hold a claim, its outcome and the evidence, in words made from numbers."""

    claim: str
    outcome: str
    evidence: str


def claims(results: Results) -> Table:
    """Judge every claim from the runs of the profile."""
    found = [
        monotone_fits_best(results),
        panels_in_order(results),
        better_than_i_densenet(results),
        above_the_entropy(results),
        *[inverts(results, dtype) for dtype in LIMITS],
        bounded(results),
    ]
    rows = [{"claim": c.claim, "outcome": c.outcome, "evidence": c.evidence} for c in found]
    return Table(
        "claims",
        "Which of the claims hold",
        "Each claim in our words, what came out, and the numbers behind it; ± is two standard "
        "errors. “not decided”: the difference is within them.",
        [Column("claim", "claim"), Column("outcome", "outcome"), Column("evidence", "evidence")],
        rows,
    )


def monotone_fits_best(results: Results) -> Claim:
    """Judge whether the monotone blocks fit the staircase better than every other panel."""
    claim = "Monotone blocks fit the staircase better than residual ones"
    errors = _fits(results)
    if "monotone" not in errors or len(errors) < 2:
        return Claim(claim, UNTESTED, "Not all of the panels were run.")
    ours, others = errors.pop("monotone"), errors
    name = min(others, key=lambda method: _worst_if_unknown(others[method][0]))
    outcome = _below(ours, others[name])
    ratio = others[name][0] / ours[0]
    return Claim(
        claim,
        outcome,
        f"Mean squared error {_shown(ours)}; the best other panel ({PANELS[name]}) has "
        f"{_shown(others[name])}, {ratio:.3g} times as much; 59 times in print."
        + _smaller(of_set(results, "staircase")),
    )


def panels_in_order(results: Results) -> Claim:
    """Judge whether the errors fall from panel a to panel d."""
    claim = "The errors of the fit fall from panel a to b, c and d"
    errors = _fits(results)
    if set(errors) != set(PANELS):
        return Claim(claim, UNTESTED, "Not all of the panels were run.")
    outcomes = [_below(errors[lower], errors[upper]) for upper, lower in pairwise(PANELS)]
    words = ", ".join(f"{name[0]} {_shown(errors[method])}" for method, name in PANELS.items())
    return Claim(
        claim,
        FAILS if FAILS in outcomes else OPEN if OPEN in outcomes else HOLDS,
        f"{words}; steps: {', '.join(outcomes)}." + _smaller(of_set(results, "staircase")),
    )


def better_than_i_densenet(results: Results) -> Claim:
    """Judge whether the monotone flow's excess over the entropy is smaller on every set."""
    claim = "Monotone Flow has a lower negative log-likelihood than i-DenseNet on every plane set"
    ours, peer = (results.get(("toys", method)) for method in ("monotone", "i_densenet"))
    if ours is None or peer is None or ours.diverged or peer.diverged:
        return Claim(claim, UNTESTED, "One of the two has no scores in this profile.")
    outcomes, words = [], []
    for name in ours.sets:
        if name not in peer.sets:
            continue
        left, right = (_estimate(run.sets[name]["excess"]) for run in (ours, peer))
        outcomes.append(_below(left, right))
        error = 2 * math.hypot(left[1], right[1])
        words.append(f"{set_name(name)} {left[0] - right[0]:+.4f} ± {error:.4f} ({outcomes[-1]})")
    if not outcomes:
        return Claim(claim, UNTESTED, "The two share no set.")
    return Claim(
        claim,
        FAILS if FAILS in outcomes else OPEN if OPEN in outcomes else HOLDS,
        f"Excess over the true density, monotone minus i-DenseNet, in nats: {'; '.join(words)}."
        + _smaller([ours, peer]),
    )


def above_the_entropy(results: Results) -> Claim:
    """Judge whether no mean score lies below the entropy by more than its error."""
    claim = "No score lies below the entropy of the true density"
    lowest: list[tuple[float, str]] = []
    for result in of_set(results, "toys"):
        for name, scores in {} if result.diverged else result.sets.items():
            mean, error = _estimate(scores["excess"])
            if math.isfinite(mean):
                words = f"{result.name} on {set_name(name)}: {mean:.4f} ± {2 * error:.4f}"
                lowest.append((mean + 2 * error, words))
    if not lowest:
        return Claim(claim, UNTESTED, "No plane density was run.")
    bad = [words for upper, words in lowest if upper < 0]
    if bad:
        return Claim(claim, FAILS, f"Below it, in nats: {'; '.join(bad)}.")
    return Claim(claim, HOLDS, f"Smallest excess of {len(lowest)}, in nats: {min(lowest)[1]}.")


def inverts(results: Results, dtype: str) -> Claim:
    """Judge whether every trained model comes back to within a limit in a precision."""
    limit = LIMITS[dtype]
    claim = f"Trained models are inverted to {limit:.0e} in {dtype}"
    trips = {
        f"{set_name(run.dataset)}, {run.name}": number(certified(run, "round_trip", dtype, "max"))
        for run in results.values()
        if not run.diverged
    }
    if not trips:
        return Claim(claim, UNTESTED, "Nothing was trained in this profile.")
    bad = [
        f"{name} ({trip:.1e})" if math.isfinite(trip) else f"{name} (does not converge)"
        for name, trip in trips.items()
        if not trip <= limit
    ]
    if bad:
        return Claim(claim, FAILS, f"{len(bad)} of {len(trips)} do not: {'; '.join(bad)}.")
    return Claim(claim, HOLDS, f"Largest error of {len(trips)} runs: {max(trips.values()):.1e}.")


def bounded(results: Results) -> Claim:
    """Judge whether the nets of every run keep a Lipschitz bound below one."""
    claim = "The Lipschitz bound of every net is below 1"
    bounds = [lipschitz_bound(run) for run in results.values()]
    known = [bound for bound in bounds if bound is not None]
    if not known:
        return Claim(claim, UNTESTED, "No bound was measured in this profile.")
    outcome = HOLDS if max(known) < 1 else FAILS
    return Claim(claim, outcome, f"Largest bound of {len(known)} runs: {max(known):.4f}.")


def _fits(results: Results) -> dict[str, tuple[float, float]]:
    return {
        run.method: _estimate(run.metrics["final"])
        for run in of_set(results, "staircase")
        if not run.diverged
    }


def _estimate(score: dict[str, object]) -> tuple[float, float]:
    """Return a mean and its standard error; 0 for the error of a single seed, which has none."""
    error = number(score["se"])
    return number(score["mean"]), error if math.isfinite(error) else 0.0


def _below(left: tuple[float, float], right: tuple[float, float]) -> str:
    gap, error = right[0] - left[0], 2 * math.hypot(left[1], right[1])
    if not math.isfinite(gap) or abs(gap) <= error:
        return OPEN
    return HOLDS if gap > 0 else FAILS


def _worst_if_unknown(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _shown(estimate: tuple[float, float]) -> str:
    mean, error = estimate
    return f"{mean:.3g} ± {2 * error:.2g}" if error else f"{mean:.3g} (one seed)"


def _smaller(runs: list[Result]) -> str:
    words = dict.fromkeys(run.lacks for run in runs if run.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""
