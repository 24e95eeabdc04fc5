"""Claims are judged by the numbers, and every way they can come out is said."""

from pathlib import Path

import pytest

from inverse_problems.report.claims_supervised import Claim, above, claims_table, supervised_claims
from inverse_problems.report.supervised_results import SupervisedResults
from tests.inverse_problems.report.invented import metrics, results, score

NAMES = ("modes", "between", "latents", "float32", "float64")


def judged(found: SupervisedResults) -> dict[str, Claim]:
    return dict(zip(NAMES, supervised_claims(found), strict=True))


@pytest.fixture
def good(tmp_path: Path) -> SupervisedResults:
    return results(
        tmp_path,
        mixture_some=metrics(),
        mixture_some_y_z=metrics(posterior={"stray": score(0.2, 0.21)}),
        mixture_some_y_x=metrics(dependence={"mmd": score(0.05, 0.051), "floor": 0.003}),
    )


def test_all_hold_where_the_numbers_say_so(good: SupervisedResults):
    found = judged(good)
    assert {claim.outcome for claim in found.values()} == {"holds"}
    assert "12.5 times" in found["latents"].evidence
    assert "8, 8" in found["modes"].evidence
    assert "1.0e-05" in found["float32"].evidence
    assert not any("nan" in claim.evidence for claim in found.values())


def test_nothing_run_means_that_nothing_is_judged():
    found = judged({})
    assert {claim.outcome for claim in found.values()} == {"not testable here"}
    assert found["modes"].evidence == "Without scores: mixture_some (not run)."


def test_one_seed_that_misses_a_mode_is_enough_to_fail(tmp_path: Path):
    found = judged(results(tmp_path, mixture_some=metrics(posterior={"modes": score(8, 7)})))
    assert found["modes"].outcome == "does not hold"


def test_wrong_labels_fail_even_with_more_between_modes(good: SupervisedResults):
    good["mixture_some_y_z"].metrics["accuracy"] = score(0.9, 0.91)
    assert judged(good)["between"].outcome == "does not hold"


def test_a_gap_within_the_errors_is_open_and_one_below_fails(good: SupervisedResults):
    without = good["mixture_some_y_x"].metrics
    without["dependence"]["mmd"] = score(0.002, 0.03)
    assert judged(good)["latents"].outcome == "not decided"
    without["dependence"]["mmd"] = score(0.006, 0.0061)
    assert judged(good)["latents"].outcome == "does not hold"


def test_a_lone_seed_is_said_to_be_one(good: SupervisedResults):
    good["mixture_some"].metrics["posterior"]["stray"] = score(0.02)
    claim = judged(good)["between"]
    assert claim.outcome == "not decided"
    assert "One seed gives no error" in claim.evidence


def test_what_diverged_or_is_not_inverted_is_named(good: SupervisedResults):
    good["mixture_some_y_z"].metrics["training"]["status"] = "diverged"
    good["mixture_some"].metrics["certificate"]["round_trip"]["float32"] = {"max": "not finite"}
    found = judged(good)
    assert found["between"].outcome == "not testable here"
    assert "mixture_some_y_z (diverged)" in found["between"].evidence
    assert "mixture_some (not finite)" in found["float32"].evidence
    assert found["float32"].outcome == "does not hold"


def test_what_is_smaller_is_said(good: SupervisedResults):
    good["mixture_some"].metrics["scaled_down"] = "few steps"
    assert judged(good)["modes"].evidence.endswith("Scaled down: few steps.")
    assert len(claims_table(good).rows) == len(NAMES)


@pytest.mark.parametrize(
    ("left", "right", "outcome"),
    [
        ((2.0, 0.1), (1.0, 0.1), "holds"),
        ((1.0, 0.1), (2.0, 0.1), "does not hold"),
        ((1.2, 0.1), (1.0, 0.1), "not decided"),
        ((float("nan"), 0.1), (1.0, 0.1), "not decided"),
        ((2.0, float("nan")), (1.0, 0.1), "not decided"),
    ],
)
def test_above_is_by_more_than_two_standard_errors(
    left: tuple[float, float], right: tuple[float, float], outcome: str
):
    assert above(left, right) == outcome
