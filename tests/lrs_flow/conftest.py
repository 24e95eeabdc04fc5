import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.datasets.fetch import fetch
from tests.lrs_flow.workspace import Workspace
from tests.trainings import ENVIRONMENT, Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.stop()


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the digits and a table."""
    folder = tmp_path_factory.mktemp("raw")
    for name in ("digits", "wine"):
        fetch(name, folder)
    return folder


@pytest.fixture(scope="session")
def new_workspace(
    tmp_path_factory: pytest.TempPathFactory, raw: Path, forks: Forks
) -> Callable[[], Workspace]:
    def new() -> Workspace:
        folder = tmp_path_factory.mktemp("workspace")
        (folder / "data").mkdir()
        (folder / "data/raw").symlink_to(raw)
        return Workspace(folder, forks)

    return new


@pytest.fixture
def workspace(new_workspace: Callable[[], Workspace]) -> Workspace:
    return new_workspace()


@pytest.fixture(scope="session")
def reference(new_workspace: Callable[[], Workspace]) -> Callable[[str, str], Workspace]:
    """Return workspaces where nothing went wrong."""
    known: dict[tuple[str, str], Workspace] = {}

    def get(dataset: str, method: str) -> Workspace:
        if (dataset, method) not in known:
            known[dataset, method] = workspace = new_workspace()
            workspace.write_params()
            if method == "lrs_c":
                # By the command itself, whose fingerprint and bytes the forks must share; slow.
                command = [sys.executable, "-m", "lrs_flow.train"]
                command += ["--dataset", dataset, "--method", method]
                run = subprocess.run(
                    command, cwd=workspace.folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL
                )
                assert run.returncode == 0
            else:
                assert workspace.train(dataset, method).code == 0
        return known[dataset, method]

    return get
