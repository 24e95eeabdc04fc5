"""One trainer per run: the kernel holds the lock."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import UserError
from common.training.lock import exclusive

HOLDER = """
import sys, time
from pathlib import Path
from common.training.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(path: Path) -> Iterator[int]:
    """Hold the lock in another process, yield its pid, and kill it in the end."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_second_trainer_is_told_who_is_there(tmp_path):
    with (
        holder(tmp_path / "lock") as pid,
        pytest.raises(UserError, match=f"process {pid} on {platform.node()} is training here"),
        exclusive(tmp_path / "lock"),
    ):
        pass


def test_a_killed_trainer_leaves_no_lock(tmp_path):
    with holder(tmp_path / "lock"):
        pass
    with exclusive(tmp_path / "lock"):
        pass


def test_a_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with exclusive(tmp_path / "lock"):
            pass


def test_a_lock_goes_with_an_exception(tmp_path):
    with pytest.raises(KeyError), exclusive(tmp_path / "lock"):
        raise KeyError
    with exclusive(tmp_path / "lock"):
        pass


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}"])
def test_a_holder_that_has_not_signed_is_another_process(tmp_path, text):
    with holder(tmp_path / "lock"):
        (tmp_path / "lock").write_text(text)
        with pytest.raises(UserError, match="another process"), exclusive(tmp_path / "lock"):
            pass
