"""A result says what it came from and what it cost, and not whose machine it was."""

import getpass
import json
import platform
import subprocess
import time

import torch

from common.training.provenance import Meter, parameter_count, provenance


def test_versions_and_device_are_recorded_but_no_name():
    facts = provenance()
    assert facts["torch"] == torch.__version__
    assert facts["python"] == platform.python_version()
    assert facts["device"]
    assert facts["threads"] >= 1
    values = json.dumps(facts)
    assert "/" not in facts["platform"]
    assert platform.node() not in values
    assert f'"{getpass.getuser()}"' not in values


def test_no_git_is_no_commit(tmp_path, monkeypatch):
    # The temporary folder may itself lie inside a clone: git must not look above it.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent.resolve()))
    facts = provenance(root=tmp_path)
    assert facts["commit"] is None
    assert facts["dirty"] is None


def test_commit_and_changes_are_recorded(tmp_path):
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    clean = provenance(root=tmp_path)
    assert clean["commit"] == git("rev-parse", "HEAD")
    assert clean["dirty"] is False
    (tmp_path / "file").write_text("2")
    assert provenance(root=tmp_path)["dirty"] is True


def test_wall_time_adds_up_over_resumes_and_memory_is_the_largest():
    first = Meter()
    time.sleep(0.05)
    saved = first.state_dict()
    assert 0.05 <= saved["wall_seconds"] < 5
    second = Meter()
    second.load_state_dict({**saved, "wall_seconds": 100.0, "peak_rss_bytes": 2.0**60})
    time.sleep(0.01)
    cost = second.state_dict()
    assert 100.01 <= cost["wall_seconds"] < 105
    assert cost["peak_rss_bytes"] == 2.0**60
    # An interpreter with torch takes over 50 MB; in kilobytes the number would be far smaller.
    assert saved["peak_rss_bytes"] > 50e6


def test_parameters_are_those_that_train():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    assert parameter_count(model) == 12
    model[1].weight.requires_grad_(False)
    assert parameter_count(model) == 10
