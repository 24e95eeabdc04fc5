from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.datasets.fetch import fetch
from tests.inverse_problems.workspace import Workspace
from tests.trainings import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.stop()


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the digits."""
    folder = tmp_path_factory.mktemp("raw")
    fetch("digits", folder)
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
def reference(new_workspace: Callable[[], Workspace]) -> Callable[[str], Workspace]:
    """Return workspaces where nothing went wrong."""
    known: dict[str, Workspace] = {}

    def get(prior: str) -> Workspace:
        if prior not in known:
            known[prior] = workspace = new_workspace()
            assert workspace.train(prior).code == 0
        return known[prior]

    return get
