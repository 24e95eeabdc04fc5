import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lu_net.workspace import Workspace
from tests.trainings import ENVIRONMENT, Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.stop()


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the command has fetched the digits."""
    folder = tmp_path_factory.mktemp("fetched")
    fetch = [sys.executable, "-m", "common.datasets.fetch", "digits"]
    subprocess.run(fetch, check=True, cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    return folder / "data/raw"


@pytest.fixture(scope="session")
def new_workspace(
    tmp_path_factory: pytest.TempPathFactory, raw: Path, forks: Forks
) -> Callable[[], Workspace]:
    def new() -> Workspace:
        folder = tmp_path_factory.mktemp("workspace")
        shutil.copytree(raw, folder / "data/raw")
        return Workspace(folder, forks)

    return new


@pytest.fixture
def workspace(new_workspace: Callable[[], Workspace]) -> Workspace:
    return new_workspace()


@pytest.fixture(scope="session")
def reference(new_workspace: Callable[[], Workspace]) -> Callable[[str], Workspace]:
    """Return workspaces where nothing went wrong, trained by the command itself."""
    known: dict[str, Workspace] = {}

    def get(method: str) -> Workspace:
        if method not in known:
            known[method] = workspace = new_workspace()
            workspace.write_params()
            command = [sys.executable, "-m", "lu_net.train"]
            subprocess.run(
                [*command, "--dataset", "digits", "--method", method],
                check=True,
                cwd=workspace.folder,
                env=ENVIRONMENT,
                stderr=subprocess.DEVNULL,
            )
        return known[method]

    return get
