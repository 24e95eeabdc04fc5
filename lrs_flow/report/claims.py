"""Which of the poster's claims hold, judged from the numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from common.report.claims import FAILS, HOLDS, OPEN, UNTESTED, Claim
from common.report.tables import Column, Table
from lrs_flow.report.paired import BETTER, LEVEL, WORSE, Difference
from lrs_flow.report.results import DEPTHS, Results, method_name, number, of_set, set_name
from lrs_flow.report.tables_parameters import Counts, excess
from lrs_flow.report.tables_plane import misplaced

# The poster prints LRS in bold on these sets, among the couplings and FFJORD.
LEADS = ("power", "hepmass", "bsds300")
PRINTED = 0.005
EVERY = (BETTER, LEVEL, WORSE)
TABLE_PEERS = ("rq_c", "q_c", "affine_c", "ffjord")


def claims(
    results: Results, differences: Sequence[Difference], counts: Counts, inverse: dict[str, Any]
) -> Table:
    """Judge every claim.

    Args:
        results: the runs of the profile.
        differences: LRS minus each peer.
        counts: parameters of the published configurations.
        inverse: what `lrs_flow.inverse` wrote.
    """
    found = [
        closed_form(inverse, results),
        no_less_exact(inverse),
        speed(inverse),
        fewer_than_one_percent(counts),
        *leads_the_table(results, differences),
        level_with_rq(differences),
        at_equal_size(differences),
        clean_rings(results, differences),
        better_at_every_depth(differences),
        level_on_images(differences),
    ]
    rows = [{"claim": c.claim, "outcome": c.outcome, "evidence": c.evidence} for c in found]
    return Table(
        "claims",
        "Which of the poster's claims hold",
        "Each claim in our words, what came out, and the numbers behind it; ± is two standard "
        "errors. “not decided”: the difference is within them. “scaled down”: with fewer steps, "
        "less data or a smaller model than published, as the tables say.",
        [Column("claim", "claim"), Column("outcome", "outcome"), Column("evidence", "evidence")],
        rows,
    )


def closed_form(inverse: dict[str, Any], results: Results) -> Claim:
    """Judge whether the inverse works without a root, wherever it is asked."""
    claim = "The inverse of the spline is closed form, of the same family, without a root"
    rows = [row for row in inverse["accuracy"] if row["spline"] == "lrs"]
    if not rows:
        return Claim(claim, UNTESTED, "The inverse was not measured in this profile.")
    bad, out = (sum(row[key] for row in rows) for key in ("not_finite", "outside"))
    errors = ", ".join(f"{row['p999']:.1e} ({row['setting']})" for row in rows)
    words = (
        f"Over {len(rows)} settings in float32, {bad:,} values were not finite and {out:,} left "
        f"the box; 99.9 % of the round-trip errors were below {errors}."
    )
    trips = [
        number(result.metrics["certificate"]["round_trip"]["float64"].get("max"))
        for (_, method), result in results.items()
        if method.startswith("lrs") and not result.diverged
    ]
    failed = [trip for trip in trips if not math.isfinite(trip)]
    if failed:
        words += f" Of {len(trips)} trained models {len(failed)} do not come back in float64."
    elif trips:
        words += (
            f" Largest round-trip error in float64 of {len(trips)} trained models: "
            f"{max(trips):.1e}."
        )
    return Claim(claim, FAILS if bad + out or failed else HOLDS, words)


def no_less_exact(inverse: dict[str, Any]) -> Claim:
    """Judge whether the inverse is as exact as the rational quadratic one, which takes a root.

    The two maps differ in slope and so in what rounding y alone costs; each error is taken over
    that floor. A twentieth is what two draws of the logits differ by.
    """
    claim = "The closed-form inverse is no less exact than that of RQ-NSF"
    if not inverse["accuracy"]:
        return Claim(claim, UNTESTED, "The inverse was not measured in this profile.")
    by = {(row["setting"], row["spline"]): row for row in inverse["accuracy"]}
    settings = list(dict.fromkeys(row["setting"] for row in inverse["accuracy"]))

    def ratios(of: Callable[[dict[str, Any]], float]) -> dict[str, float]:
        return {s: of(by[s, "lrs"]) / of(by[s, "rq"]) for s in settings}

    raw = ratios(lambda row: row["mean"])
    relative = ratios(lambda row: row["mean"] / row["floor"])
    words = ", ".join(f"{raw[s]:.2f} ({s})" for s in settings)
    scaled = ", ".join(f"{relative[s]:.2f}" for s in settings)
    evidence = (
        f"Mean float32 round-trip error, LRS over RQ-NSF: {words}. With the same logits the maps "
        "have different slopes, hence different errors from rounding alone; each error taken over "
        f"that floor, the ratios are {scaled}."
    )
    behind = [s for s in settings if relative[s] > 1.05]
    return Claim(claim, FAILS if behind else HOLDS, evidence)


def speed(inverse: dict[str, Any]) -> Claim:
    """Judge whether samples are drawn faster than with RQ-NSF."""
    rows = [row for row in inverse["time"] if row["peer"].startswith("rq")]
    words = ", ".join(
        f"{row['ms']:.1f} ms against {row['peer_ms']:.1f} ms on {set_name(row['dataset'])}, ratio "
        f"{row['ratio']:.3f} (quartiles {row['ratio_q1']:.3f} to {row['ratio_q3']:.3f})"
        for row in rows
    )
    if not rows:
        outcome = UNTESTED
    elif all(row["ratio_q1"] > 1 for row in rows):
        outcome = HOLDS
    else:
        outcome = FAILS
        slower = all(row["ratio_q3"] < 1 for row in rows)
        words += "; LRS is slower" if slower else "; no difference beyond the rounds' own spread"
    return Claim(
        "Inverting, so sampling, is faster than with RQ-NSF",
        outcome,
        f"Time to draw samples from trained models: {words}." if words else "No model was timed.",
    )


def fewer_than_one_percent(counts: Counts) -> Claim:
    """Judge the statement about parameters."""
    groups = {"coupling": "table of likelihoods", "images": "images", "depth": "depth study"}
    percents = {
        (group, name): percent
        for group in groups
        for name, percent in excess(counts, group).items()
    }
    within = [key for key, percent in percents.items() if percent < 1]
    words = "; ".join(
        f"{label}: " + _range([p for (g, _), p in percents.items() if g == group])
        for group, label in groups.items()
    )
    worst = max(percents, key=percents.__getitem__)
    return Claim(
        "LRS has less than 1 % more parameters than RQ-NSF",
        HOLDS if len(within) == len(percents) else FAILS,
        f"True of {len(within)} of {len(percents)} configurations, those of the depth study being "
        f"inferred from its plot. {words}. The largest "
        f"excess is {percents[worst]:.1f} % on {worst[1]}.",
    )


def leads_the_table(results: Results, differences: Sequence[Difference]) -> list[Claim]:
    """Judge the ranking on each of the sets that LRS leads in print and that was run."""
    claim = "LRS (C) leads RQ-NSF, Q-NSF, Glow and FFJORD on"
    found, missing = [], []
    for dataset in LEADS:
        pairs = [
            d
            for d in differences
            if (d.ours.dataset, d.ours.method) == (dataset, "lrs_c")
            and d.peer.method in TABLE_PEERS
        ]
        if not pairs:
            missing.append(set_name(dataset))
            continue
        absent = [method_name(m) for m in TABLE_PEERS if (dataset, m) not in results]
        tail = f" Not run: {', '.join(absent)}." if absent else ""
        found.append(_judged(f"{claim} {set_name(dataset)}", pairs, tail))
    if missing:
        words = "Not run in this profile; the ledger says why."
        found.append(Claim(f"{claim} {', '.join(missing)}", UNTESTED, words))
    return found


def level_with_rq(differences: Sequence[Difference]) -> Claim:
    """Judge whether LRS keeps up with RQ-NSF on every set of vectors."""
    claim = "LRS does as well as RQ-NSF or better (vectors, coupling and autoregressive)"
    pairs = [
        d
        for d in differences
        if (d.ours.method, d.peer.method) in (("lrs_c", "rq_c"), ("lrs_ar", "rq_ar"))
    ]
    if not pairs:
        return Claim(claim, UNTESTED, "No set was run with both.")
    count = {word: sum(d.outcome == word for d in pairs) for word in (BETTER, LEVEL, WORSE)}
    words = f" LRS better {count[BETTER]}, level {count[LEVEL]}, worse {count[WORSE]} times."
    # That no difference was seen proves no equality, so at least one lead must be.
    return _judged(claim, pairs, words, fine=(BETTER, LEVEL) if count[BETTER] else (BETTER,))


def at_equal_size(differences: Sequence[Difference]) -> Claim:
    """Judge whether the lead survives at RQ-NSF's parameter count."""
    claim = "The lead over RQ-NSF is not one of size: it stays at equal parameter counts"
    small = {d.ours.dataset: d for d in differences if d.ours.method == "lrs_small_c"}
    full = {
        d.ours.dataset: d
        for d in differences
        if d.ours.method == "lrs_c" and d.peer.method == "rq_c" and d.ours.dataset in small
    }
    led = [name for name, d in full.items() if d.outcome == BETTER]
    if not small:
        return Claim(claim, UNTESTED, "No model of equal size was run in this profile.")
    if not led:
        words = _evidence(list(full.values()))
        return Claim(claim, UNTESTED, f"There is no lead at full size: {words}.")
    pairs = [small[name] for name in led]
    return _judged(claim, pairs)


def clean_rings(results: Results, differences: Sequence[Difference]) -> Claim:
    """Judge the panel of rings: LRS resolves them where Glow smears them."""
    claim = "LRS resolves the four rings better than Glow (i-ResNet was not built)"
    pairs = [d for d in differences if d.ours.dataset == "rings" and d.peer.method == "affine"]
    if not pairs:
        return Claim(claim, UNTESTED, "The rings were not run with both in this profile.")
    shares = "; ".join(
        f"{r.name} {100 * misplaced(r):.1f} %" for r in of_set(results, "rings") if not r.diverged
    )
    words = f" Mass that is not where the truth has it: {shares}."
    return _judged(claim, pairs, words)


def better_at_every_depth(differences: Sequence[Difference]) -> Claim:
    """Judge the depth study."""
    claim = "On MNIST, LRS needs fewer bits than RQ-NSF at every depth"
    named = {f"lrs_d{depth}" for depth in DEPTHS}
    every = [d for d in differences if d.ours.method in named]
    pairs = [d for d in every if d.ours.dataset == "mnist"] or every
    if not pairs:
        return Claim(claim, UNTESTED, "No depth was run in this profile.")
    if pairs[0].ours.dataset != "mnist":
        better = sum(d.outcome == BETTER for d in pairs)
        words = _evidence(pairs)
        return Claim(
            claim,
            UNTESTED,
            f"MNIST was not run. On {set_name(pairs[0].ours.dataset)}, LRS is better at {better} "
            f"of {len(pairs)} depths: {words}.",
        )
    tail = "" if len(pairs) == len(DEPTHS) else f" {len(pairs)} of {len(DEPTHS)} depths were run."
    return _judged(claim, pairs, tail)


def level_on_images(differences: Sequence[Difference]) -> Claim:
    """Judge the table of images."""
    claim = "On CIFAR-10 and ImageNet-64, LRS needs as many bits as RQ-NSF"
    pairs = [
        d
        for d in differences
        if d.ours.dataset in ("cifar10", "imagenet64") and d.peer.method == "rq"
    ]
    if not pairs:
        return Claim(claim, UNTESTED, "Neither set was run with both in this profile.")
    # Printed with two decimals: differences that vanish in them are none.
    told_apart = [d for d in pairs if not abs(d.mean) <= PRINTED]
    tail = f" A difference of up to {PRINTED:g} does not show in print."
    return _judged(claim, told_apart or pairs, tail, (LEVEL,) if told_apart else EVERY)


def _judged(
    claim: str, pairs: Sequence[Difference], tail: str = "", fine: Sequence[str] = (BETTER,)
) -> Claim:
    """Judge a claim by the outcomes of its pairs; `fine` are those that it allows."""
    against = {BETTER, WORSE} - set(fine)
    if all(d.outcome in fine for d in pairs):
        outcome = HOLDS
    elif any(d.outcome in against or d.ours.diverged for d in pairs):
        outcome = FAILS
    else:
        outcome = OPEN
    if any(run.lacks for d in pairs for run in (d.ours, d.peer)):
        outcome += ", scaled down"
    if any(not math.isfinite(d.se_models) for d in pairs):
        tail += " With one seed each, the spread over seeds is not in these errors."
    return Claim(claim, outcome, f"{_evidence(pairs)}.{tail}")


def _evidence(pairs: Sequence[Difference]) -> str:
    return "; ".join(d.words for d in pairs)


def _range(percents: Sequence[float]) -> str:
    low, high = min(percents), max(percents)
    return f"{low:.1f} to {high:.1f} %" if f"{low:.1f}" != f"{high:.1f}" else f"{low:.1f} %"
