"""The pipeline that `make repro` runs, from raw data to the page, and what may happen to it."""

import csv
import html
import itertools
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from common.report.cells import load_cells
from common.report.ledger import VERDICTS
from conf.compose import composition
from tests.pipeline_workspace import (
    IMAGE_METHOD,
    MONOTONE_SETS,
    NETWORK,
    PRIOR,
    ROOT,
    SOLVERS,
    SPLINE_METHODS,
    Done,
    Pipeline,
    small,
)

# Every test waits for processes.
pytestmark = pytest.mark.slow

METHODS = ("gaussian", "lu_net", "lu_net_published", "realnvp")
LAST = ["tables", "figures", "report"]
PAPERS = ("lu_net", "lrs_flow", "monotone_flow", "inverse_problems")
MONOTONE = [f"{stage}@{name}-monotone" for stage in ("train", "evaluate") for name in MONOTONE_SETS]
IMAGES = [f"images_{stage}@digits-{IMAGE_METHOD}" for stage in ("train", "evaluate")]
RECOVERIES = [
    f"prior@digits-{PRIOR}",
    *[f"solve@compressed-{method}" for method in SOLVERS],
    f"supervised@{NETWORK}",
]
SPLINES = [f"{stage}@wine-{m}" for stage in ("train", "evaluate") for m in SPLINE_METHODS]
PROFILES = sorted(path.stem for path in (ROOT / "conf/profile").glob("*.yaml"))


class Ran(NamedTuple):
    """A pipeline, and how its commands ended, in order."""

    pipeline: Pipeline
    done: list[Done]


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Hold what a newcomer would clone."""
    return Pipeline.clone(tmp_path_factory.mktemp("cloned") / "repository")


@pytest.fixture(scope="module")
def finished(cloned: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Go through everything, undisturbed; tests that change something take a copy."""
    pipeline = cloned.copy(tmp_path_factory.mktemp("finished") / "repository")
    pipeline.write(small(pipeline.read()))
    return Ran(pipeline, [pipeline.dvc("repro")])


@pytest.fixture(scope="module")
def mended(finished: Ran, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Let one training diverge and one fail, go on all the same, then correct the latter."""
    pipeline = finished.pipeline.copy(tmp_path_factory.mktemp("mended") / "repository")
    params = pipeline.read()
    train = params["lu_net"]["train"]["digits"]
    train["gaussian"]["epoch"] = 3
    train["lu_net"]["optimiser"]["lr"] = 1e30
    pipeline.write(params)
    done = [pipeline.dvc("repro", "--keep-going")]
    del train["gaussian"]["epoch"]
    pipeline.write(params)
    return Ran(pipeline, [*done, pipeline.dvc("repro")])


def ledger(pipeline: Pipeline) -> list[dict[str, str]]:
    return list(csv.DictReader(pipeline.results()["cells.csv"].decode().splitlines()))


def test_one_command_leads_from_raw_data_to_the_page(finished):
    (done,) = finished.done
    assert done.code == 0, done.text
    pairs = [f"{stage}@digits-{method}" for stage in ("train", "evaluate") for method in METHODS]
    splines = ["fetch@wine", *SPLINES, "inverse", "tables", "figures"]
    blocks = [*MONOTONE, *IMAGES, "tables", "figures"]
    recoveries = ["fetch@patches", *RECOVERIES, "memory", "tables", "figures"]
    others = [*splines, *blocks, *recoveries]
    assert sorted(done.ran) == sorted(["fetch@digits", *pairs, "speed", *LAST, *others])
    made = finished.pipeline.results()
    page = html.unescape(made["index.html"].decode())
    parts = (("tables", ("md", "tex", "csv")), ("figures", ("png", "svg")))
    for paper, (part, endings) in itertools.product(PAPERS, parts):
        listed = json.loads(made[f"{paper}/{part}/index.json"])
        assert listed
        for entry in listed:
            assert entry["title"] in page
            stem = entry["name"] if part == "tables" else Path(entry["file"]).stem
            assert all(made[f"{paper}/{part}/{stem}.{ending}"] for ending in endings)


def test_every_published_cell_gets_a_verdict_and_a_reason(finished):
    rows = ledger(finished.pipeline)
    places = {(row["paper"], row["table"], row["row"], row["column"]) for row in rows}
    published = [load_cells(ROOT / paper / "paper.yaml") for paper in PAPERS]
    assert len(places) == len(rows) == sum(map(len, published))
    assert len(published[0]) == 16
    assert {row["verdict"] for row in rows} <= set(VERDICTS)
    assert all(row["reason"] for row in rows)


def test_a_second_repro_runs_nothing(finished):
    before = finished.pipeline.results()
    done = finished.pipeline.dvc("repro")
    assert done.code == 0, done.text
    assert done.ran == []
    assert finished.pipeline.results() == before


def test_a_killed_repro_goes_on_where_it_stopped(finished, tmp_path):
    pipeline = finished.pipeline.copy(tmp_path / "repository")
    whole, run = pipeline.results(), pipeline.run_of("lu_net")
    (whole_log,) = (finished.pipeline.folder / "runs").glob(f"{run.name}/*/events*")
    folders = [pipeline.out / "lu_net" / part / "digits/lu_net" for part in ("", "scores")]
    # Nothing may know the scores of equal weights without computing them.
    pipeline.unlock("train@fast-digits-lu_net", "evaluate@fast-digits-lu_net")
    for folder in (run, *folders, pipeline.folder / ".dvc/cache/runs"):
        shutil.rmtree(folder)
    others = pipeline.runs()

    pipeline.kill_repro_when((run / "checkpoint.pt").exists)
    assert not (run / "status.json").exists()
    assert not (folders[0] / "weights.pt").exists()
    done = pipeline.dvc("repro")
    assert done.code == 0, done.text
    # The tables' turn does not come: what they are made from is as it was.
    assert done.ran == ["train@digits-lu_net", "evaluate@digits-lu_net"]
    again = pipeline.results()
    for results in (again, whole):
        del results["lu_net/digits/lu_net/cost.json"]  # a clock enters it
    assert again == whole
    assert {path: time for path, time in pipeline.runs().items() if path in others} == others
    # A training that had begun anew would have logged as much as the whole one.
    log = max(run.glob("*/events*"), key=lambda path: path.stat().st_mtime_ns)
    assert log.stat().st_size < whole_log.stat().st_size


def test_one_failure_does_not_keep_the_others_from_finishing(mended):
    done = mended.done[0]
    assert done.code != 0
    # The Gaussian's own evaluation, the tables and the page need what is missing.
    expected = ["train@digits-gaussian", "train@digits-lu_net", "evaluate@digits-lu_net", "speed"]
    assert sorted(done.ran) == sorted(expected)
    errors = [line for line in done.text.splitlines() if line.startswith("error: ")]
    key = "lu_net.train.digits.gaussian.epoch"
    assert errors == [f"error: params.yaml: unknown key '{key}' (did you mean 'epochs'?)"]


def test_after_the_correction_only_what_is_missing_runs(mended, finished):
    done = mended.done[1]
    assert done.code == 0, done.text
    # The timings depend on all trainings' parameters of their data set.
    assert sorted(done.ran) == sorted(["train@digits-gaussian", "speed", *LAST])
    # DVC had removed the Gaussian's results, but its run was there and only had to be exported.
    was, now = finished.pipeline.runs(), mended.pipeline.runs()
    assert was.items() <= now.items()
    (diverged,) = {path.parts[0] for path in now.keys() - was.keys()}
    name = f"{diverged}/lu_net-fast-digits-lu_net"
    assert (mended.pipeline.folder / "runs" / name).is_dir()


def test_a_training_that_diverged_is_printed_as_such(mended):
    made = mended.pipeline.results()
    assert json.loads(made["lu_net/digits/lu_net/status.json"])["status"] == "diverged"
    (row,) = (row for row in ledger(mended.pipeline) if row["measured"] == "diverged")
    assert (row["table"], row["column"]) == ("complexity", "test NLL")
    lines = made["lu_net/tables/likelihood_digits.md"].decode().splitlines()
    (line,) = (line for line in lines if line.startswith("| LU-Net, maximum likelihood"))
    assert "diverged" in line
    assert '<span class="big diverged">diverged</span>' in made["index.html"].decode()


@pytest.mark.parametrize("profile", PROFILES)
def test_dvc_reads_the_pipeline_of_every_profile(cloned, profile, tmp_path):
    pipeline = cloned.copy(tmp_path / "repository")
    text = composition(f"profile={profile}", conf=pipeline.folder / "conf")
    (pipeline.folder / "params.yaml").write_text(text)
    done = pipeline.dvc("stage", "list", "--all", "--name-only", "--fail")
    assert done.code == 0, done.text
    stages = done.text.split()
    params = yaml.safe_load(text)
    for paper in ("lrs_flow", "monotone_flow"):
        for run in params[paper]["runs"]:
            assert run.startswith(f"{profile}-")
            for stage in ("train", "evaluate"):
                assert f"{paper}/dvc.yaml:{stage}@{run}" in stages
    for run in params["monotone_flow"]["image_runs"]:
        for stage in ("images_train", "images_evaluate"):
            assert f"monotone_flow/dvc.yaml:{stage}@{run}" in stages
    inverse = params["inverse_problems"]
    for run in inverse["priors"]:
        assert f"inverse_problems/dvc.yaml:prior@{run}" in stages
    for run in inverse["supervised"]["runs"]:
        assert f"inverse_problems/dvc.yaml:supervised@{run}" in stages
    for run in inverse["solves"]:
        assert f"inverse_problems/dvc.yaml:solve@{run}" in stages
    section = params["lu_net"]
    for dataset, method in itertools.product(section["datasets"], section["methods"]):
        for stage in ("train", "evaluate"):
            assert f"lu_net/dvc.yaml:{stage}@{profile}-{dataset}-{method}" in stages
    assert f"report@{profile}" in stages
    assert len(stages) < 300
