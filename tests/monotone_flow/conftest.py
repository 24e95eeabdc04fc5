import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.monotone_flow.workspace import Workspace
from tests.trainings import ENVIRONMENT, Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.stop()


@pytest.fixture(scope="session")
def new_workspace(
    tmp_path_factory: pytest.TempPathFactory, forks: Forks
) -> Callable[[], Workspace]:
    return lambda: Workspace(tmp_path_factory.mktemp("workspace"), forks)


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
            if dataset == "toys":
                # By the command itself, whose fingerprint and bytes the forks must share; slow.
                command = [sys.executable, "-m", "monotone_flow.train"]
                command += ["--dataset", dataset, "--method", method]
                run = subprocess.run(
                    command, cwd=workspace.folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL
                )
                assert run.returncode == 0
            else:
                assert workspace.train(dataset, method).code == 0
        return known[dataset, method]

    return get
