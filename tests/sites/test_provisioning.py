"""The probe after a deployment."""

from threading import Event, Timer
from typing import Any

import pytest

from mcloud.errors import Refused, Unavailable
from mcloud.infra.terraform import Interrupted
from mcloud.sites import provisioning


class Site:
    """A site whose services answer after some reads."""

    name, cloud = "aws", "aws"

    def __init__(self, **late: int) -> None:
        self.left = late
        self.asked: list[str] = []

    @property
    def probe(self) -> "Site":
        return self

    def check(self, service: str, timeout: float) -> None:
        self.asked.append(service)
        self.left[service] = self.left.get(service, 0) - 1
        if self.left[service] >= 0:
            raise Refused("not yet")


def probe(site: Any, stop: Event | None = None, patience: float = 60.0) -> dict[str, str]:
    return provisioning.probe(site, stop or Event(), patience)


def test_all_answer_at_once() -> None:
    site = Site()
    assert set(probe(site).values()) == {""}
    assert sorted(site.asked) == ["archive", "candles", "function", "queue"]


def test_only_a_late_service_is_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provisioning, "PAUSE", 0.0)
    site = Site(function=2)
    assert set(probe(site).values()) == {""}
    assert site.asked.count("function") == 3
    assert site.asked.count("queue") == 1


def test_a_service_that_never_answers_is_reported_with_the_reason() -> None:
    found = probe(Site(function=99), patience=0.0)
    assert found == {"queue": "", "function": "not yet", "candles": "", "archive": ""}


def test_an_error_without_words_is_still_one() -> None:
    class Mute(Site):
        def check(self, service: str, timeout: float) -> None:
            raise Unavailable("")

    assert set(probe(Mute(), patience=0.0).values()) == {"Unavailable"}


def test_a_probe_can_be_interrupted() -> None:
    stop = Event()
    Timer(0.0, stop.set).start()
    with pytest.raises(Interrupted):
        probe(Site(function=10**9), stop)
