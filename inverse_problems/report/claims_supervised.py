"""Which of the claims about supervised networks hold, judged from the numbers."""

import math

from common.report.claims import FAILS, HOLDS, OPEN, UNTESTED, Claim
from common.report.tables import Column, Table
from inverse_problems.report.supervised_results import Supervised, SupervisedResults, worst

ACCURATE = 0.98
TIMES = 3.0
LIMITS = {"float32": 1e-4, "float64": 1e-9}
NO_ERROR = "One seed gives no error, so a difference decides nothing."


def supervised_claims(results: SupervisedResults) -> list[Claim]:
    """Judge every claim from the tasks of the profile."""
    return [
        reaches_all_modes(results),
        between_modes(results),
        latents_depend(results),
        *[inverts(results, dtype) for dtype in LIMITS],
    ]


def claims_table(results: SupervisedResults) -> Table:
    """Return the claims as a table."""
    rows = [vars(claim) for claim in supervised_claims(results)]
    return Table(
        "supervised_claims",
        "Which of the claims about supervised networks hold",
        "Each claim in our words, what came out, and the numbers behind it; ± is two standard "
        f"errors over seeds. “{OPEN}”: the difference is within them.",
        [Column("claim", "claim"), Column("outcome", "outcome"), Column("evidence", "evidence")],
        rows,
    )


def reaches_all_modes(results: SupervisedResults) -> Claim:
    """Judge whether every seed reaches every mode with all three losses."""
    claim = "With all three losses posterior samples reach every mode of “some”"
    run = _sound(results, "mixture_some")
    if run is None:
        return Claim(claim, UNTESTED, _absent(results, "mixture_some"))
    posterior = run.metrics["posterior"]
    seeds = [int(count) for count in posterior["modes"]["per_model"]]
    outcome = HOLDS if min(seeds) == posterior["of"] else FAILS
    words = ", ".join(map(str, seeds))
    return Claim(
        claim,
        outcome,
        f"Modes reached of {posterior['of']}, one number a seed: {words}; "
        f"MMD to the exact posterior {_shown(run, 'posterior', 'mmd')}, of two exact sets "
        f"{posterior['floor']:.2g}." + _smaller([run]),
    )


def between_modes(results: SupervisedResults) -> Claim:
    """Judge whether training without L_x is accurate, yet leaves more samples between modes."""
    claim = (
        f"Without L_x labels are right ({ACCURATE:.0%} or more) but more samples lie between modes "
        "than with all three losses"
    )
    full, without = _sound(results, "mixture_some"), _sound(results, "mixture_some_y_z")
    if full is None or without is None:
        return Claim(claim, UNTESTED, _absent(results, "mixture_some", "mixture_some_y_z"))
    accuracy, _ = without.score("accuracy")
    left, right = without.score("posterior", "stray"), full.score("posterior", "stray")
    more = above(left, right)
    outcome = FAILS if accuracy < ACCURATE or more == FAILS else more
    return Claim(
        claim,
        outcome,
        f"Accuracy without L_x {_shown(without, 'accuracy')}; between modes "
        f"{_shown(without, 'posterior', 'stray')} without L_x and "
        f"{_shown(full, 'posterior', 'stray')} with all three."
        + _alone([left, right])
        + _smaller([full, without]),
    )


def latents_depend(results: SupervisedResults) -> Claim:
    """Judge whether training without L_z leaves latents that depend on y."""
    claim = (
        f"Without L_z the latents depend on y: their discrepancy given y is {TIMES:g} times as "
        "large or more"
    )
    full, without = _sound(results, "mixture_some"), _sound(results, "mixture_some_y_x")
    if full is None or without is None:
        return Claim(claim, UNTESTED, _absent(results, "mixture_some", "mixture_some_y_x"))
    left, right = without.score("dependence", "mmd"), full.score("dependence", "mmd")
    outcome = above(left, (TIMES * right[0], TIMES * right[1]))
    return Claim(
        claim,
        outcome,
        f"MMD of z given y {_shown(without, 'dependence', 'mmd')} without L_z and "
        f"{_shown(full, 'dependence', 'mmd')} with all three, {left[0] / right[0]:.3g} times; of "
        f"exact draws {full.metrics['dependence']['floor']:.2g}."
        + _alone([left, right])
        + _smaller([full, without]),
    )


def inverts(results: SupervisedResults, dtype: str) -> Claim:
    """Judge whether every trained network comes back to within a limit in a precision."""
    limit = LIMITS[dtype]
    claim = f"Trained networks are inverted to {limit:.0e} in {dtype}"
    trips = {
        run.task: worst(run.metrics["certificate"], dtype)
        for run in results.values()
        if not run.diverged
    }
    if not trips:
        return Claim(claim, UNTESTED, "Nothing was trained in this profile.")
    bad = [
        f"{task} ({trip:.1e})" if math.isfinite(trip) else f"{task} (not finite)"
        for task, trip in trips.items()
        if not trip <= limit
    ]
    if bad:
        return Claim(claim, FAILS, f"{len(bad)} of {len(trips)} are not: {'; '.join(bad)}.")
    return Claim(claim, HOLDS, f"Largest error of {len(trips)} tasks: {max(trips.values()):.1e}.")


def above(left: tuple[float, float], right: tuple[float, float]) -> str:
    """Judge whether left is above right by more than two standard errors, which must be known."""
    gap, error = left[0] - right[0], 2 * math.hypot(left[1], right[1])
    if not abs(gap) > error:  # also where one of them is not finite: a lone seed has no error
        return OPEN
    return HOLDS if gap > 0 else FAILS


def _sound(results: SupervisedResults, task: str) -> Supervised | None:
    run = results.get(task)
    return None if run is None or run.diverged else run


def _absent(results: SupervisedResults, *tasks: str) -> str:
    words = [
        f"{task} ({'diverged' if task in results else 'not run'})"
        for task in tasks
        if _sound(results, task) is None
    ]
    return f"Without scores: {'; '.join(words)}."


def _shown(run: Supervised, *keys: str) -> str:
    mean, error = run.score(*keys)
    return f"{mean:.3g} ± {2 * error:.2g}" if math.isfinite(error) else f"{mean:.3g}"


def _alone(scores: list[tuple[float, float]]) -> str:
    return "" if all(math.isfinite(error) for _, error in scores) else f" {NO_ERROR}"


def _smaller(runs: list[Supervised]) -> str:
    words = dict.fromkeys(run.lacks for run in runs if run.lacks)
    return f" Scaled down: {'; '.join(words)}." if words else ""
