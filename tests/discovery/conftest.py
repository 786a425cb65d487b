"""The server, as the proxy of every client in this process."""

from collections.abc import Iterator

import pytest

from .google import Google
from .server import Server, serving


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("google")) as server:
        yield server


@pytest.fixture
def google(running: Server, monkeypatch: pytest.MonkeyPatch) -> Google:
    """An empty cloud that answers for ``*.googleapis.com``."""
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    running.google.reset()
    return running.google
