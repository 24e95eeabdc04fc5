"""Tables from invented results: whole, equal in all formats, and honest about failures."""

import copy
import csv
import json
import math
import re
import shutil
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.report.cells import load_paper
from common.report.ledger import read_ledger
from monotone_flow import plane_scores, staircase, tables
from monotone_flow.report.cells import COMPUTE, QUOTED
from tests.monotone_flow.invented import LESS, Lab, everything
from tests.monotone_flow.test_cells import COUNTS

ALWAYS = ["claims", "images", "certificate"]
WHOLE = ["claims", "fit", "toys", "images", "certificate"]


@pytest.fixture(autouse=True)
def _counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the parameter counts, which take seconds, from a small table."""
    monkeypatch.setattr(tables, "published_counts", lambda: COUNTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return everything(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def lab(whole: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Return results of every kind that a test may spoil."""
    monkeypatch.chdir(tmp_path)
    lab = Lab(tmp_path)
    shutil.copytree(whole.root, tmp_path, dirs_exist_ok=True)
    lab.section = copy.deepcopy(whole.section)
    return lab


def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    return Path("results/fast/monotone_flow/tables")


def names(written: Path) -> list[str]:
    return [entry["name"] for entry in json.loads((written / "index.json").read_text())]


def rows(written: Path, name: str, *keys: str) -> dict[tuple[str, ...], dict[str, str]]:
    with (written / f"{name}.csv").open(newline="") as file:
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


@pytest.mark.usefixtures("lab")
def test_every_table_is_written_in_three_formats_without_nan(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    assert names(written) == WHOLE
    expected = {f"{name}.{end}" for name in WHOLE for end in ("md", "tex", "csv")}
    assert {path.name for path in written.iterdir()} == {*expected, "index.json"}
    for path in (*written.iterdir(), written.parent / "cells.csv"):
        assert not re.search(r"\b(nan|inf|None)\b", path.read_text(), re.IGNORECASE), path
    assert len(read_ledger(written.parent / "cells.csv")) == len(load_paper(tables.PAPER)[1])


@pytest.mark.usefixtures("lab")
def test_a_second_run_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    files = [*written.iterdir(), written.parent / "cells.csv"]
    first = {path: path.read_bytes() for path in files}
    run(monkeypatch)
    assert {path: path.read_bytes() for path in files} == first


def test_tables_of_what_was_not_run_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Lab(tmp_path)
    written = run(monkeypatch)
    assert names(written) == ALWAYS
    outcomes = {row["outcome"] for row in rows(written, "claims", "claim").values()}
    assert outcomes == {"not testable here"}


@pytest.mark.usefixtures("lab")
def test_without_image_results_their_cells_say_why(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    ledger = read_ledger(written.parent / "cells.csv")
    bits = [row for row in ledger if row.unit == "bits/dim"]
    assert {row.verdict for row in bits} == {"not run"}
    assert {row.reason for row in bits} == {COMPUTE, QUOTED}
    assert "needs a GPU" in COMPUTE
    own = {row.row for row in bits if row.reason == COMPUTE}
    assert {"Monotone Flow", "i-DenseNet", "Residual Flow"} < own
    assert not own & {"Glow", "FFJORD", "Real NVP", "i-ResNet"}
    (count,) = [r for r in ledger if (r.row, r.column) == ("Monotone Flow", "MNIST parameters")]
    assert count.verdict == "reproduced"


def test_the_fit_stands_beside_the_print(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    lab.edit("staircase", "monotone", final__mean=8.1e-5, final__sd=2e-6, final__se=1e-6)
    written = run(monkeypatch)
    found = rows(written, "fit", "panel")
    assert [panel[0][0] for panel in found] == list("abcd")
    row = found["d: scaled monotone twice",]
    assert float(row["published"]) == 7.6e-5
    assert (float(row["final"]), float(row["final_se"])) == (8.1e-5, 2e-6)
    assert (float(row["slope"]), float(row["possible"])) == (20.1, 1500)
    assert (row["seeds"], row["bound"]) == ("3", "0.9510")
    assert row["protocol"] == "1,000 steps instead of 15,000"
    interval = f"[{staircase.LOW:g}, {staircase.HIGH:g}]"
    assert interval in (written / "fit.md").read_text()


def test_a_single_seed_has_no_error_in_the_table(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    lab.fits(["monotone"], seeds=1)
    written = run(monkeypatch)
    row = rows(written, "fit", "panel")["d: scaled monotone twice",]
    assert (row["seeds"], row["final_se"], row["best_se"]) == ("1", "", "")
    ledger = {(row.table, row.row): row for row in read_ledger(written.parent / "cells.csv")}
    assert ledger["fit", "d: scaled monotone twice"].measured_se == ""


@pytest.mark.usefixtures("lab")
def test_plane_densities_stand_in_the_printed_order_beside_print_and_entropy(
    monkeypatch: pytest.MonkeyPatch,
):
    written = run(monkeypatch)
    found = rows(written, "toys", "set", "method")
    sets = ("2 Spirals", "Moons", "Rings")
    assert list(found) == [(s, m) for s in sets for m in ("Monotone Flow", "i-DenseNet")]
    row = found["Rings", "i-DenseNet"]
    assert (row["printed"], row["floor"], row["seeds"]) == ("2.884", "2.6232", "1")
    assert float(row["published"]) == pytest.approx(2.70, abs=0.01)
    assert float(row["excess"]) == pytest.approx(0.08, abs=0.01)
    assert (row["excess_se"], row["integral"], row["protocol"]) == ("0.0010", "0.9998", LESS)
    box = f"[-{plane_scores.BOX:g}, {plane_scores.BOX:g}]^2"
    assert box in (written / "toys.md").read_text()


def test_seeds_of_a_set_are_its_models_and_not_those_of_the_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.toys(["monotone"], seeds=4)
    found = rows(run(monkeypatch), "toys", "set", "method")
    assert found["Moons", "Monotone Flow"]["seeds"] == "4"
    assert found["Moons", "i-DenseNet"]["seeds"] == "1"


def test_a_diverged_run_prints_diverged_and_no_number(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    for place in (("staircase", "monotone"), ("toys", "monotone")):
        lab.edit(*place, training__status="diverged", training__steps_run=300)
    written = run(monkeypatch)
    fit = rows(written, "fit", "panel")["d: scaled monotone twice",]
    assert {fit[key] for key in ("final", "best", "slope", "possible", "bound")} == {"diverged"}
    assert fit["final_se"] == ""
    toys = rows(written, "toys", "set", "method")["Moons", "Monotone Flow"]
    assert {toys[k] for k in ("published", "test", "excess", "integral", "bound")} == {"diverged"}
    trip = rows(written, "certificate", "data", "method")["staircase", "d: scaled monotone twice"]
    assert trip["float32_max"] == "diverged"
    assert trip["failure"] == "diverged after step 300 of 1,000"
    ledger = [row for row in read_ledger(written.parent / "cells.csv") if row.table != "images"]
    ours = [r for r in ledger if r.row in ("Monotone Flow", "d: scaled monotone twice")]
    assert {row.measured for row in ours} == {"diverged", ""}  # the other sets were not run


def test_a_score_that_is_not_finite_is_said_and_judged(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    lab.fits(["monotone"])
    lab.edit("staircase", "monotone", final__mean="not finite", final__se="not finite")
    written = run(monkeypatch)
    assert rows(written, "fit", "panel")["d: scaled monotone twice",]["final"] == "not finite"
    ledger = {(row.table, row.row): row for row in read_ledger(written.parent / "cells.csv")}
    row = ledger["fit", "d: scaled monotone twice"]
    assert (row.verdict, row.measured) == ("not reproduced", "diverged")
    assert "not finite" in row.reason


def test_a_certificate_that_fails_says_how(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    failure = {"error": "residual 1e-3 > 1e-6 after 40 evaluations"}
    lab.edit("staircase", "scaled_mixed", certificate__round_trip__float32=failure)
    lab.edit("staircase", "residual", certificate__logdet__max_error="not finite")
    unknown = {"integral": "not finite", "error": "not finite"}
    lab.edit("toys", "monotone", certificate__density=unknown, sets__rings__integral=failure)
    written = run(monkeypatch)
    found = rows(written, "certificate", "data", "method")
    row = found["staircase", "c: scaled residual, then inverse residual"]
    assert (row["float32_max"], row["float64_max"]) == ("not finite", "3.0e-14")
    assert row["failure"] == f"float32: {failure['error']}"
    assert found["staircase", "a: residual twice"]["failure"] == "log-det: not finite"
    assert found["plane densities", "Monotone Flow"]["failure"] == "integral: not finite"
    assert found["plane densities", "i-DenseNet"]["failure"] == ""
    assert found["plane densities", "i-DenseNet"]["bound"] == "0.7400"  # the largest of three sets
    toys = rows(written, "toys", "set", "method")
    assert toys["Rings", "Monotone Flow"]["integral"] == "not finite"


def test_rows_come_from_the_parameters_and_not_from_the_folder(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    del lab.section["runs"]["fast-staircase-residual"]
    lab.write_parameters()
    found = rows(run(monkeypatch), "fit", "panel")
    assert ("a: residual twice",) not in found
    assert len(found) == 3


def test_a_missing_result_is_named_and_nothing_is_written(lab: Lab):
    (lab.scores("toys", "monotone") / "metrics.json").unlink()
    with pytest.raises(UserError, match=r"toys/monotone/metrics\.json: not found"):
        tables.write(lab.folder, "fast")
    assert not (lab.folder / "tables").exists()
    assert not (lab.folder / "cells.csv").exists()


def test_a_damaged_result_is_named(lab: Lab):
    (lab.scores("toys", "monotone") / "metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"metrics\.json: not readable as JSON"):
        tables.write(lab.folder, "fast")


def test_a_profile_that_is_under_way_can_be_shown_as_far_as_it_is(lab: Lab):
    (lab.scores("toys", "monotone") / "metrics.json").unlink()
    tables.write(lab.folder, "fast", partial=True)
    assert names(lab.folder / "tables") == WHOLE
    ledger = {(row.row, row.column): row for row in read_ledger(lab.folder / "cells.csv")}
    assert ledger["Monotone Flow", "Rings"].verdict == "not run"
    assert ledger["i-DenseNet", "Rings"].verdict == "scaled down"
    assert ledger["i-DenseNet", "Pinwheel"].reason == "not run in the profile fast"


# Images


def test_runs_on_images_are_compared_at_equal_steps_and_at_equal_seconds(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.images(lacks="8x8 digits")
    found = rows(run(monkeypatch), "ablation", "method")
    assert [method for (method,) in found] == [
        "residual, CLipSwish",
        "residual, CPila",
        "monotone, CLipSwish",
        "monotone, CPila",
    ]
    first, last = found["residual, CLipSwish",], found["monotone, CPila",]
    assert {row["steps"] for row in found.values()} == {"1000"}
    # The invented scores fall as bits (1 + 3 exp(-step / 200)).
    assert float(first["at_steps"]) == pytest.approx(2.45 * (1 + 3 * math.exp(-5)), abs=6e-4)
    # The fastest run ends after 10 seconds, and the slowest has seen a quarter of its steps then:
    # between the looks after 200 and 400.
    assert {float(row["seconds"]) for row in found.values()} == {10}
    between = (0.75 * math.exp(-1) + 0.25 * math.exp(-2)) * 3
    assert float(last["at_seconds"]) == pytest.approx(2.33 * (1 + between), abs=6e-4)
    assert float(first["at_seconds"]) == float(first["at_steps"])
    assert [float(row["per_step"]) for row in found.values()] == [0.01, 0.02, 0.03, 0.04]
    assert (float(last["test"]), float(last["test_se"])) == (2.34, 0.004)
    assert {row["protocol"] for row in found.values()} == {"8x8 digits"}


def test_a_diverged_run_on_images_has_no_score_and_sets_no_limit(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.images()
    lab.edit("digits", "residual_clipswish", training__status="diverged", training__steps_run=200)
    found = rows(run(monkeypatch), "ablation", "method")
    row = found["residual, CLipSwish",]
    assert {row[key] for key in ("test", "at_steps", "at_seconds")} == {"diverged"}
    assert {float(row["seconds"]) for row in found.values()} == {20}


def test_a_run_on_images_that_had_no_look_in_time_has_no_score_then(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.images(looks=2)
    found = rows(run(monkeypatch), "ablation", "method")
    # Its first look came after 20 seconds, at the end of the fastest run's ten.
    assert found["monotone, CPila",]["at_seconds"] == ""
    assert found["residual, CPila",]["at_seconds"] != ""
