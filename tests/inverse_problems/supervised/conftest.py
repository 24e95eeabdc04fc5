from collections.abc import Iterator

import pytest

from tests.trainings import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.stop()
