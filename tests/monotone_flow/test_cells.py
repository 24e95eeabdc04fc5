"""What becomes of published cells: measured, scaled down, diverged or not run."""

from pathlib import Path

import pytest

from common.report.cells import load_paper
from common.report.ledger import join
from monotone_flow.report.cells import measurements
from monotone_flow.report.results import Result
from monotone_flow.tables import PAPER

WORK, CELLS = load_paper(PAPER)
COUNTS = {("monotone", "mnist"): 20_872_826}


def fitted(*, status: str = "finished", lacks: str = "", mean: float = 1e-4) -> Result:
    metrics = {
        "training": {"status": status, "steps": 100, "steps_run": 100},
        "scaled_down": lacks,
        "models": 3,
        "final": {"mean": mean, "se": 1e-6},
        "best": {"mean": mean / 2, "se": 1e-6},
    }
    return Result("staircase", "monotone", metrics, Path())


def judged(*results: Result) -> dict[str, tuple[str, str]]:
    found = {(result.dataset, result.method): result for result in results}
    rows = join(WORK.paper, CELLS, measurements(CELLS, found, COUNTS, "fast"))
    return {c.id: (row.verdict, row.reason) for c, row in zip(CELLS, rows, strict=True)}


def test_without_results_only_parameter_counts_are_measured():
    found = judged()
    measured = {place for place, (verdict, _) in found.items() if verdict != "not run"}
    assert measured == {"images/monotone/mnist_parameters"}
    assert all(reason for _, reason in found.values())


@pytest.mark.parametrize(
    ("settings", "verdict", "words"),
    [
        ({}, "reproduced", "the best weights: 5e-05"),
        ({"mean": 1.0}, "not reproduced", "worse by"),
        ({"lacks": "fewer steps"}, "scaled down", "fewer steps"),
        ({"status": "diverged"}, "not reproduced", "diverged after step 100 of 100"),
    ],
)
def test_a_fit_is_judged_by_its_last_weights(settings, verdict, words):
    found, reason = judged(fitted(**settings))["fit/monotone/mse"]
    assert found == verdict
    assert words in reason
