"""A run's folder: locked while training, readable by TensorBoard, exported in one piece."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from common.training.run import export, open_run

NAME = "lu_net-fast-digits-lu_net"


def test_a_run_has_its_folder_and_configuration(tmp_path):
    with open_run(tmp_path / "runs", "abc", {"lr": 0.1}, NAME) as run:
        assert run.folder == tmp_path / "runs" / "abc"
        assert run.checkpoint.parent == run.folder
        assert not run.finished
    assert json.loads((tmp_path / "runs/abc/config.json").read_text()) == {"lr": 0.1}


def test_a_finished_run_is_known_when_it_is_opened_again(tmp_path):
    with open_run(tmp_path, "abc", {}, NAME) as run:
        run.finish("diverged", step=13)
    with open_run(tmp_path, "abc", {}, NAME) as run:
        assert run.finished
        assert run.status == {"status": "diverged", "step": 13}


def test_a_spoilt_status_is_one_sentence(tmp_path):
    with open_run(tmp_path, "abc", {}, NAME) as run:
        (run.folder / "status.json").write_text("{")
        with pytest.raises(UserError, match=r"status.json: not valid JSON; delete it"):
            _ = run.finished


def test_a_run_in_use_is_refused_to_another_process(tmp_path):
    program = (
        "import sys; from pathlib import Path; from common.training.run import open_run\n"
        "with open_run(Path(sys.argv[1]), 'abc', {}, 'x'): pass"
    )
    with open_run(tmp_path, "abc", {"mine": 1}, NAME) as run:
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert done.returncode == 1
        assert f"process {os.getpid()} on" in done.stderr
        assert json.loads((run.folder / "config.json").read_text()) == {"mine": 1}


def test_tensorboard_reads_what_was_logged_and_hides_what_a_resume_repeats(tmp_path):
    with open_run(tmp_path, "abc", {}, NAME) as run:
        with run.tensorboard() as log:
            for step in range(6):
                log.add_scalar("train/nll", 100.0 + step, step)
        with run.tensorboard(purge_step=3) as log:
            for step in range(3, 8):
                log.add_scalar("train/nll", float(step), step)
    events = EventAccumulator(str(tmp_path / "abc" / NAME))
    events.Reload()
    scalars = events.Scalars("train/nll")
    assert [s.step for s in scalars] == list(range(8))
    assert [s.value for s in scalars] == [100, 101, 102, 3, 4, 5, 6, 7]


def test_results_are_exported_whole(tmp_path):
    with open_run(tmp_path / "runs", "abc", {}, NAME) as run:
        run.write_json("cost.json", {"wall_seconds": 3})
        out = tmp_path / "results" / "digits"
        export(run, out, {"cost.json": "cost.json", "config.json": "used.json"})
        export(run, out, {"cost.json": "cost.json"})
    assert sorted(file.name for file in out.iterdir()) == ["cost.json", "used.json"]
    assert json.loads((out / "cost.json").read_text()) == {"wall_seconds": 3}


def test_a_missing_file_stops_the_export_before_it_begins(tmp_path):
    with (
        open_run(tmp_path / "runs", "abc", {}, NAME) as run,
        pytest.raises(UserError, match=r"weights.pt: missing; delete .* and train again"),
    ):
        export(run, tmp_path / "out", {"config.json": "config.json", "weights.pt": "weights.pt"})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "runs").write_text("a file")
    with (
        pytest.raises(UserError, match="cannot be created"),
        open_run(tmp_path / "runs", "abc", {}, NAME),
    ):
        pass
