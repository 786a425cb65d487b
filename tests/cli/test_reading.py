"""Reads of commands from sites of which one does not answer."""

import threading
from typing import Any, cast

import pytest

from mcloud.cli import reading
from mcloud.cli.session import Session
from mcloud.errors import Unavailable


class FakeSite:
    """A site that notes when its clients are created."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_ready = threading.Event()

    @property
    def candles(self) -> str:
        self.is_ready.set()
        return self.name

    control = candles


class FakeSession:
    def __init__(self, sites: dict[str, FakeSite]) -> None:
        self.sites = sites
        self.warnings: list[str] = []

    def readable_sites(self, wanted: str | None) -> dict[str, FakeSite]:
        return self.sites

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def session() -> FakeSession:
    return FakeSession({"aws": FakeSite("aws"), "gcp": FakeSite("gcp")})


def test_the_next_site_is_made_ready_while_the_first_one_is_late(session: FakeSession) -> None:
    def read(site: Any) -> str:
        if site.name == "aws":
            assert session.sites["gcp"].is_ready.wait(60)
            raise Unavailable("no answer")
        return str(site.candles)

    _, result = reading.read_one(cast(Session, session), None, read, wait=False)
    assert result == "gcp"
    assert session.warnings == ["aws cannot be read: no answer; this is from gcp"]


def test_a_site_that_answers_needs_no_other_one(session: FakeSession) -> None:
    _, result = reading.read_one(cast(Session, session), None, lambda site: site.name, wait=False)
    assert result == "aws"
    assert not session.sites["gcp"].is_ready.is_set()
