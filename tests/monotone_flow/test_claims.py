"""Claims are judged by the numbers, and every way they can come out is said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from common.report.cells import Cell, load_paper
from monotone_flow.report.claims import claims
from monotone_flow.report.results import read_results
from monotone_flow.tables import PAPER
from tests.monotone_flow.invented import LESS, ORDER, Lab

CELLS = load_paper(PAPER)[1]
BEGINNINGS = {
    "best": "Monotone blocks fit",
    "order": "The errors of the fit fall",
    "peer": "Monotone Flow has a lower",
    "floor": "No score lies below",
    "float32": "Trained models are inverted to 1e-04",
    "float64": "Trained models are inverted to 1e-09",
    "bound": "The Lipschitz bound",
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def judged(lab: Lab, cells: Sequence[Cell] = CELLS) -> dict[str, tuple[str, str]]:
    results = read_results(lab.folder / "scores", "fast", root=lab.root)
    rows = [row for row in claims(results, cells).rows if isinstance(row, dict)]
    assert len(rows) == len(BEGINNINGS)
    found = {}
    for name, beginning in BEGINNINGS.items():
        (row,) = [row for row in rows if row["claim"].startswith(beginning)]
        found[name] = row["outcome"], row["evidence"]
        assert "nan" not in row["evidence"]
    return found


def test_nothing_run_means_that_nothing_is_judged(lab: Lab):
    found = judged(lab)
    assert {outcome for outcome, _ in found.values()} == {"not testable here"}
    assert found["best"][1].startswith("Without a score: a: residual twice (not run); b: ")


# Fits


def test_a_gap_beyond_two_standard_errors_holds(lab: Lab):
    lab.fits(lacks="few steps")
    found = judged(lab)
    outcome, evidence = found["best"]
    assert outcome == "holds"
    assert "the best other panel (c: scaled residual, then inverse residual)" in evidence
    assert evidence.endswith("Scaled down: few steps.")
    assert "one seed" not in evidence.lower()
    assert found["order"][0] == "holds"
    assert "steps: holds, holds, holds" in found["order"][1]


def test_the_printed_ratio_is_that_of_the_published_cells(lab: Lab):
    lab.fits()
    assert "; 59.2 times in print." in judged(lab)["best"][1]  # 4.5e-3 / 7.6e-5
    values = {"fit/residual/mse": 6.0, "fit/monotone/mse": 0.5, "fit/scaled_mixed/mse": 8.0}
    others = [replace(c, value=values.get(c.id, 9.0)) for c in CELLS]
    assert "; 12 times in print." in judged(lab, others)["best"][1]


@pytest.mark.parametrize(
    ("error", "outcome"), [(1e-4, "holds"), (4.4e-3, "not decided"), (1.0, "does not hold")]
)
def test_the_fit_is_judged_against_the_best_other_panel(lab: Lab, error: float, outcome: str):
    lab.fits()
    lab.edit("staircase", "monotone", final__mean=error, final__se=error / 100)
    found = judged(lab)
    assert (found["best"][0], found["order"][0]) == (outcome, outcome)


def test_one_step_in_the_wrong_order_breaks_the_order_and_not_the_lead(lab: Lab):
    lab.fits()
    lab.edit("staircase", "residual", final__mean=1e-3, final__se=1e-5)
    found = judged(lab)
    assert (found["best"][0], found["order"][0]) == ("holds", "does not hold")
    assert "steps: does not hold, holds, holds" in found["order"][1]


def test_one_seed_gives_no_error_so_a_gap_decides_nothing(lab: Lab):
    lab.fits(seeds=1)
    found = judged(lab)
    for name in ("best", "order"):
        outcome, evidence = found[name]
        assert outcome == "not decided"
        assert "One seed gives no error, so a gap to it decides nothing." in evidence
    assert "e-05 (one seed)" in found["best"][1]
    # Neither does one in the other direction.
    lab.edit("staircase", "monotone", final__mean=1.0)
    assert judged(lab)["best"][0] == "not decided"


def test_one_single_seed_among_several_leaves_only_its_own_steps_open(lab: Lab):
    lab.fits()
    lab.fits(["residual"], seeds=1)
    found = judged(lab)
    assert found["best"][0] == "holds"
    outcome, evidence = found["order"]
    assert outcome == "not decided"
    assert "steps: not decided, holds, holds. One seed gives no error" in evidence


@pytest.mark.parametrize("failure", ["diverged", "not finite", "not run"])
def test_a_panel_without_a_score_is_named(lab: Lab, failure: str):
    lab.fits(["residual", "scaled_residual", "monotone"])
    if failure != "not run":
        lab.fits(["scaled_mixed"])
    if failure == "diverged":
        lab.edit("staircase", "scaled_mixed", training__status="diverged", training__steps_run=300)
    if failure == "not finite":
        lab.edit("staircase", "scaled_mixed", final__mean="not finite", final__se="not finite")
    found = judged(lab)
    assert found["best"][0] == "holds"
    assert "the best other panel (b: scaled residual twice)" in found["best"][1]
    assert found["order"][0] == "not testable here"
    for name in ("best", "order"):
        words = f"Without a score: c: scaled residual, then inverse residual ({failure}"
        assert words in found[name][1]


# Plane densities


def test_plane_densities_are_judged_set_by_set(lab: Lab):
    lab.toys(lacks=LESS)
    outcome, evidence = judged(lab)["peer"]
    assert outcome == "holds"
    assert evidence.count("(holds)") == len(ORDER)
    assert "Rings -0.0" in evidence
    assert "± 0.0028" in evidence  # twice the root of two errors of 0.001
    assert "not of training again" in evidence
    assert f"Only {len(ORDER)} of 8 sets were run." in evidence
    assert evidence.endswith(f"Scaled down: {LESS}.")


@pytest.mark.parametrize(
    ("excess", "outcome"), [(0.08, "not decided"), (0.2, "does not hold"), ("not finite", None)]
)
def test_one_set_decides_for_all(lab: Lab, excess: float | str, outcome: str | None):
    lab.toys()
    lab.edit("toys", "i_densenet", sets__moons__excess__mean=0.08)
    lab.edit("toys", "monotone", sets__moons__excess__mean=excess)
    found, evidence = judged(lab)["peer"]
    assert found == (outcome or "not decided")
    assert f"({found})" in evidence
    if outcome is None:
        assert "Moons not finite (not decided)" in evidence


def test_a_diverged_peer_is_no_peer(lab: Lab):
    lab.toys()
    lab.edit("toys", "i_densenet", training__status="diverged")
    assert judged(lab)["peer"][0] == "not testable here"


def test_methods_that_share_no_set_are_not_compared(lab: Lab):
    lab.toys(["monotone"], sets=["rings"])
    lab.toys(["i_densenet"], sets=["moons"])
    assert judged(lab)["peer"] == ("not testable here", "The two share no set.")


@pytest.mark.parametrize(("excess", "outcome"), [(-1e-3, "holds"), (-5e-3, "does not hold")])
def test_a_score_below_the_entropy_by_more_than_its_error_is_a_mistake(
    lab: Lab, excess: float, outcome: str
):
    lab.toys()
    lab.edit("toys", "monotone", sets__moons__excess__mean=excess)
    found, evidence = judged(lab)["floor"]
    assert found == outcome
    assert f"Monotone Flow on Moons: {excess:.4f} ± 0.0020" in evidence


# Certificates


def test_certificates_are_judged_by_their_worst(lab: Lab):
    lab.fits()
    lab.toys()
    found = judged(lab)
    assert found["float32"] == ("holds", "Largest error of 6 runs: 9.0e-06.")
    assert found["float64"] == ("holds", "Largest error of 6 runs: 3.0e-14.")
    assert found["bound"] == ("holds", "Largest bound of 6 runs: 0.9510.")
    lab.edit("staircase", "monotone", certificate__round_trip__float32__max=1e-3)
    broken = {"error": "no convergence"}
    lab.edit("toys", "monotone", certificate__round_trip__float32=broken)
    lab.edit("toys", "monotone", sets__moons__lipschitz_bound=1.0)
    found = judged(lab)
    outcome, evidence = found["float32"]
    assert outcome == "does not hold"
    assert evidence.startswith("2 of 6 do not: ")
    assert "staircase, d: scaled monotone twice (1.0e-03)" in evidence
    assert "plane densities, Monotone Flow (does not converge)" in evidence
    assert found["float64"][0] == "holds"
    assert found["bound"] == ("does not hold", "Largest bound of 6 runs: 1.0000.")
