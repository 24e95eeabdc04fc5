"""Tables from invented results: whole, equal in all formats, and honest about failures."""

import copy
import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.report.ledger import read_ledger
from lrs_flow import tables
from lrs_flow.report.results import read_results
from lrs_flow.report.tables_plane import misplaced, off_rings
from tests.lrs_flow.invented import Lab, everything
from tests.lrs_flow.test_cells import COUNTS

ALWAYS = {"claims", "uci", "parameters", "inverse_accuracy", "inverse_time", "depth", "images"}
ALWAYS |= {"certificate"}
SOMETIMES = {"small_sets", "pieces", "paired", "gaussian", "plane", "convergence"}


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
    shutil.copytree(whole.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    lab = Lab(tmp_path)
    lab.section = copy.deepcopy(whole.section)
    return lab


def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables.main()
    return Path("results/fast/lrs_flow/tables")


def rows(written: Path, name: str, *keys: str) -> dict[tuple[str, ...], dict[str, str]]:
    with (written / f"{name}.csv").open(newline="") as file:
        return {tuple(row[key] for key in keys): row for row in csv.DictReader(file)}


@pytest.mark.usefixtures("lab")
def test_every_table_is_written_in_three_formats_without_nan(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    listed = [entry["name"] for entry in json.loads((written / "index.json").read_text())]
    assert set(listed) == ALWAYS | SOMETIMES
    assert listed[0] == "claims"
    expected = {f"{name}.{end}" for name in listed for end in ("md", "tex", "csv")}
    assert {path.name for path in written.iterdir()} == {*expected, "index.json"}
    for path in written.iterdir():
        assert not re.search(r"\b(nan|inf|None)\b", path.read_text(), re.IGNORECASE), path
    assert len(read_ledger(written.parent / "cells.csv")) == 94


def test_tables_of_what_was_not_run_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Lab(tmp_path).write_parameters()
    written = run(monkeypatch)
    listed = [entry["name"] for entry in json.loads((written / "index.json").read_text())]
    assert set(listed) == ALWAYS


@pytest.mark.usefixtures("lab")
def test_published_and_ours_stand_side_by_side(monkeypatch: pytest.MonkeyPatch):
    found = rows(run(monkeypatch), "uci", "method")
    ours = found["LRS (C)",]
    assert (ours["bsds300_p"], ours["bsds300_p_se"]) == ("157.70", "0.14")
    assert float(ours["bsds300"]) == pytest.approx(157.3, abs=0.2)
    assert ours["power"] == ""
    assert "BSDS300: 1,000 steps instead of 400,000, 2 seeds" in ours["protocol"]
    assert found["Q-NSF (C), published boundary",]["bsds300_p"] == "157.65"
    assert found["Q-NSF (C)",]["bsds300_p"] == ""  # not what was printed
    assert found["FFJORD",]["bsds300"] == ""
    assert ("LRS (AR)",) not in found


@pytest.mark.usefixtures("lab")
def test_small_sets_have_a_row_for_each_method_and_a_column_for_each_set(
    monkeypatch: pytest.MonkeyPatch,
):
    written = run(monkeypatch)
    found = rows(written, "small_sets", "method")
    assert float(found["LRS (AR)",]["red-wine"]) == pytest.approx(-10.55, abs=0.3)
    assert found["LRS (AR)",]["ionosphere"] == ""
    assert found["LRS (C)",]["models"] == "10 folds"
    memory = rows(written, "gaussian", "data")
    assert (memory["red wine",]["memory"], memory["red wine",]["rnade"]) == ("-13.18", "-9.36")
    assert (memory["BSDS300",]["printed"], memory["BSDS300",]["memory"]) == ("96.67", "")
    columns = next(
        entry["columns"]
        for entry in json.loads((written / "index.json").read_text())
        if entry["name"] == "gaussian"
    )
    assert all("unverified" in c["header"] for c in columns if c["key"] in ("memory", "rnade"))


@pytest.mark.usefixtures("lab")
def test_pairs_say_difference_errors_sizes_and_outcome(monkeypatch: pytest.MonkeyPatch):
    found = rows(run(monkeypatch), "paired", "data", "ours", "peer")
    row = found["BSDS300", "LRS (C)", "RQ-NSF (C)"]
    assert (row["over"], row["unit"], row["outcome"]) == ("400 items", "nats", "LRS better")
    assert (row["parameters"], row["peer_parameters"]) == ("1200", "1000")
    assert float(row["items"]) > 0
    folds = found["red wine", "LRS (C), as small as RQ-NSF", "RQ-NSF (C)"]
    assert (folds["over"], folds["items"]) == ("10 folds", "")
    bits = found["8x8 digits", "LRS, depth 2", "RQ-NSF, depth 2"]
    assert (bits["unit"], bits["outcome"]) == ("bits/dim", "LRS better")
    assert float(bits["difference"]) < 0


@pytest.mark.usefixtures("lab")
def test_the_plane_is_measured_against_the_truth(monkeypatch: pytest.MonkeyPatch):
    found = rows(run(monkeypatch), "plane", "data", "method")
    truth = found["rings", "the true density"]
    assert (truth["entropy"], truth["excess"], truth["misplaced"]) == ("2.500", "0", "0.0")
    affine = found["rings", "affine coupling"]
    assert float(affine["misplaced"]) > 20
    assert float(affine["off"]) > 10 * float(truth["off"])
    assert affine["integral"] == "0.9999"
    assert found["picture", "LRS, 2 steps"]["integral"] == ""
    assert found["picture", "LRS, 2 steps"]["off"] == ""


def test_misplaced_mass_is_the_share_that_would_have_to_move(lab: Lab):
    result = read_results(lab.folder / "scores", "fast")["rings", "affine"]
    true = result.arrays["true_density"]
    assert misplaced(result) > 0.2
    result.arrays["density"] = true.copy()
    assert misplaced(result) == pytest.approx(0, abs=1e-6)
    # Half of the mass leaves the square: half is misplaced, wherever it went.
    result.arrays["density"] = true / 2
    assert misplaced(result) == pytest.approx(0.5)
    assert off_rings(result) == pytest.approx(off_rings(result, "true_density"))


def test_a_best_step_before_the_last_tenth_reads_as_converged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    lab.edit("bsds300", "lrs_c", training__best_step=[400, 600])
    found = rows(run(monkeypatch), "convergence", "data", "method")
    row = found["BSDS300", "LRS (C)"]
    assert (row["best"], row["share"], row["late"]) == ("500", "50", "0")
    assert row["ending"] == "converged on validation"
    assert found["rings", "FFJORD"]["ending"] == "best at the end"
    assert ("red wine", "Gaussian, closed form") not in found


def test_a_diverged_run_prints_diverged_and_no_number(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    for place in (("bsds300", "lrs_c"), ("red-wine", "lrs_c"), ("rings", "affine")):
        lab.edit(*place, training__status="diverged", training__steps_run=300)
    lab.edit("digits", "lrs_d2", training__status="diverged", training__steps_run=300)
    written = run(monkeypatch)
    uci = rows(written, "uci", "method")["LRS (C)",]
    assert (uci["bsds300"], uci["bsds300_se"]) == ("diverged", "")
    assert rows(written, "small_sets", "method")["LRS (C)",]["red-wine"] == "diverged"
    plane = rows(written, "plane", "data", "method")["rings", "affine coupling"]
    assert {plane[k] for k in ("score", "excess", "misplaced", "off", "integral")} == {"diverged"}
    depth = rows(written, "depth", "depth", "model")["2", "LRS"]
    assert (depth["digits"], depth["digits_spread"]) == ("diverged", "diverged")
    pair = rows(written, "paired", "data", "ours", "peer")["BSDS300", "LRS (C)", "RQ-NSF (C)"]
    assert (pair["difference"], pair["outcome"]) == ("diverged", "diverged")
    ending = rows(written, "convergence", "data", "method")["BSDS300", "LRS (C)"]["ending"]
    assert ending == "diverged after step 300 of 1,000"
    trip = rows(written, "certificate", "data", "method")["BSDS300", "LRS (C)"]
    assert (trip["float32_max"], trip["failure"]) == ("diverged", ending)


def test_a_certificate_that_fails_says_how(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    failure = {"error": "no bracket after 60 steps"}
    lab.edit("rings", "ffjord", certificate__round_trip__float32=failure)
    lab.edit("rings", "lrs_2", certificate__logdet__max_error="not finite")
    lab.edit("bsds300", "lrs_c", certificate__logdet={"items": 0})
    lab.edit("rings", "rq_2", certificate__density={"integral": "not finite", "error": 0.1})
    written = run(monkeypatch)
    found = rows(written, "certificate", "data", "method")
    row = found["rings", "FFJORD"]
    assert (row["float32_max"], row["float64_max"]) == ("not finite", "1.0e-13")
    assert row["failure"] == "float32: no bracket after 60 steps"
    assert found["rings", "LRS, 2 steps"]["failure"] == "log-det: not finite"
    assert found["BSDS300", "LRS (C)"]["logdet"] == ""
    assert found["BSDS300", "LRS (C)"]["failure"] == ""
    assert found["rings", "RQ-NSF, 2 steps"]["failure"] == "integral: not finite"


@pytest.mark.usefixtures("lab")
def test_a_second_run_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch):
    written = run(monkeypatch)
    files = [*written.iterdir(), written.parent / "cells.csv"]
    first = {path: path.read_bytes() for path in files}
    run(monkeypatch)
    assert {path: path.read_bytes() for path in files} == first


def test_rows_come_from_the_parameters_and_not_from_the_folder(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    del lab.section["runs"]["fast-bsds300-rq_c"]
    lab.write_parameters()
    written = run(monkeypatch)
    assert rows(written, "uci", "method")["RQ-NSF (C)",]["bsds300"] == ""


@pytest.mark.parametrize("name", ["scores/bsds300/lrs_c/metrics.json", "inverse.json"])
def test_a_missing_result_is_named_and_nothing_is_written(lab: Lab, name: str):
    (lab.folder / name).unlink()
    with pytest.raises(UserError, match=rf"{Path(name).name}: not found"):
        tables.write(lab.folder, "fast")
    assert not (lab.folder / "tables").exists()
    assert not (lab.folder / "cells.csv").exists()


def test_a_profile_that_is_under_way_can_be_shown_as_far_as_it_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
):
    (lab.scores("bsds300", "rq_c") / "metrics.json").unlink()
    (lab.folder / "inverse.json").unlink()
    tables.write(lab.folder, "fast", partial=True)
    written = lab.folder / "tables"
    listed = {entry["name"] for entry in json.loads((written / "index.json").read_text())}
    assert listed == (ALWAYS | SOMETIMES) - {"inverse_accuracy", "inverse_time"}
    outcomes = [row["outcome"] for row in rows(written, "claims", "claim").values()]
    assert outcomes[:3] == ["not testable here"] * 3
    ledger = {(row.row, row.column): row.verdict for row in read_ledger(lab.folder / "cells.csv")}
    assert ledger["RQ-NSF (C)", "BSDS300"] == "not run"
    assert ledger["LRS (C)", "BSDS300"] == "scaled down"


def test_a_damaged_result_is_named(lab: Lab):
    (lab.scores("bsds300", "lrs_c") / "arrays.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"arrays\.npz: damaged"):
        tables.write(lab.folder, "fast")
    (lab.folder / "inverse.json").write_text("{")
    with pytest.raises(UserError, match=r"inverse\.json: not valid JSON"):
        tables.write(lab.folder, "fast")
