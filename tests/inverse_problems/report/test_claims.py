"""Claims from invented results: judged with paired errors, and silent about what was not run."""

from pathlib import Path

import numpy as np
import pytest

from common.report.claims import UNTESTED
from inverse_problems.report.claims import claims
from inverse_problems.report.results import read_results
from tests.inverse_problems.invented import RATIOS, Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def judged(lab: Lab) -> dict[str, tuple[str, str]]:
    results = read_results(lab.folder, "fast", root=lab.root)
    rows = [row for row in claims(results).rows if isinstance(row, dict)]
    return {row["claim"]: (row["outcome"], row["evidence"]) for row in rows}


def found(lab: Lab, words: str) -> tuple[str, str]:
    (match,) = [value for claim, value in judged(lab).items() if words in claim]
    return match


def test_nothing_is_claimed_of_what_was_not_run(lab: Lab):
    outcomes = judged(lab)
    assert len(outcomes) > 10
    assert {outcome for outcome, _ in outcomes.values()} == {"not testable here"}


def test_orderings_are_those_of_the_numbers(lab: Lab):
    lab.compressed()
    for words, outcome in (
        ("Lasso where m is at least n / 5 and below n (8x8 digits", "holds"),
        ("DCGAN by at least 8 dB where m is at least n / 5 (8x8 digits", "holds"),
        ("DCGAN where m is at least n / 5 (8x8 patches", "holds"),
        ("DCGAN gains less than 0.5 dB", "holds"),
        ("Glow gains more than 3 dB", "holds"),
        ("DCGAN beats Lasso, DCT", "holds"),
        ("L-BFGS is no worse than Adam", "holds"),
    ):
        assert found(lab, words)[0] == outcome, words


def test_differences_are_paired_image_by_image(lab: Lab):
    lab.compressed(["glow", "lasso_dct"])
    # Images scatter by 1 dB, but equally for both methods: no error is left.
    _, evidence = found(lab, "Lasso where m is at least n / 5 and below n (8x8 digits")
    assert "m = 26: +10.00 ± 0.00" in evidence
    assert "m = 64" not in evidence


def test_a_rival_that_is_as_good_leaves_it_open_and_a_better_one_refutes(lab: Lab):
    lab.compressed(["glow", "dcgan"], like="glow")
    assert found(lab, "DCGAN where m is at least n / 5 (8x8 patches")[0] == "not decided"
    assert found(lab, "DCGAN by at least 8 dB where m is at least n / 5")[0] == "does not hold"


def test_the_crossing_names_every_m_at_which_the_lead_is_beyond_its_error(lab: Lab):
    lab.compressed(["glow", "vae", "lasso_dct"])
    outcome, evidence = found(lab, "Glow is ahead of every rival (8x8 digits)")
    assert outcome == "from m = 5 on"
    assert "m = 64: +2.00 ± 0.00 (Lasso, DCT)" in evidence
    assert "m = 5: +2.00 ± 0.00 (VAE, fixed steps)" in evidence
    # Out of distribution Lasso loses nothing: at m = n it is ahead.
    outcome, evidence = found(lab, "Glow is ahead of every rival (8x8 patches")
    assert outcome == "at m = 5, 13, 26"
    assert "m = 64: -1.00" in evidence


def test_a_flow_that_is_never_ahead_crosses_nowhere(lab: Lab):
    lab.compressed(["glow"], like="dcgan")
    lab.compressed(["lasso_dct"], like="glow")
    assert found(lab, "Glow is ahead of every rival (8x8 digits)")[0] == "at no m"


def test_another_flow_crosses_at_places_of_its_own(lab: Lab):
    lab.compressed(["glow", "vae"])
    assert found(lab, "the spline flow is ahead of every rival (8x8 digits)")[0] == UNTESTED
    lab.compressed(["spline"], like="glow")
    outcome, evidence = found(lab, "the spline flow is ahead of every rival (8x8 digits)")
    assert outcome == "from m = 5 on"
    assert "m = 5: +2.00 ± 0.00 (VAE, fixed steps)" in evidence


def test_several_draws_give_an_error_of_their_own(lab: Lab):
    lab.compressed(["glow", "dcgan"], draws=3)
    results = read_results(lab.folder, "fast", root=lab.root)
    glow = results.get("compressed", "glow")
    assert glow is not None
    score = glow.where(set="digits", m=64)[0].score()
    # Draws lie 0.05 dB apart.
    assert score.over_seeds == pytest.approx(0.05 / 3**0.5)
    assert score.mean == pytest.approx(38.05)
    assert score.error == max(score.se, score.over_seeds)


def test_starts_are_compared_in_their_order(lab: Lab):
    means = {"zero": 30.0, "small": 29.0, "large": 28.0, "lasso": 25.0, "null_space": 22.0}
    problems = [
        ({"start": start, "gamma": gamma, "m": 26, "ratio": 0.4}, 25.5 if gamma else mean)
        for start, mean in means.items()
        for gamma in (0.0, 1.0)
    ]
    lab.add("starts", "glow", problems)
    assert found(lab, "a start at zero is best")[0] == "holds"
    assert found(lab, "A penalty helps the start in the null space")[0] == "holds"


@pytest.mark.parametrize(("weight", "outcome"), [(0.01, "holds"), (1.0, "does not hold")])
def test_the_best_weight_is_measured_in_variances_of_the_noise(
    lab: Lab, weight: float, outcome: str
):
    problems = [
        ({"set": "digits", "sigma": 0.1, "penalty": "squared", "gamma": gamma}, mean)
        for gamma, mean in ((0.0, 20.3), (weight, 30.0), (10.0, 17.0))
    ]
    noisy = [{"at": {"set": "digits", "sigma": 0.1}, "psnr": {"mean": 20.0, "se": 0.01}}]
    lab.add("denoising", "glow", problems, more={"noisy": noisy})
    assert found(lab, "best weight of the squared norm")[0] == outcome
    assert found(lab, "Glow returns the noise")[0] == "holds"


def test_failed_images_are_counted(lab: Lab):
    problems = [({"set": "digits"}, 45.0)]
    lab.add("representation", "glow", problems)
    assert found(lab, "No recovery leaves")[0] == "holds"
    assert found(lab, "represents every image")[0] == "holds"
    path = lab.folder / "solved/representation/glow/metrics.json"
    path.write_text(path.read_text().replace('"failed": 0', '"failed": 2'))
    outcome, evidence = found(lab, "No recovery leaves")
    assert outcome == "does not hold"
    assert "Glow, published steps (representation): 2" in evidence


def test_the_linear_model_is_judged_at_every_m(lab: Lab):
    lab.add("bound", "linear", [])
    path = lab.folder / "solved/bound/linear/metrics.json"
    entry = '{"at": {"m": %d}, "lower": 1.0, "upper": 2.0, "error": {"mean": %g, "se": 0.01}}'
    for means, outcome in (((1.5, 1.99), "holds"), ((1.5, 2.5), "does not hold")):
        cells = ", ".join(entry % (m, mean) for m, mean in zip((4, 8), means, strict=True))
        text = f'{{"cells": [{cells}], "scaled_down": "", "trained": "digits"}}'
        path.write_text(text)
        assert found(lab, "linear model")[0] == outcome


def test_the_ratios_of_the_invented_results_are_the_published_ones_at_this_size():
    assert [m / 64 for m in RATIOS] == pytest.approx(list(RATIOS.values()))


def test_with_a_line_search_statements_are_judged_twice_and_rivals_are_the_best_of_both(lab: Lab):
    lab.compressed(["glow", "dcgan", "lasso_dct"])
    lab.compressed(["glow_robust"], like="dcgan")
    lab.compressed(["dcgan_robust"], like="glow")
    first = "Lasso where m is at least n / 5 and below n (8x8 digits, in distribution)"
    assert found(lab, f"{first}, published steps")[0] == "holds"
    assert found(lab, f"{first}, line search")[0] == "does not hold"
    rival = "DCGAN where m is at least n / 5 (8x8 patches of photographs, out of distribution)"
    assert found(lab, f"{rival}, published steps")[0] == "holds"
    assert found(lab, f"{rival}, line search")[0] == "does not hold"
    outcome, evidence = found(lab, "Glow is ahead of every rival (8x8 digits), published steps")
    assert outcome == "at no m"
    assert "(DCGAN, line search)" in evidence
    assert len([claim for claim in judged(lab) if "linear model" in claim]) == 1


def test_fewer_images_are_compared_with_the_same_ones_of_the_other(lab: Lab):
    lab.compressed(["glow_robust"], like="glow")
    lab.compressed(["glow_map"], like="glow")
    place = lab.folder / "solved/compressed/glow_map"
    arrays = dict(np.load(place / "arrays.npz"))
    # The first half of the images, each a quarter of a decibel better.
    arrays["psnr"] = arrays["psnr"][..., : arrays["psnr"].shape[-1] // 2] + 0.25
    np.savez(place / "arrays.npz", **arrays)
    outcome, evidence = found(lab, "weight that the noise implies helps")
    assert outcome == "holds"
    assert "m = 64: +0.25 ± 0.00" in evidence
