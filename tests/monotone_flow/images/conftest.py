from collections.abc import Callable
from pathlib import Path

import pytest

from common.datasets.fetch import fetch
from tests.monotone_flow.images.workspace import Workspace
from tests.trainings import Forks


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the digits."""
    folder = tmp_path_factory.mktemp("raw")
    fetch("digits", folder)
    return folder


@pytest.fixture(scope="session")
def new_image_workspace(
    tmp_path_factory: pytest.TempPathFactory, raw: Path, forks: Forks
) -> Callable[[], Workspace]:
    def new() -> Workspace:
        folder = tmp_path_factory.mktemp("workspace")
        (folder / "data").mkdir()
        (folder / "data/raw").symlink_to(raw)
        return Workspace(folder, forks)

    return new


@pytest.fixture
def image_workspace(new_image_workspace: Callable[[], Workspace]) -> Workspace:
    return new_image_workspace()


@pytest.fixture(scope="session")
def image_reference(new_image_workspace: Callable[[], Workspace]) -> Callable[[str], Workspace]:
    """Return workspaces where nothing went wrong."""
    known: dict[str, Workspace] = {}

    def get(method: str) -> Workspace:
        if method not in known:
            known[method] = workspace = new_image_workspace()
            done = workspace.train(method)
            assert done.code == 0, done.err
        return known[method]

    return get
