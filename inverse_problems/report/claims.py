"""Which of the paper's orderings hold, judged from the numbers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from common.report.claims import FAILS, HOLDS, OPEN, UNTESTED, Claim
from common.report.tables import Column, Table
from inverse_problems.report.draw_penalties import noisy_cells
from inverse_problems.report.gaps import Gap, gap
from inverse_problems.report.results import (
    LASSOS,
    SEARCHED,
    Cell,
    Results,
    Solve,
    best,
    number,
    set_name,
)

# The published statements name these ratios of measurements to pixels.
MANY, HALF, FEW = 0.2, 0.4, 0.082
BELOW = 0.97  # short of all pixels
ROUNDING = 1e-12  # of the error, relative to the largest bound
SLACK = 1.01  # ratios are rounded to whole numbers of measurements


def claims(results: Results) -> Table:
    """Judge every ordering from the experiments of the profile.

    Where methods were also run with a line search, each statement about a learned prior is judged
    twice: with the published steps, and with the search for every prior that has it.
    """
    views = {"": results}
    if any(method.endswith(SEARCHED) for _, method in results.solves):
        views = {", published steps": results, ", line search": _searched(results)}
    judged = [_of_priors(view, results) for view in views.values()]
    rows = [
        replace(claim, claim=claim.claim + words)
        for same in zip(*judged, strict=True)
        for claim, words in zip(same, views, strict=True)
    ]
    # The other flow is listed with a line search only.
    rows += [crossing(results, dataset, results, "spline") for dataset, _ in _sets(results)]
    rows += [implied_weight_helps(results), linear_bound(results), failures(results)]
    return Table(
        "claims",
        "Which of the orderings hold",
        "Each statement of the published results, what came out here, and the numbers behind it in "
        f"dB; ± is two standard errors of the paired difference. “{OPEN}”: within them.",
        [Column("claim", "claim"), Column("outcome", "outcome"), Column("evidence", "evidence")],
        [{"claim": c.claim, "outcome": c.outcome, "evidence": c.evidence} for c in rows],
    )


def _of_priors(results: Results, everything: Results) -> list[Claim]:
    """Judge what is said about learned priors; rivals are those of all results."""
    rows = []
    sets = _sets(results)
    for dataset, inside in sets:
        where = f"{set_name(dataset)}, {'in' if inside else 'out of'} distribution"
        rows += [
            flow_beats_lasso(results, dataset, where),
            flow_beats(results, dataset, "dcgan", 8.0 if inside else 0.0, where),
            flow_beats(results, dataset, "vae", 0.0, where),
        ]
    return [
        *rows,
        gan_saturates(results),
        gan_is_its_representation(results),
        flow_keeps_gaining(results),
        lasso_crosses_gan(results),
        *[crossing(results, dataset, everything) for dataset, _ in sets],
        lbfgs_beats_adam(results),
        *starts_in_order(results),
        norms_in_order(results),
        *denoising_needs_a_weight(results),
        inpainting_beats_gan(results),
        whole_image(results),
    ]


def _searched(results: Results) -> Results:
    """Put each method with a line search in the place of that with the published steps."""
    solves = dict(results.solves)
    for (experiment, method), solve in results.solves.items():
        if method.endswith(SEARCHED):
            solves[experiment, method.removesuffix(SEARCHED)] = solve
    return Results(solves, results.priors, results.prior_folders)


def flow_beats_lasso(results: Results, dataset: str, where: str) -> Claim:
    """Judge Glow against the better Lasso from a fifth of the pixels on, but short of all."""
    claim = f"Glow beats Lasso where m is at least n / 5 and below n ({where})"
    glow = results.get("compressed", "glow")
    peers = [s for s in results.of("compressed") if s.method in LASSOS]
    if glow is None or not peers:
        return _absent(claim)
    gaps = []
    for cell in _between(glow, dataset, MANY, BELOW):
        found = [gap(glow, cell, peer) for peer in peers]
        gaps += [min((g for g in found if g is not None), key=lambda g: g.value)]
    return _judge(claim, gaps)


def flow_beats(results: Results, dataset: str, peer: str, by: float, where: str) -> Claim:
    """Judge Glow against another generative prior from a fifth of the pixels on."""
    glow, other = results.get("compressed", "glow"), results.get("compressed", peer)
    name = {"dcgan": "DCGAN", "vae": "VAE"}[peer]
    amount = f" by at least {by:g} dB" if by else ""
    claim = f"Glow beats {name}{amount} where m is at least n / 5 ({where})"
    if glow is None or other is None:
        return _absent(claim)
    cells = _between(glow, dataset, MANY, 1.1)
    return _judge(claim, [gap(glow, cell, other, by) for cell in cells])


def gan_saturates(results: Results) -> Claim:
    """Judge whether the GAN gains less than half a decibel from n / 5 to n measurements."""
    claim = "DCGAN gains less than 0.5 dB from m = n / 5 to m = n"
    gan = results.get("compressed", "dcgan")
    if gan is None:
        return _absent(claim)
    return _judge(claim, [_gain(gan, gan.trained, less_than=0.5)])


def gan_is_its_representation(results: Results) -> Claim:
    """Judge whether the GAN at m = n is as good as with the whole image, within a decibel."""
    claim = "DCGAN at m = n is within 1 dB of its representation error"
    gan, whole = results.get("compressed", "dcgan"), results.get("representation", "dcgan")
    if gan is None or whole is None:
        return _absent(claim)
    full = _between(gan, gan.trained, 0.99, 1.1)
    cells = whole.where(set=gan.trained)
    if not full or not cells:
        return _absent(claim)
    a, b = full[0].score(), cells[0].score()
    margin = 2 * math.hypot(a.se, b.se)
    return _judge(claim, [Gap(1.0 - abs(a.mean - b.mean), margin, "1 dB minus the distance:")])


def flow_keeps_gaining(results: Results) -> Claim:
    """Judge whether Glow gains more than three decibels from n / 5 to n measurements."""
    claim = "Glow gains more than 3 dB from m = n / 5 to m = n"
    glow = results.get("compressed", "glow")
    if glow is None:
        return _absent(claim)
    return _judge(claim, [_gain(glow, glow.trained, more_than=3.0)])


def lasso_crosses_gan(results: Results) -> Claim:
    """Judge whether the GAN is ahead of Lasso with few measurements and behind with many."""
    claim = "DCGAN beats Lasso, DCT, where m is at most 0.08 n and loses where it is at least 0.4 n"
    gan, lasso = results.get("compressed", "dcgan"), results.get("compressed", "lasso_dct")
    if gan is None or lasso is None:
        return _absent(claim)
    few = [gap(gan, cell, lasso) for cell in _between(gan, gan.trained, 0.0, FEW)]
    many = [gap(lasso, cell, gan) for cell in _between(lasso, gan.trained, HALF, 1.1)]
    return _judge(claim, [*few, *many])


def crossing(results: Results, dataset: str, everything: Results, flow: str = "glow") -> Claim:
    """Say at which m a flow is ahead of every rival, and which rival is closest at each."""
    name = {"glow": "Glow", "spline": "the spline flow"}[flow]
    claim = f"At which m {name} is ahead of every rival ({set_name(dataset)})"
    solve = results.get("compressed", flow)
    rivals = [
        rival
        for rival in everything.of("compressed")
        if rival.method.removesuffix(SEARCHED) in (*LASSOS, "dcgan", "vae")
    ]
    if solve is None or not rivals:
        return _absent(claim)
    words: list[str] = []
    ahead: list[bool] = []
    cells = sorted(_between(solve, dataset, 0.0, 1.1), key=lambda c: -c.at["m"])
    for cell in cells:
        gaps = [(rival, gap(solve, cell, rival)) for rival in rivals]
        known = [(rival, g) for rival, g in gaps if g is not None]
        rival, worst = min(known, key=lambda entry: entry[1].value)
        words.append(f"m = {cell.at['m']}: {worst.value:+.2f} ± {worst.margin:.2f} ({rival.name})")
        ahead.append(worst.outcome == HOLDS)
    won = [cell.at["m"] for cell, leads in zip(cells, ahead, strict=True) if leads]
    if not won:
        outcome = "at no m"
    elif all(ahead[: len(won)]):
        outcome = f"from m = {won[-1]} on"
    else:
        outcome = f"at m = {', '.join(str(m) for m in reversed(won))}"
    return Claim(claim, outcome, f"Lead over the best rival: {'; '.join(words)}.")


def lbfgs_beats_adam(results: Results) -> Claim:
    """Judge L-BFGS against Adam at the published budgets, at all m but the smallest."""
    claim = "L-BFGS is no worse than Adam at the published budgets, at all m but the smallest"
    first, second = results.get("compressed", "glow"), results.get("compressed", "glow_adam")
    if first is None or second is None:
        return _absent(claim)
    smallest = min(cell.at["m"] for cell in first.where(set=first.trained))
    cells = [c for c in first.where(set=first.trained) if c.at["m"] > smallest]
    return _judge(claim, [gap(first, cell, second) for cell in cells])


def starts_in_order(results: Results) -> list[Claim]:
    """Judge the order of the starts without a penalty, and that a penalty levels them."""
    order = ("zero", "small", "large", "lasso", "null_space")
    first = "Without a penalty a start at zero is best, then small, large, Lasso, null space"
    second = "A penalty helps the start in the null space and harms the one at zero"
    solve = results.get("starts", "glow")
    if solve is None:
        return [_absent(first), _absent(second)]
    cells = {start: solve.where(start=start, gamma=0.0) for start in order}
    known = [(start, found[0]) for start, found in cells.items() if found]
    gaps = [
        gap(solve, a, solve, other=b, where=f"{name} minus {other}:")
        for (name, a), (other, b) in pairwise(known)
    ]
    helped = []
    for start, sign in (("null_space", 1), ("zero", -1)):
        weighted = [c for c in solve.where(start=start) if c.at["gamma"] > 0]
        if not weighted or not cells[start]:
            continue
        if sign > 0:
            chosen = best(weighted, lambda c: c.score().mean)
        else:
            chosen = max(weighted, key=lambda c: c.at["gamma"])
        if chosen is None:
            continue
        words = f"{start}, weight {chosen.at['gamma']:g} against none:"
        pair = (chosen, cells[start][0]) if sign > 0 else (cells[start][0], chosen)
        helped.append(gap(solve, pair[0], solve, other=pair[1], where=words))
    return [_judge(first, gaps), _judge(second, helped)]


def norms_in_order(results: Results) -> Claim:
    """Judge whether a longer start ends longer and worse, and zero short of the typical norm."""
    claim = "Longer starts end with longer latents and lower PSNR; from zero below 0.6 of the root"
    solve = results.get("norms", "glow")
    if solve is None:
        return _absent(claim)
    cells = sorted(solve.cells, key=lambda c: c.at["norm"])
    first, last = cells[0], cells[-1]
    worse = gap(solve, first, solve, other=last, where="PSNR, shortest minus longest start:")
    found = [cell.score("latent").mean for cell in cells]
    share = found[0] / number(solve.metrics["typical"])
    rising = all(b > a for a, b in pairwise(found))
    judged = _judge(claim, [worse])
    fine = rising and share < 0.6 and judged.outcome == HOLDS
    words = f"Norms found {', '.join(f'{v:.1f}' for v in found)}; from zero {share:.2f} of the root"
    outcome = HOLDS if fine else FAILS if judged.outcome != OPEN else OPEN
    return Claim(claim, outcome, f"{words}; {judged.evidence}")


def denoising_needs_a_weight(results: Results) -> list[Claim]:
    """Judge what the weight of the penalty does in denoising."""
    first = "Without a penalty Glow returns the noise: within 2 dB of the noisy image, sigma >= 0.1"
    second = "The best weight of the squared norm is 0.3 to 3 times sigma squared"
    glow = results.get("denoising", "glow")
    if glow is None:
        return [_absent(first), _absent(second)]
    near, weights, fine = [], [], True
    for noisy in noisy_cells([glow]):
        sigma = noisy.at["sigma"]
        if noisy.at["set"] != glow.trained:
            continue
        cells = glow.where(set=glow.trained, sigma=sigma, penalty="squared")
        none = [c for c in cells if c.at["gamma"] == 0]
        if none and sigma >= 0.1:
            a, b = none[0].score(), noisy.score()
            near.append(
                Gap(
                    2.0 - abs(a.mean - b.mean),
                    2 * math.hypot(a.se, b.se),
                    f"sigma {sigma:g}, 2 dB minus the distance:",
                )
            )
        found = best(cells, lambda c: c.score().mean)
        if found is not None:
            ratio = found.at["gamma"] / sigma**2
            weights.append(f"sigma {sigma:g}: {ratio:.3g}")
            fine = fine and 0.3 <= ratio <= 3
    outcome = UNTESTED if not weights else HOLDS if fine else FAILS
    words = f"Best weight over sigma squared: {'; '.join(weights)}."
    return [_judge(first, near), Claim(second, outcome, words)]


def inpainting_beats_gan(results: Results) -> Claim:
    """Judge Glow against the GAN in inpainting, each at its best weight."""
    claim = "Glow inpaints better than DCGAN by at least 8 dB"
    glow, gan = results.get("inpainting", "glow"), results.get("inpainting", "dcgan")
    if glow is None or gan is None:
        return _absent(claim)
    ours = best(glow.where(set=glow.trained), lambda c: c.score().mean)
    theirs = best(gan.where(set=glow.trained), lambda c: c.score().mean)
    if ours is None or theirs is None:
        return _absent(claim)
    return _judge(claim, [gap(glow, ours, gan, 8.0, other=theirs, where="lead minus 8 dB:")])


def whole_image(results: Results) -> Claim:
    """Judge the optimiser on the whole image without noise, where a flow can be exact."""
    claim = "Glow represents every image: more than 40 dB from the whole image without noise"
    solve = results.get("representation", "glow")
    if solve is None:
        return _absent(claim)
    gaps = []
    for cell in solve.cells:
        score = cell.score()
        words = f"{set_name(cell.at['set'])}, PSNR minus 40:"
        gaps.append(Gap(score.mean - 40, 2 * score.se, words))
    return _judge(claim, gaps)


def implied_weight_helps(results: Results) -> Claim:
    """Judge the weight that the noise implies against none, on the same images."""
    claim = "The weight that the noise implies helps Glow where m is at least n / 5 (line search)"
    weighed = results.get("compressed", "glow_map")
    plain = results.get("compressed", f"glow{SEARCHED}")
    if weighed is None or plain is None:
        return _absent(claim)
    cells = _between(weighed, weighed.trained, MANY, 1.1)
    return _judge(claim, [gap(weighed, cell, plain) for cell in cells])


def linear_bound(results: Results) -> Claim:
    """Judge whether the error of the linear model lies within its bounds for every m."""
    claim = "The error of the linear model lies within its bounds at every m"
    solve = next(iter(results.of("bound")), None)
    if solve is None:
        return _absent(claim)
    outside, words = [], []
    # From as many measurements as there are dimensions on, nothing is left but rounding.
    rounding = ROUNDING * max(cell.values["upper"] for cell in solve.cells)
    for cell in solve.cells:
        error = cell.score("error")
        low, high = cell.values["lower"], cell.values["upper"]
        words.append(f"m = {cell.at['m']}: {low:.3g} <= {error.mean:.3g} <= {high:.3g}")
        slack = 2 * error.se + rounding
        if not low - slack <= error.mean <= high + slack:
            outside.append(words[-1])
    if outside:
        return Claim(claim, FAILS, f"Outside: {'; '.join(outside)}.")
    return Claim(claim, HOLDS, f"{'; '.join(words)}.")


def failures(results: Results) -> Claim:
    """Count the images whose optimisation left the finite numbers."""
    claim = "No recovery leaves the finite numbers"
    failed = [
        (solve, sum(cell.failed for cell in solve.cells)) for solve in results.solves.values()
    ]
    if not failed:
        return _absent(claim)
    bad = [f"{solve.name} ({solve.experiment}): {count}" for solve, count in failed if count]
    if bad:
        return Claim(claim, FAILS, f"Failed images: {'; '.join(bad)}.")
    return Claim(claim, HOLDS, f"None in {len(failed)} runs.")


def _gain(solve: Solve, dataset: str, more_than: float = 0.0, less_than: float = 0.0) -> Gap | None:
    """Return the gain from the smallest m of at least n / 5 to all, against a limit."""
    cells = sorted(_between(solve, dataset, MANY, 1.1), key=lambda c: c.at["m"])
    if len(cells) < 2:
        return None
    words = f"m = {cells[-1].at['m']} against {cells[0].at['m']},"
    found = gap(solve, cells[-1], solve, more_than, other=cells[0], where=words)
    if found is None or not less_than:
        return None if found is None else Gap(found.value, found.margin, f"{words} beyond:")
    return Gap(less_than - found.value, found.margin, f"{words} short of:")


def _between(solve: Solve, dataset: str, low: float, high: float) -> list[Cell]:
    return [c for c in solve.where(set=dataset) if low / SLACK <= c.at["ratio"] <= high * SLACK]


def _sets(results: Results) -> list[tuple[str, bool]]:
    solves = results.of("compressed")
    return [(s, s == solves[0].trained) for s in solves[0].values("set")] if solves else []


def _judge(claim: str, gaps: Sequence[Gap | None]) -> Claim:
    known = [g for g in gaps if g is not None]
    if not known:
        return _absent(claim)
    outcomes = [g.outcome for g in known]
    outcome = FAILS if FAILS in outcomes else OPEN if OPEN in outcomes else HOLDS
    return Claim(claim, outcome, f"{'; '.join(g.words for g in known)}.")


def _absent(claim: str) -> Claim:
    return Claim(claim, UNTESTED, "Not run in this profile.")
