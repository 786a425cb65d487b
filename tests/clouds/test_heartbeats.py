"""Heartbeats in a few documents that several instances of a function write."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds.heartbeats import DOCUMENTS, HeartbeatDocuments, by_document, read
from mcloud.clouds.optimistic import ATTEMPTS
from mcloud.clouds.ports import Heartbeat
from mcloud.errors import Contention

SYMBOLS = ("AAAUSDT", "ADAUSDT", "BADUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT")


class Store:
    """Documents with conditional writes. ``others`` act between a read and the next write."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.versions: dict[str, int] = {}
        self.reads = self.writes = self.refused = 0
        self.others: list[Callable[[], object]] = []
        self.lost: list[bool] = []
        """Whether each next write is made, but seems to have lost, as after a lost response that
        the client repeated."""

    def read(self, key: str) -> tuple[Any, int | None]:
        self.reads += 1
        return self.documents.get(key), self.versions.get(key)

    def write(self, key: str, document: Any, version: int | None) -> int | None:
        if self.others:
            self.others.pop()()
        if version != self.versions.get(key):
            self.refused += 1
            return None
        self.writes += 1
        self.documents[key], self.versions[key] = document, self.writes
        return None if self.lost and self.lost.pop() else self.writes

    def instance(self) -> HeartbeatDocuments[int]:
        return HeartbeatDocuments(self.read, self.write, sleep=lambda _: None)

    def trades(self) -> dict[str, int]:
        beats = read(self.documents, ())
        return {beat.symbol: beat.trades for beat in beats if isinstance(beat, Heartbeat)}


def beat(symbol: str, trades: int = 1) -> Heartbeat:
    return Heartbeat(symbol, 1, trades, 1, 1.0)


def test_the_only_writer_reads_no_more() -> None:
    store = Store()
    alone = store.instance()
    for _ in range(10):
        alone.add([beat("BTCUSDT")])
    # The second read shows that nobody else wrote in between.
    assert (store.reads, store.writes, store.refused) == (2, 10, 0)
    assert store.trades() == {"BTCUSDT": 10}


def test_two_writers_in_turn_read_each_time_and_lose_no_request() -> None:
    store = Store()
    two = [store.instance(), store.instance()]
    for _ in range(10):
        for each in two:
            each.add([beat("BTCUSDT")])
    assert (store.reads, store.writes, store.refused) == (20, 20, 0)
    assert store.trades() == {"BTCUSDT": 20}


def test_a_second_writer_costs_one_refused_request() -> None:
    store = Store()
    one, other = store.instance(), store.instance()
    for _ in range(5):
        one.add([beat("BTCUSDT")])
    other.add([beat("BTCUSDT")])
    for _ in range(5):
        one.add([beat("BTCUSDT")])
    assert (store.reads, store.refused) == (2 + 1 + 2, 1)
    assert store.trades() == {"BTCUSDT": 11}


def test_endless_contention_is_an_error_that_wrote_nothing() -> None:
    store = Store()

    def write(key: str, document: Any, version: int | None) -> None:
        store.refused += 1

    instance = HeartbeatDocuments[int](store.read, write, sleep=lambda _: None)
    with pytest.raises(Contention, match="heartbeats 4 of 4"):
        instance.add([beat("BTCUSDT")])
    assert (store.refused, store.trades()) == (ATTEMPTS, {})


@given(
    calls=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=4),
            st.integers(0, 9),
        ),
        max_size=20,
    ),
    interrupting=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.sampled_from(SYMBOLS), min_size=1)), max_size=10
    ),
    lost=st.lists(st.booleans(), max_size=20),
)
def test_instances_lose_and_double_no_count(
    calls: list[tuple[int, list[str], int]],
    interrupting: list[tuple[int, list[str]]],
    lost: list[bool],
) -> None:
    store = Store()
    instances = [store.instance() for _ in range(3)]
    expected: Counter[str] = Counter()

    def add(number: int, symbols: list[str], trades: int) -> None:
        expected.update({symbol: trades * symbols.count(symbol) for symbol in set(symbols)})
        assert instances[number].add([beat(symbol, trades) for symbol in symbols]) == []

    store.others = [lambda call=call: add(*call, 1) for call in interrupting]  # type: ignore[misc]
    for call in calls:
        add(*call)
    store.others = []
    assert store.trades() == dict(expected)
    # A response may be lost as well, as long as nobody else writes before the next read.
    store.lost = lost
    for number, symbols, trades in calls:
        add(number, symbols, trades)
    assert store.trades() == dict(expected)


@given(st.lists(st.sampled_from(SYMBOLS)))
def test_each_heartbeat_is_in_one_document(symbols: list[str]) -> None:
    groups = by_document(map(beat, symbols))
    assert len(groups) <= DOCUMENTS
    assert Counter(each.symbol for group in groups.values() for each in group) == Counter(symbols)


def test_a_document_of_thousands_of_symbols_stays_below_the_limit_of_dynamodb() -> None:
    store = Store()
    symbols = [f"LONGNAME{n}USDT.um" for n in range(10_000)]
    store.instance().add(
        Heartbeat(each, 1_723_161_255_342, 10**9, 10**6, 1.7e9) for each in symbols
    )
    assert max(len(json.dumps(each)) for each in store.documents.values()) < 300_000
    assert len(store.trades()) == len(symbols)
