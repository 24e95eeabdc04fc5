"""Which of the paper's claims hold, judged from the numbers."""

import math
from collections.abc import Sequence
from itertools import pairwise

from common.report.cells import Cell
from common.report.claims import FAILS, HOLDS, OPEN, UNTESTED, Claim
from common.report.tables import NOT_FINITE, Column, Table
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
from monotone_flow.toys import TOYS

LIMITS = {"float32": 1e-4, "float64": 1e-9}
NO_ERROR = "one seed gives no error"


def claims(results: Results, cells: Sequence[Cell]) -> Table:
    """Judge every claim from the runs of the profile, beside what the published cells say."""
    found = [
        monotone_fits_best(results, cells),
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
        f"errors. “{OPEN}”: the difference is within them, or {NO_ERROR}.",
        [Column("claim", "claim"), Column("outcome", "outcome"), Column("evidence", "evidence")],
        rows,
    )


def monotone_fits_best(results: Results, cells: Sequence[Cell]) -> Claim:
    """Judge whether the monotone blocks fit the staircase better than every other panel."""
    claim = "Monotone blocks fit the staircase better than residual ones"
    errors = _fits(results)
    if "monotone" not in errors or len(errors) < 2:
        return Claim(claim, UNTESTED, _without_score(results).lstrip())
    ours, others = errors.pop("monotone"), errors
    name = min(others, key=lambda method: others[method][0])
    outcome = _below(ours, others[name])
    return Claim(
        claim,
        outcome,
        f"Mean squared error {_shown(ours)}; the best other panel ({PANELS[name]}) has "
        f"{_shown(others[name])}, {others[name][0] / ours[0]:.3g} times as much; "
        f"{_printed_ratio(cells):.3g} times in print."
        + _alone([ours, others[name]])
        + _without_score(results)
        + _smaller(of_set(results, "staircase")),
    )


def panels_in_order(results: Results) -> Claim:
    """Judge whether the errors fall from panel a to panel d."""
    claim = "The errors of the fit fall from panel a to b, c and d"
    errors = _fits(results)
    if set(errors) != set(PANELS):
        return Claim(claim, UNTESTED, _without_score(results).lstrip())
    outcomes = [_below(errors[lower], errors[upper]) for upper, lower in pairwise(PANELS)]
    words = ", ".join(f"{name[0]} {_shown(errors[method])}" for method, name in PANELS.items())
    return Claim(
        claim,
        _all(outcomes),
        f"{words}; steps: {', '.join(outcomes)}."
        + _alone(list(errors.values()))
        + _smaller(of_set(results, "staircase")),
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
        gap, error = left[0] - right[0], 2 * math.hypot(left[1], right[1])
        shown = f"{gap:+.4f} ± {error:.4f}" if math.isfinite(gap) else NOT_FINITE
        words.append(f"{set_name(name)} {shown} ({outcomes[-1]})")
    if not outcomes:
        return Claim(claim, UNTESTED, "The two share no set.")
    return Claim(
        claim,
        _all(outcomes),
        f"Excess over the true density, monotone minus i-DenseNet, in nats: {'; '.join(words)}."
        " The errors are those of the test points, not of training again."
        + ("" if len(words) == len(TOYS) else f" Only {len(words)} of {len(TOYS)} sets were run.")
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
    """Return the errors of the panels that have one."""
    found = {
        run.method: _estimate(run.metrics["final"])
        for run in of_set(results, "staircase")
        if not run.diverged
    }
    return {method: error for method, error in found.items() if math.isfinite(error[0])}


def _without_score(results: Results) -> str:
    """Say which panels have no error, and why; nothing if all have one."""
    runs = {run.method: run for run in of_set(results, "staircase")}
    missing = [
        f"{name} ({(runs[method].ending or NOT_FINITE) if method in runs else 'not run'})"
        for method, name in PANELS.items()
        if method not in _fits(results)
    ]
    return f" Without a score: {'; '.join(missing)}." if missing else ""


def _printed_ratio(cells: Sequence[Cell]) -> float:
    """Return the smallest published error of another panel over that of the monotone one."""
    printed = {cell.id.split("/")[1]: cell.value for cell in cells if cell.table == "fit"}
    ours = printed.pop("monotone")
    return min(printed.values()) / ours


def _estimate(score: dict[str, object]) -> tuple[float, float]:
    """Return a mean and its standard error, NaN for that of a single seed, which has none."""
    return number(score["mean"]), number(score["se"])


def _below(left: tuple[float, float], right: tuple[float, float]) -> str:
    """Judge whether left is below right by more than two standard errors, which must be known."""
    gap, error = right[0] - left[0], 2 * math.hypot(left[1], right[1])
    if not abs(gap) > error or not math.isfinite(gap):
        return OPEN
    return HOLDS if gap > 0 else FAILS


def _all(outcomes: list[str]) -> str:
    return FAILS if FAILS in outcomes else OPEN if OPEN in outcomes else HOLDS


def _shown(estimate: tuple[float, float]) -> str:
    mean, error = estimate
    return f"{mean:.3g} ± {2 * error:.2g}" if math.isfinite(error) else f"{mean:.3g} (one seed)"


def _alone(estimates: list[tuple[float, float]]) -> str:
    """Say why an outcome is open if an estimate has no error."""
    known = all(math.isfinite(error) for _, error in estimates)
    return "" if known else f" {NO_ERROR.capitalize()}, so a gap to it decides nothing."


def _smaller(runs: list[Result]) -> str:
    words = dict.fromkeys(run.lacks for run in runs if run.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""
