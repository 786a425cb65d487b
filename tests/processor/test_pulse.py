"""The heartbeat accumulates counts and is written at intervals."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

import pytest

from mcloud.clouds.ports import Control, Heartbeat
from mcloud.errors import Unavailable
from mcloud.market.envelope import VERSION
from mcloud.market.trade import CANARY, Trade
from mcloud.processor.envelope_support import ENVELOPES, SUPPORT, EnvelopeSupport
from mcloud.processor.pulse import ANNOUNCEMENT, Pulse


class Store:
    """The part of a Control that Pulse needs. It records each write, and fails on request."""

    def __init__(self) -> None:
        self.down = False
        self.damaged: set[str] = set()
        self.writes: list[list[Heartbeat]] = []
        self.kept: list[tuple[str, str, Mapping[str, Any]]] = []

    def beat(self, beats: Iterable[Heartbeat]) -> list[Heartbeat]:
        if self.down:
            raise Unavailable("the store is down")
        given = list(beats)
        self.writes.append([beat for beat in given if beat.symbol not in self.damaged])
        return [beat for beat in given if beat.symbol in self.damaged]

    def keep(self, kind: str, key: str, document: Mapping[str, Any]) -> None:
        if self.down:
            raise Unavailable("the store is down")
        self.kept.append((kind, key, document))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def trades(symbol: str, *times: int) -> list[Trade]:
    return [
        Trade(symbol, id_, Decimal(1), Decimal(1), time, True) for id_, time in enumerate(times)
    ]


def test_the_first_heartbeat_is_written_at_once_and_later_ones_when_due(
    store: Store, clock: Clock
) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    pulse.add(trades("BTCUSDT", 5, 9, 7))
    assert store.writes == [[Heartbeat("BTCUSDT", 9, 3, 1, 1_000_000)]]
    clock.now += 9.9
    pulse.add(trades("BTCUSDT", 8))
    pulse.add(trades("BADUSDT", 20))  # in the same document
    assert len(store.writes) == 1
    clock.now += 0.1
    pulse.add(trades("BTCUSDT", 6, 7))
    # The counts since the last write, and the newest time of all messages.
    assert store.writes[1:] == [
        [
            Heartbeat("BTCUSDT", 8, 3, 2, 1_000_010),
            Heartbeat("BADUSDT", 20, 1, 1, 1_000_009.9),
        ]
    ]
    clock.now += 10
    pulse.add(trades("BTCUSDT", 30))
    assert store.writes[2:] == [[Heartbeat("BTCUSDT", 30, 1, 1, 1_000_020)]]


def test_an_interval_of_zero_writes_every_time(store: Store, clock: Clock) -> None:
    pulse = Pulse(cast(Control, store), interval=0, clock=clock)
    for _ in range(3):
        pulse.add(trades("BTCUSDT", 1))
    assert [beat.messages for (beat,) in store.writes] == [1, 1, 1]


def test_a_failed_write_loses_no_counts_and_is_retried_after_an_interval(
    store: Store, clock: Clock
) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    store.down = True
    with pytest.raises(Unavailable):
        pulse.add(trades("BTCUSDT", 3))
    # It is not read again for every message, since that would delay all of them.
    pulse.add(trades("BTCUSDT", 1))
    store.down = False
    assert store.writes == []
    clock.now += 10
    pulse.add(trades("BTCUSDT", 2))
    assert store.writes == [[Heartbeat("BTCUSDT", 3, 3, 3, 1_000_010)]]


def test_the_function_records_its_versions_periodically(store: Store, clock: Clock) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    store.down = True
    with pytest.raises(Unavailable):
        pulse.add(trades(CANARY, 0))
    store.down = False
    pulse.add(trades(CANARY, 0))
    assert store.kept == []  # an unavailable store is not called for a while
    clock.now += 10
    pulse.add(trades(CANARY, 0))
    pulse.add(trades("BTCUSDT", 5))
    note = {"highest": VERSION, "at": 1_000_010.0}
    assert store.kept == [("function", "envelopes", note)]
    assert SUPPORT.decode(ENVELOPES, note) == EnvelopeSupport(VERSION, 1_000_010.0)
    clock.now += ANNOUNCEMENT
    pulse.add(trades("BTCUSDT", 5))
    assert len(store.kept) == 2


def test_one_message_of_several_symbols(store: Store, clock: Clock) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    pulse.add([*trades("BTCUSDT", 5, 9), *trades("ETHUSDT.um", 7)])
    # They are in different documents.
    assert store.writes == [
        [Heartbeat("BTCUSDT", 9, 2, 1, clock.now)],
        [Heartbeat("ETHUSDT.um", 7, 1, 1, clock.now)],
    ]


def test_a_document_that_fails_does_not_count_the_others_twice(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    beat = store.beat

    def fail_late(beats: list[Heartbeat]) -> list[Heartbeat]:
        if beats[0].symbol == "BTCUSDT":
            raise Unavailable("the store is down")
        return beat(beats)

    with monkeypatch.context() as patch:
        patch.setattr(store, "beat", fail_late)
        with pytest.raises(Unavailable):
            pulse.add([*trades("ETHUSDT", 7), *trades("BTCUSDT", 5, 9)])
    clock.now += 10
    pulse.add(trades("BTCUSDT", 8))
    assert store.writes == [
        [Heartbeat("ETHUSDT", 7, 1, 1, 1_000_000)],
        [Heartbeat("BTCUSDT", 9, 3, 2, 1_000_010)],
    ]


def test_a_damaged_heartbeat_keeps_its_counts_until_it_is_repaired(
    store: Store, clock: Clock
) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    store.damaged = {"BTCUSDT"}
    pulse.add([*trades("BADUSDT", 5), *trades("BTCUSDT", 7)])
    assert store.writes == [[Heartbeat("BADUSDT", 5, 1, 1, 1_000_000)]]
    store.damaged = set()
    clock.now += 10
    pulse.add(trades("BTCUSDT", 8))
    assert store.writes[1:] == [[Heartbeat("BTCUSDT", 8, 2, 2, 1_000_010)]]


def test_heartbeats_are_postponed_if_there_is_no_time(store: Store, clock: Clock) -> None:
    pulse = Pulse(cast(Control, store), interval=10, clock=clock)
    pulse.add(trades("BTCUSDT", 1), lambda: False)
    assert (store.writes, store.kept) == ([], [])
    time_for = iter([True, True])
    pulse.add(trades("ETHUSDT", 2), lambda: next(time_for, False))
    # They are in different documents.
    assert store.writes == [[Heartbeat("BTCUSDT", 1, 1, 1, 1_000_000)]]
    clock.now += 10
    pulse.add(trades("ETHUSDT", 3))
    assert store.writes[1:] == [[Heartbeat("ETHUSDT", 3, 2, 2, 1_000_010)]]
    assert len(store.kept) == 1
