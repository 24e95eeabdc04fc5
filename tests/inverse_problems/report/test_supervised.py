"""Tables and figures of the supervised networks show what was measured."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from common.errors import UserError
from common.report.figures import panels
from common.report.tables import write_tables
from inverse_problems.report import draw_supervised
from inverse_problems.report.supervised_results import SupervisedResults, read_supervised
from inverse_problems.report.tables_supervised import ablation, arm
from tests.inverse_problems.report.invented import metrics, results


@pytest.fixture
def found(tmp_path: Path) -> SupervisedResults:
    lost = {"training": {"status": "diverged", "steps": 10, "steps_run": 4}}
    return results(
        tmp_path / "scores",
        mixture_some=metrics(),
        mixture_some_x=metrics(**lost),
        kinematics=metrics("kinematics", scaled_down="few steps"),
    )


def test_each_table_has_its_tasks_and_writes(found: SupervisedResults, tmp_path: Path):
    (mixture,), (arms,) = ablation(found), arm(found)
    write_tables([mixture, arms], tmp_path)
    text = (tmp_path / "supervised_mixture.csv").read_text().splitlines()
    assert len(text) == 3
    assert text[1].startswith('"some, three losses","y, z, x",3,')
    assert "diverged" in text[2]
    (row,) = arms.rows
    assert (row["mmd"], row["seeds"]) == (pytest.approx(0.011), 2)
    assert row["protocol"] == "few steps"


def test_nothing_run_makes_no_table_and_no_figure(tmp_path: Path):
    assert ablation({}) == arm({}) == []
    assert draw_supervised.posteriors({}, tmp_path) == []
    assert draw_supervised.arms({}, tmp_path) == draw_supervised.calibration({}, tmp_path) == []


def test_every_figure_is_drawn_and_told(found: SupervisedResults, tmp_path: Path):
    captions = [
        *draw_supervised.posteriors(found, tmp_path),
        *draw_supervised.arms(found, tmp_path),
        *draw_supervised.calibration(found, tmp_path),
    ]
    assert [caption.file for caption in captions] == [
        "mixture_some.svg",
        "arms.svg",
        "calibration.svg",
    ]
    for caption in captions:
        assert (tmp_path / caption.file).with_suffix(".png").stat().st_size > 5000
    assert captions[1].caption.endswith("Scaled down: few steps.")


def test_the_line_holds_97_percent_of_the_ends():
    rng = np.random.default_rng(0)
    ends = np.array([1.0, 0.0]) + 0.1 * rng.standard_normal((1000, 2))
    _, (ax,) = panels()
    level = draw_supervised.held_ends(ax, ends)
    from scipy.stats import gaussian_kde

    assert (gaussian_kde(ends.T)(ends.T) >= level).mean() == pytest.approx(0.97, abs=0.002)


def test_results_are_those_that_the_parameters_list(found: SupervisedResults, tmp_path: Path):
    runs = {f"fast-{task}": {"task": task} for task in ("kinematics", "mixture_some")}
    params = {"profile": "fast", "inverse_problems": {"supervised": {"runs": runs}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    read = read_supervised(tmp_path / "scores", "fast", root=tmp_path)
    assert list(read) == ["kinematics", "mixture_some"]
    assert read["kinematics"].is_arm
    runs["fast-mixture_none"] = {"task": "mixture_none"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert len(read_supervised(tmp_path / "scores", "fast", root=tmp_path, partial=True)) == 2
    with pytest.raises(UserError, match="run the evaluation first"):
        read_supervised(tmp_path / "scores", "fast", root=tmp_path)
