"""No crash, full disk or foreign file can spoil a run: the faults are injected for real."""

import errno
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from common.errors import UserError
from common.training import atomic, checkpoint

OURS = "0123456789abcdef"


def state(version: int) -> dict:
    return {"step": version, "weights": torch.full((64, 64), float(version))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a path where two versions have been saved."""
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, state(1), OURS)
    checkpoint.save(path, state(2), OURS)
    return path


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def python(program: str, *arguments: object) -> str:
    """Run a program in a process of its own and return what it printed."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout


def test_a_state_comes_back_exactly(tmp_path):
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    saved = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "best": {"step": None, "score": [1.5, (2, True)]},
        "shape": torch.Size([3, 2]),
    }
    checkpoint.save(tmp_path / "c.pt", saved, OURS)
    loaded = checkpoint.load(tmp_path / "c.pt", OURS)
    assert loaded is not None
    assert repr(loaded) == repr(saved)
    torch.testing.assert_close(loaded["model"], dict(saved["model"]), rtol=0, atol=0)


def test_nothing_saved_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "checkpoint.pt", OURS) is None


def test_the_newest_is_loaded_without_a_warning(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = checkpoint.load(path, OURS)
    assert loaded is not None
    assert loaded["step"] == 2


@pytest.mark.parametrize("size", [0, 1, 60, 200, 1000, -1])
def test_a_truncated_file_is_replaced_by_the_previous_one(path, size):
    truncate(path, size)
    with pytest.warns(UserWarning, match="is damaged: resuming from checkpoint.pt.previous"):
        loaded = checkpoint.load(path, OURS)
    assert loaded is not None
    assert loaded["step"] == 1


def test_any_flipped_bit_is_noticed(path):
    sound = path.read_bytes()
    draw = random.Random(0)
    header = 8 * sound.index(b"\n")
    bits = [draw.randrange(8 * len(sound)) for _ in range(60)]
    for bit in bits + [draw.randrange(header) for _ in range(60)]:
        path.write_bytes(sound)
        flip(path, bit)
        with pytest.warns(UserWarning, match="is damaged"):
            loaded = checkpoint.load(path, OURS)
        assert loaded is not None
        assert loaded["step"] == 1


def test_a_writer_killed_between_its_renames_leaves_the_previous_one(path):
    path.unlink()
    loaded = checkpoint.load(path, OURS)
    assert loaded is not None
    assert loaded["step"] == 1


def test_two_damaged_files_are_both_named(path):
    truncate(path, 300)
    flip(checkpoint.previous(path), 8000)
    with pytest.raises(UserError) as caught:
        checkpoint.load(path, OURS)
    message = str(caught.value)
    assert str(path) in message
    assert f"{path}.previous" in message
    assert "delete" in message


def test_another_fingerprint_is_refused(path):
    with pytest.raises(UserError, match=r"another configuration.*delete"):
        checkpoint.load(path, "f" * 16)


class Payload:
    """Create the file `target` when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_file_with_a_right_checksum_is_refused_and_not_executed(
    tmp_path, monkeypatch, zipped
):
    path, target = tmp_path / "checkpoint.pt", tmp_path / "owned"
    monkeypatch.setattr(checkpoint, "_refuse_foreign", lambda *_: None)
    write = torch.save
    monkeypatch.setattr(torch, "save", lambda *a: write(*a, _use_new_zipfile_serialization=zipped))
    checkpoint.save(path, {"step": Payload(target)}, OURS)
    with pytest.raises(UserError, match="not executed"):
        checkpoint.load(path, OURS)
    assert not target.exists()
    # The payload does work where it is let in, so its absence above means something.
    start = path.read_bytes().index(b"\n") + 1
    (tmp_path / "raw.pt").write_bytes(path.read_bytes()[start:])
    torch.load(tmp_path / "raw.pt", weights_only=False)
    assert target.exists()


def test_a_state_that_could_not_be_loaded_is_refused_when_saving(tmp_path):
    with pytest.raises(TypeError, match=r"state\['run'\]\[0\] is a PosixPath"):
        checkpoint.save(tmp_path / "c.pt", {"run": [Path("x")]}, OURS)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_checkpoint_and_no_temporary_file(path, monkeypatch, call):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match=r"cannot write \(No space left on device\)"):
        checkpoint.save(path, state(3), OURS)
    monkeypatch.undo()
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "checkpoint.pt",
        "checkpoint.pt.previous",
    ]
    loaded = checkpoint.load(path, OURS)
    assert loaded is not None
    assert loaded["step"] == 2


LIMITED = """
import resource, signal, sys
from pathlib import Path
from common.errors import UserError
from common.training import atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
path = Path(sys.argv[1])
try:
    atomic.write_bytes(path, b"header", bytes(10_000), keep=path.with_name("kept"))
except UserError as error:
    print(error)
"""


def test_a_write_that_the_system_refuses_half_way_leaves_the_old_file(path):
    before = path.read_bytes()
    assert "checkpoint.pt: cannot write (File too large)" in python(LIMITED, path)
    assert path.read_bytes() == before
    assert sorted(f.name for f in path.parent.iterdir()) == [path.name, path.name + ".previous"]


# One process imports torch, which is slow, and forks the writers that are killed.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from common.training import checkpoint
path, draw, last = Path(sys.argv[1]), random.Random(1), 0
for _ in range(8):
    child = os.fork()
    if child == 0:
        for version in range(last + 1, 10**6):
            weights = torch.full((400, 400), float(version))
            checkpoint.save(path, {"step": version, "weights": weights}, sys.argv[2])
    time.sleep(draw.uniform(0.01, 0.15))
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    loaded = checkpoint.load(path, sys.argv[2])
    if loaded is not None:
        assert (loaded["weights"] == loaded["step"]).all()
        assert loaded["step"] >= last
        last = loaded["step"]
print(last)
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_time_leaves_a_complete_version(tmp_path):
    assert int(python(KILLED, tmp_path / "checkpoint.pt", OURS)) > 8


def test_a_temporary_file_of_a_killed_writer_is_gone_after_the_next_save(path):
    (path.parent / "checkpoint.pt.tmp").write_bytes(b"half a file")
    checkpoint.save(path, state(3), OURS)
    assert not list(path.parent.glob("*.tmp"))
    loaded = checkpoint.load(path, OURS)
    assert loaded is not None
    assert loaded["step"] == 3


def test_a_folder_that_does_not_exist_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="No such file or directory"):
        atomic.write_bytes(tmp_path / "no" / "file", b"")
