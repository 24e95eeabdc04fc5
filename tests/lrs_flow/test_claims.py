"""Claims are judged by the numbers, and every way they can come out is said."""

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from lrs_flow.report.claims import claims
from lrs_flow.report.paired import BETTER, LEVEL, WORSE, difference, differences
from lrs_flow.report.results import Results, read_inverse, read_results
from tests.lrs_flow.invented import Lab
from tests.lrs_flow.test_cells import COUNTS

BEGINNINGS = {
    "inverse": "The inverse of the spline",
    "exact": "The closed-form inverse",
    "speed": "Inverting, so sampling",
    "parameters": "LRS has less than 1 %",
    "table": "LRS (C) leads RQ-NSF, Q-NSF, Glow and FFJORD on BSDS300",
    "rest": "LRS (C) leads RQ-NSF, Q-NSF, Glow and FFJORD on POWER",
    "level": "LRS does as well",
    "size": "The lead over RQ-NSF",
    "rings": "LRS resolves",
    "depth": "On MNIST",
    "images": "On CIFAR-10",
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def read(lab: Lab) -> Results:
    lab.write_parameters()
    return read_results(lab.folder / "scores", "fast", root=lab.root)


def judged(lab: Lab) -> dict[str, tuple[str, str]]:
    results = read(lab)
    table = claims(results, differences(results), COUNTS, read_inverse(lab.folder))
    found = {}
    for name, beginning in BEGINNINGS.items():
        for row in table.rows:
            assert isinstance(row, dict)
            if row["claim"].startswith(beginning):
                found[name] = row["outcome"], row["evidence"]
    return found


def test_nothing_run_means_that_only_inverse_and_parameters_are_judged(lab: Lab):
    outcomes = {name: outcome for name, (outcome, _) in judged(lab).items()}
    assert outcomes.pop("parameters") == "does not hold"
    assert {outcomes.pop(name) for name in ("inverse", "exact", "speed")} == {"holds"}
    assert set(outcomes.values()) == {"not testable here"}


@pytest.mark.parametrize(
    ("worse", "bad", "ratio", "outcomes"),
    [
        (0.8, 0, 1.2, ("holds", "holds", "holds")),
        (1.5, 3, 0.8, ("does not hold", "does not hold", "does not hold")),
        (1.0, 0, 1.01, ("holds", "holds", "does not hold")),
    ],
)
def test_the_inverse_is_judged_by_its_failures_its_errors_and_its_time(
    lab: Lab, worse: float, bad: int, ratio: float, outcomes: tuple[str, ...]
):
    lab.write_inverse(worse=worse, bad=bad, ratio=ratio)
    found = judged(lab)
    assert tuple(found[name][0] for name in ("inverse", "exact", "speed")) == outcomes
    assert f"{2 * bad} values were not finite" in found["inverse"][1]
    assert f"{worse:.2f} (8 bins)" in found["exact"][1]
    assert ("LRS is slower" in found["speed"][1]) == (ratio < 0.9)
    assert ("no difference beyond" in found["speed"][1]) == (ratio == 1.01)


def test_a_model_that_does_not_come_back_in_float64_fails_the_inverse(lab: Lab):
    lab.table("red-wine", ["lrs_c"])
    assert (
        "Largest round-trip error in float64 of 1 trained models: 1.0e-13"
        in (judged(lab)["inverse"][1])
    )
    broken = {"error": "no convergence"}
    lab.edit("red-wine", "lrs_c", certificate__round_trip__float64=broken)
    outcome, evidence = judged(lab)["inverse"]
    assert outcome == "does not hold"
    assert "Of 1 trained models 1 do not come back in float64" in evidence


def test_parameters_are_said_for_each_group(lab: Lab):
    outcome, evidence = judged(lab)["parameters"]
    assert outcome == "does not hold"
    assert "True of 5 of 9 configurations" in evidence
    assert "table of likelihoods: 2.0 to 24.0 %; images: 2.9 %; depth study: 0.0 %" in evidence
    assert evidence.endswith("24.0 % on BSDS300.")


def test_the_ranking_is_judged_on_what_was_run(lab: Lab):
    lab.table("bsds300", ["lrs_c", "rq_c", "affine_c"], scaled_down="few steps")
    found = judged(lab)
    outcome, evidence = found["table"]
    assert outcome == "holds, scaled down"
    assert "BSDS300, LRS (C) minus RQ-NSF (C): +0.0" in evidence
    assert evidence.endswith("Not run: Q-NSF (C), FFJORD.")
    assert found["rest"][0] == "not testable here"
    assert found["level"][0] == "holds, scaled down"
    assert "LRS better 1, level 0, worse 0 times" in found["level"][1]


def shift(lab: Lab, dataset: str, method: str, by: float) -> None:
    """Move all scores of a run."""
    path = lab.scores(dataset, method) / "arrays.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["test"] = arrays["test"] + np.float32(by)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("by", "table", "level"),
    [(-1.0, "does not hold", "does not hold"), (-0.05, "not decided", "not decided")],
)
def test_a_lead_that_is_lost_or_too_small_to_tell_is_no_lead(
    lab: Lab, by: float, table: str, level: str
):
    lab.table("bsds300", ["lrs_c", "rq_c"])
    shift(lab, "bsds300", "lrs_c", by)
    found = judged(lab)
    assert (found["table"][0], found["level"][0]) == (table, level)


def test_a_lead_at_equal_size_needs_a_lead_at_full_size(lab: Lab):
    lab.table("bsds300", ["lrs_c", "rq_c", "lrs_small_c"])
    (small,) = (d for d in differences(read(lab)) if d.ours.method == "lrs_small_c")
    shift(lab, "bsds300", "lrs_small_c", -small.mean)
    assert judged(lab)["size"][0] == "not decided"
    shift(lab, "bsds300", "lrs_small_c", 1.0)
    assert judged(lab)["size"][0] == "holds"
    shift(lab, "bsds300", "lrs_c", -1.0)
    outcome, evidence = judged(lab)["size"]
    assert outcome == "not testable here"
    assert "no lead at full size: BSDS300, LRS (C) minus RQ-NSF (C): -0.9" in evidence


def test_rings_are_judged_by_likelihood_and_misplaced_mass(lab: Lab):
    lab.plane("rings", ["lrs_2", "affine"])
    outcome, evidence = judged(lab)["rings"]
    assert outcome == "holds"
    assert "LRS, 2 steps 0.0 %; affine coupling 2" in evidence
    lab.edit("rings", "lrs_2", training__status="diverged")
    outcome, evidence = judged(lab)["rings"]
    assert outcome == "does not hold"
    assert "minus affine coupling: diverged" in evidence


def test_depth_on_digits_is_shown_but_says_nothing_about_mnist(lab: Lab):
    lab.images("digits", ["lrs_d2", "rq_d2"])
    outcome, evidence = judged(lab)["depth"]
    assert outcome == "not testable here"
    assert "On 8x8 digits, LRS is better at 1 of 1 depths" in evidence
    lab.images("mnist", ["lrs_d2", "rq_d2"])
    outcome, evidence = judged(lab)["depth"]
    assert outcome == "holds"
    assert "1 of 5 depths were run" in evidence


def test_as_many_bits_means_neither_more_nor_fewer(lab: Lab):
    lab.images("cifar10", ["lrs", "rq"])
    (pair,) = differences(read(lab))
    shift(lab, "cifar10", "lrs", 0.004 - pair.mean)
    assert judged(lab)["images"][0] == "holds"  # 0.004 vanishes in two decimals
    shift(lab, "cifar10", "rq", 0.5)
    assert judged(lab)["images"][0] == "does not hold"


# Differences


def test_a_difference_on_shared_items_has_errors_over_items_and_over_seeds(lab: Lab):
    lab.table("bsds300", ["lrs_c", "rq_c"])
    results = read(lab)
    ours, peer = results["bsds300", "lrs_c"], results["bsds300", "rq_c"]
    found = difference(ours, peer)
    a, b = (r.arrays["test"].astype(np.float64) for r in (ours, peer))
    gaps = a.mean(0) - b.mean(0)
    assert found.count == 400
    assert found.mean == pytest.approx(gaps.mean())
    assert found.se_items == pytest.approx(gaps.std(ddof=1) / 20)
    seeds = np.hypot(*(v.mean(1).std(ddof=1) / np.sqrt(2) for v in (a, b)))
    assert found.se_models == pytest.approx(seeds)
    assert found.se == pytest.approx(np.hypot(found.se_items, found.se_models))
    # Much smaller than the sampling error of either alone: that is what pairing is for.
    assert found.se_items < 0.2 * ours.score()[1]


def test_a_difference_on_folds_is_taken_fold_by_fold(lab: Lab):
    lab.table("red-wine", ["lrs_c", "rq_c"])
    results = read(lab)
    found = difference(results["red-wine", "lrs_c"], results["red-wine", "rq_c"])
    folds = [np.array(r.metrics["test"]["per_model"]) for r in (found.ours, found.peer)]
    gaps = folds[0] - folds[1]
    assert found.count == 10
    assert found.mean == pytest.approx(gaps.mean())
    assert found.se == pytest.approx(gaps.std(ddof=1) / np.sqrt(10))


def test_fewer_bits_and_more_nats_are_better(lab: Lab):
    lab.images("digits", ["lrs_d2", "rq_d2"])
    lab.table("bsds300", ["lrs_c", "rq_c"])
    bits, nats = sorted(differences(read(lab)), key=lambda d: d.mean)
    assert bits.mean < 0 < nats.mean
    assert bits.outcome == nats.outcome == BETTER
    shift(lab, "digits", "lrs_d2", 1.0)
    shift(lab, "bsds300", "lrs_c", -0.05)
    outcomes = {d.ours.dataset: d.outcome for d in differences(read(lab))}
    assert outcomes == {"digits": WORSE, "bsds300": LEVEL}


def test_scores_that_are_not_finite_are_said_and_not_compared(lab: Lab):
    lab.table("bsds300", ["lrs_c", "rq_c"])
    shift(lab, "bsds300", "rq_c", np.inf)
    (found,) = differences(read(lab))
    assert found.outcome == "not finite"
    assert found.words.endswith("minus RQ-NSF (C): not finite")


def test_scores_on_different_items_are_refused(lab: Lab):
    lab.table("bsds300", ["lrs_c", "rq_c"])
    lab.edit("bsds300", "rq_c", test__items=[399, 399])
    with pytest.raises(UserError, match="scored on different test items; evaluate both again"):
        differences(read(lab))
