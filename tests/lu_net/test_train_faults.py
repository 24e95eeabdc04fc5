"""Nothing that happens to a training spoils it: the faults are injected into real processes."""

import contextlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from common.training import checkpoint
from tests.lu_net.workspace import METHODS, Workspace
from tests.trainings import DIES, EXACT, Done, content, sentence

# Every test waits for processes that train.
pytestmark = pytest.mark.slow

EPOCHS = METHODS["lu_net"]["epochs"]

# The kernel ends the process inside the write that makes a file longer than this.
TORN = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
"""
# The disk has no room for another file whose name contains this.
FULL = """
import builtins, errno, io, os
real = open
def full(file, *arguments, **options):
    if "{name}" in str(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    return real(file, *arguments, **options)
builtins.open = io.open = full
"""


def saved_at(workspace: Workspace) -> int:
    """Return when the checkpoint was written, in nanoseconds; 0 if there is none."""
    for file in workspace.folder.glob("runs/*/checkpoint.pt"):
        with contextlib.suppress(FileNotFoundError):  # for a moment it is only the previous one
            return file.stat().st_mtime_ns
    return 0


def saved_step(workspace: Workspace) -> int:
    saved = checkpoint.load(workspace.checkpoint, workspace.run.name)
    assert saved is not None
    return int(saved["step"])


def last_step(workspace: Workspace, method: str) -> int:
    last = (workspace.results(method) / "curve.csv").read_text().splitlines()[-1]
    return int(last.split(",")[1])


@pytest.fixture(scope="module")
def stopped(new_workspace: Callable[[], Workspace]) -> Workspace:
    """Return a workspace whose training was killed after it had saved twice."""
    workspace = new_workspace()
    # config.json takes 3 calls, the first checkpoint 3, the second 4: it moves the first away.
    assert workspace.train(fault=DIES.format(n=11)).code == -signal.SIGKILL
    assert checkpoint.previous(workspace.checkpoint).exists()
    return workspace


@pytest.fixture
def resumable(stopped: Workspace, tmp_path: Path) -> Workspace:
    """Return a copy of a workspace whose training was killed after it had saved twice."""
    shutil.copytree(stopped.folder, tmp_path, dirs_exist_ok=True)
    return Workspace(tmp_path, stopped.forks)


# Killed


@pytest.mark.parametrize("method", ["lu_net", "realnvp"])
def test_a_training_killed_at_random_times_ends_with_the_same_bytes(workspace, reference, method):
    whole = reference(method)
    between = saved_at(whole) - checkpoint.previous(whole.checkpoint).stat().st_mtime_ns
    draw = random.Random(0)
    steps = [0]
    for _ in range(3):
        before = saved_at(workspace)
        training = workspace.start(method)
        training.wait(lambda before=before: saved_at(workspace) not in (0, before))
        time.sleep(draw.uniform(0, between / 1e9))
        training.kill()
        if training.code == 0:  # the machine has become much faster meanwhile
            break
        assert training.code == -signal.SIGKILL
        steps.append(saved_step(workspace))
    assert 0 < steps[1] < last_step(whole, method)
    assert steps == sorted(set(steps)), "each goes on where the one before had saved"
    assert workspace.train(method).code == 0
    assert workspace.exact(method) == whole.exact(method)
    # The tests' processes train under the fingerprint of the command itself.
    assert workspace.run.name == whole.run.name


def test_a_training_killed_inside_any_write_ends_with_the_same_bytes(workspace, reference):
    gaps = 0
    # After one checkpoint, kill at each call that writes the next; then ever later, through the
    # other checkpoints, the weights, the status and the export, until a process survives.
    for n in (6, 5, 6, 4, 5, *range(6, 100)):
        done = workspace.train(fault=DIES.format(n=n))
        gaps += not workspace.checkpoint.exists()
        if done.code == 0:
            break
        assert done.code == -signal.SIGKILL, done
    assert n > 12
    assert gaps > 0, "no kill fell between the two renames of a save"
    assert workspace.exact() == reference("lu_net").exact()


def test_a_checkpoint_torn_in_the_middle_of_its_write_is_written_again(resumable, reference):
    before = resumable.checkpoint.read_bytes()
    assert resumable.train(fault=TORN).code == -signal.SIGXFSZ
    assert resumable.checkpoint.with_name("checkpoint.pt.tmp").stat().st_size == 200_000
    assert resumable.checkpoint.read_bytes() == before
    assert resumable.train().code == 0
    assert resumable.exact() == reference("lu_net").exact()
    assert not list(resumable.run.glob("*.tmp"))


# Damaged, foreign or malicious checkpoints


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip])
def test_after_damage_the_previous_checkpoint_leads_to_the_same_bytes(resumable, reference, damage):
    damage(resumable.checkpoint)
    done = resumable.train()
    assert done.code == 0
    assert "checkpoint.pt" in done.err
    assert "is damaged: resuming from checkpoint.pt.previous" in done.err
    assert resumable.exact() == reference("lu_net").exact()


def test_two_damaged_checkpoints_are_refused_in_one_sentence(resumable):
    truncate(resumable.checkpoint)
    flip(checkpoint.previous(resumable.checkpoint))
    before = resumable.checkpoint.read_bytes()
    message = sentence(resumable.train())
    assert "no sound checkpoint" in message
    assert "delete these files" in message
    assert resumable.checkpoint.read_bytes() == before


def test_another_learning_rate_is_another_run(resumable, reference):
    old = resumable.run
    before = content(old)
    resumable.digits["lu_net"]["optimiser"]["lr"] = 2e-3
    assert resumable.train().code == 0
    assert len(list(old.parent.iterdir())) == 2
    assert content(old) == before
    assert resumable.exact()["weights.pt"] != reference("lu_net").exact()["weights.pt"]
    # The old one is still there to be continued.
    resumable.digits = METHODS
    assert resumable.train().code == 0
    assert resumable.exact() == reference("lu_net").exact()


def test_a_checkpoint_of_another_configuration_is_refused_in_one_sentence(resumable, workspace):
    workspace.digits["lu_net"]["optimiser"]["lr"] = 2e-3
    assert workspace.train(fault=DIES.format(n=6)).code == -signal.SIGKILL
    shutil.copy(workspace.checkpoint, resumable.checkpoint)
    message = sentence(resumable.train())
    assert "was written by another configuration, code or data set" in message
    assert workspace.run.name in message
    assert "delete it" in message


class Payload:
    """Create a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def test_a_malicious_checkpoint_is_refused_and_not_executed(resumable, monkeypatch):
    target = resumable.folder / "owned"
    monkeypatch.setattr(checkpoint, "_refuse_foreign", lambda *_: None)
    state = {"step": Payload(target)}
    checkpoint.save(resumable.checkpoint, state, resumable.run.name)
    message = sentence(resumable.train())
    assert "was not executed" in message
    assert not target.exists()
    # The payload does work where it is let in, so its absence above means something.
    with resumable.checkpoint.open("rb") as file:
        file.readline()
        (resumable.folder / "raw.pt").write_bytes(file.read())
    torch.load(resumable.folder / "raw.pt", weights_only=False)
    assert target.exists()


# A full disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("name", ["checkpoint.pt", "weights.pt", "results"])
def test_a_full_disk_is_one_sentence_and_costs_nothing(resumable, reference, name):
    before = resumable.checkpoint.read_bytes()
    target = resumable.run / name
    if name == "results":
        resumable.results().mkdir(parents=True)
        target = resumable.results() / "curve.csv"
    # Files are written under this name first; the kernel refuses every byte for lack of space.
    temporary = target.with_name(target.name + ".tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to("/dev/full")
    message = sentence(resumable.train())
    assert f"{target.relative_to(resumable.folder)}: cannot write (No space left on" in message
    assert "start the same command again" in message
    if name == "checkpoint.pt":
        assert resumable.checkpoint.read_bytes() == before
    assert resumable.train().code == 0
    assert resumable.exact() == reference("lu_net").exact()
    assert not list(resumable.folder.rglob("*.tmp"))


@pytest.mark.parametrize("name", ["/lock", "tfevents"])
def test_a_disk_too_full_for_lock_or_log_is_one_sentence(resumable, reference, name):
    message = sentence(resumable.train(fault=FULL.format(name=name)))
    assert "No space left on device" in message
    assert name in message
    assert resumable.train().code == 0
    assert resumable.exact() == reference("lu_net").exact()


# Diverged


def exported(workspace: Workspace) -> dict[str, torch.Tensor]:
    content = torch.load(workspace.results() / "weights.pt", weights_only=True)
    return content["state_dict"]


def test_a_training_that_diverges_keeps_its_last_good_state(workspace):
    good = 3  # epochs; at the next one the learning rate explodes
    cfg = workspace.digits["lu_net"]
    cfg["optimiser"] = {"lr": 1e-3, "schedule": "staircase", "every": good, "factor": 1.0}
    cfg["epochs"] = good
    assert workspace.train().code == 0
    expected = exported(workspace)
    curve = (workspace.results() / "curve.csv").read_text()
    cfg["optimiser"]["factor"] = 1e30
    cfg["epochs"] = EPOCHS
    done = workspace.train()
    assert done.code == 0
    assert "the loss is not finite at step" in done.out
    assert "last good state is kept" in done.out
    assert "Traceback" not in done.err
    status = json.loads((workspace.results() / "status.json").read_text())
    assert status["status"] == "diverged"
    assert (status["epochs"], status["epochs_run"]) == (EPOCHS, good)
    assert (workspace.results() / "curve.csv").read_text() == curve
    torch.testing.assert_close(exported(workspace), expected, rtol=0, atol=0)
    # It is over: the same command only exports.
    shutil.rmtree(workspace.results())
    again = workspace.train()
    assert (again.code, again.out) == (0, "")
    torch.testing.assert_close(exported(workspace), expected, rtol=0, atol=0)


def test_a_training_that_diverges_at_once_keeps_its_initial_state(workspace):
    workspace.digits["lu_net"]["optimiser"]["lr"] = 1e30
    assert workspace.train().code == 0
    status = json.loads((workspace.results() / "status.json").read_text())
    assert (status["status"], status["epochs_run"]) == ("diverged", 0)
    assert all(tensor.isfinite().all() for tensor in exported(workspace).values())


def test_without_held_out_data_the_last_good_state_is_kept_too(workspace):
    workspace.digits["lu_net"]["optimiser"]["lr"] = 1e30
    workspace.digits["lu_net"]["valid_per_class"] = 0
    assert workspace.train().code == 0
    status = json.loads((workspace.results() / "status.json").read_text())
    assert status["status"] == "diverged"
    assert all(tensor.isfinite().all() for tensor in exported(workspace).values())


def test_divergence_in_the_very_last_step_is_noticed(workspace):
    cfg = workspace.digits["lu_net"]
    cfg.update(epochs=1, batch=1000)
    cfg["optimiser"]["lr"] = 1e30
    assert workspace.train().code == 0
    status = json.loads((workspace.results() / "status.json").read_text())
    assert status["status"] == "diverged"
    assert all(tensor.isfinite().all() for tensor in exported(workspace).values())


# Two at once, or again


def test_a_second_trainer_is_told_who_holds_the_run(workspace, reference):
    first = workspace.start()
    first.wait(lambda: saved_at(workspace) > 0)
    first.signal(signal.SIGSTOP)
    assert not first.ended
    message = sentence(workspace.train())
    assert f"process {first.pid} on" in message
    assert "is training here" in message
    first.signal(signal.SIGCONT)
    assert first.done().code == 0
    assert workspace.exact() == reference("lu_net").exact()


def test_what_is_finished_is_only_exported_again(reference, tmp_path):
    whole = reference("lu_net")
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    workspace = Workspace(tmp_path, whole.forks)
    shutil.rmtree(workspace.folder / "results")
    files = ["checkpoint.pt", "checkpoint.pt.previous", *EXACT, "cost.json"]
    before = {name: (workspace.run / name).stat().st_mtime_ns for name in files}
    assert workspace.train() == Done(0, "", "")
    assert content(workspace.folder / "results") == content(whole.folder / "results")
    assert {name: (workspace.run / name).stat().st_mtime_ns for name in files} == before
