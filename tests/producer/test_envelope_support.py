"""Producers know which versions the function of a site reads, and ask it if they do not."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mcloud.clouds.ports import Site
from mcloud.errors import Refused, Unavailable
from mcloud.market.envelope import VERSION, version_of
from mcloud.processor.envelope_support import ENVELOPES, SUPPORT
from mcloud.producer import envelope_support
from mcloud.producer.envelope_support import (
    AGAIN,
    ASKED,
    AWAY,
    RENEWED,
    STALE,
    Reads,
    SupportReader,
)

from .queues import FakeQueue

NOW = 1_800_000_000.0


class Store:
    """The part of a Control that SupportReader reads."""

    def __init__(self) -> None:
        self.note: Any = None
        self.error: Exception | None = None
        self.reads = 0

    def get(self, kind: str, key: str) -> Any:
        assert (kind, key) == (SUPPORT.name, ENVELOPES)
        self.reads += 1
        if self.error:
            raise self.error
        return self.note


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.store, self.queue = Store(), FakeQueue()
        site = SimpleNamespace(name="aws", control=self.store, queue=self.queue)
        self.support = SupportReader(
            cast(Site, site),
            clock=lambda: self.now,
            wall=lambda: NOW + self.now - 100,
            start=lambda look: look(),
        )

    def after(self, seconds: float) -> int:
        self.now += seconds
        return self.support.reads().highest

    def noted(self, highest: int = VERSION, age: float = 0.0) -> None:
        self.store.note = {"highest": highest, "at": NOW + self.now - 100 - age}


def test_a_fresh_note_is_used_and_rarely_read_again() -> None:
    world = World()
    world.noted()
    assert world.after(0) == VERSION
    for _ in range(int(RENEWED) - 1):
        assert world.after(1) == VERSION
    assert world.store.reads == 1
    assert world.after(RENEWED) == VERSION
    assert (world.store.reads, world.queue.taken) == (2, [])


def test_a_function_without_a_note_gets_a_canary() -> None:
    world = World()
    assert world.after(0) == 1
    (canary,) = world.queue.taken
    assert version_of(canary) == 1
    world.after(ASKED / 2)
    assert len(world.queue.taken) == 1
    world.after(ASKED / 2)
    assert len(world.queue.taken) == 2
    world.noted()
    assert world.after(AGAIN) == VERSION


def test_an_outdated_note_is_ignored() -> None:
    world = World()
    world.noted(age=STALE + 1)
    assert world.after(0) == 1
    assert len(world.queue.taken) == 1
    world.noted()
    assert world.after(AGAIN) == VERSION
    # An older release replaced it and does not renew the entry.
    assert world.after(STALE) == 1
    assert len(world.queue.taken) == 2


def test_a_clock_that_is_behind_does_not_matter() -> None:
    world = World()
    world.noted(age=2 * STALE)
    assert world.after(0) == 1
    world.noted(age=2 * STALE)
    world.store.note["at"] += 5
    assert world.after(AGAIN) == VERSION


@pytest.mark.parametrize("note", [{}, {"highest": "2", "at": NOW}, {"highest": 0, "at": NOW}, 5])
def test_a_damaged_note_is_ignored(note: Any) -> None:
    world = World()
    world.store.note = note
    assert world.after(0) == 1


def test_known_versions_stay_while_the_store_is_unavailable() -> None:
    world = World()
    world.noted()
    assert world.after(0) == VERSION
    world.store.error = Unavailable("the store is down")
    assert world.after(RENEWED) == VERSION
    assert world.support.reads() == Reads(VERSION, problem="the store is down")


def test_a_caller_can_wait_for_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()

    def sleep(seconds: float) -> None:
        world.now += seconds

    monkeypatch.setattr(envelope_support.time, "sleep", sleep)
    with pytest.raises(Refused, match="the function of aws cannot read version 2"):
        world.support.require(2)
    world.noted()
    world.support.require(2)


def test_no_error_ends_the_thread_that_asks() -> None:
    world = World()
    world.noted()
    assert world.after(0) == VERSION

    def broken(kind: str, key: str) -> Any:
        raise TypeError("a fault of a library")

    world.store.get = broken  # type: ignore[method-assign]
    assert world.after(RENEWED) == VERSION


def test_a_store_that_may_not_be_read_is_no_old_function() -> None:
    world = World()
    world.store.error = Refused("a permission is missing", remedy="have it granted")
    with pytest.raises(Refused, match=r"control store of aws .*: a permission is missing; have"):
        world.support.require(2)
    assert "deploy" not in world.support.reads().why_not(2, "aws")
    assert world.queue.taken == []
    world.store.error = None
    world.noted()
    assert world.after(AWAY) == VERSION
    assert world.support.reads() == Reads(VERSION)


def test_a_store_that_hangs_delays_no_sender() -> None:
    world = World()
    started: list[object] = []
    world.support._start = started.append
    assert world.support.reads() == Reads(1, is_asked=False)
    world.now += AWAY
    silent = world.support.reads()
    assert (silent.highest, silent.is_asked, silent.is_refused) == (1, True, False)
    assert "has not answered for 10 s" in silent.why_not(2, "aws")
    world.now += 10 * AWAY
    world.support.reads()
    assert len(started) == 1  # only one call runs at a time
