"""Optimistic writes to a store that other writers change."""

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.clouds.optimistic import ATTEMPTS, CandleMemory, Read, read_record
from mcloud.clouds.optimistic import update as update_candle
from mcloud.errors import Contention, DamagedData, Refused
from mcloud.market.candle import MINUTE, Candle, Folded, fold
from mcloud.market.trade import Trade

START = 1_723_161_240_000


def trade(id_: int, price: str = "100") -> Trade:
    return Trade("BTCUSDT", id_, Decimal(price), Decimal(1), START + id_, True)


class Store:
    """A candle and its version. ``others`` are folded in between a read and its write."""

    def __init__(self, *others: Trade) -> None:
        self.candle = Candle("BTCUSDT", START)
        self.version: int | None = None  # of a record; no other record ever has the same
        self.others = list(others)
        self.reads = self.writes = 0

    def read(self) -> Read[int]:
        self.reads += 1
        found = Read(self.candle, self.version)
        if self.others:
            self.candle = fold(self.candle, [self.others.pop(0)]).candle
            self.version = -len(self.others) - 1
        return found

    def write(self, candle: Candle, version: int | None) -> int | None:
        self.writes += 1
        if version != self.version:
            return None
        self.candle, self.version = candle, self.writes
        return self.version


def update(
    store: Store,
    change: Callable[[Candle], Folded],
    memory: CandleMemory[int] | None = None,
    **pauses: Any,
) -> Folded:
    return update_candle(
        "BTCUSDT", START, store.read, store.write, change, memory or CandleMemory(), **pauses
    )


def add(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)


def test_a_retry_starts_from_the_concurrent_write() -> None:
    store = Store(trade(1), trade(2), trade(3))
    pauses: list[float] = []
    folded = update(
        store,
        partial(add, [trade(4)]),
        sleep=pauses.append,
        jitter=lambda low, high: high,
    )
    assert folded.candle == store.candle
    assert folded.candle.runs == [(1, 4)]
    assert pauses == [0.01, 0.02, 0.04]


def test_an_update_that_always_conflicts_fails_and_names_the_candle() -> None:
    store = Store(*(trade(id_) for id_ in range(1, ATTEMPTS + 1)))
    pauses: list[float] = []
    with pytest.raises(Contention, match=r"BTCUSDT 2024-08-08T23:54:00Z .* 25 attempts"):
        update(
            store,
            partial(add, [trade(99)]),
            sleep=pauses.append,
            jitter=lambda low, high: high,
        )
    assert store.writes == ATTEMPTS
    assert max(pauses) == 1.0
    assert store.candle.runs == [(1, ATTEMPTS)]  # the data of the other writers is unchanged


def test_pauses_are_random_from_zero_to_the_bound() -> None:
    """Without full jitter, several writers would collide repeatedly."""
    asked: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    store = Store(trade(1))
    update(
        store,
        partial(add, [trade(2)]),
        sleep=lambda seconds: None,
        jitter=jitter,
    )
    assert asked == [(0, 0.01)]


def test_nothing_is_written_without_a_change() -> None:
    store = Store()
    store.candle = fold(store.candle, [trade(1), trade(2)]).candle
    before = store.candle
    folded = update(store, partial(add, [trade(2)]))
    assert (store.writes, store.version, store.candle) == (0, None, before)
    assert folded == Folded(before, ())


def test_disagreements_with_the_stored_candle_are_reported() -> None:
    store = Store()
    store.candle = fold(store.candle, [trade(1)]).candle
    folded = update(store, partial(add, [trade(1, "101")]))
    assert [each.first_id for each in folded.disagreements] == [1]
    assert store.writes == 0


def test_a_lone_writer_reads_once() -> None:
    store, memory = Store(), CandleMemory[int]()
    for id_ in range(1, 20):
        update(store, partial(add, [trade(id_)]), memory)
    assert store.candle.runs == [(1, 19)]
    assert (store.reads, store.writes) == (1, 19)


def test_a_repeat_is_checked_against_the_store() -> None:
    """Another process may have deleted what this one wrote."""
    store, memory = Store(), CandleMemory[int]()
    update(store, partial(add, [trade(1)]), memory)
    store.candle, store.version = Candle("BTCUSDT", START), None
    update(store, partial(add, [trade(1)]), memory)
    assert store.candle.runs == [(1, 1)]


def test_a_wrong_guess_costs_a_write_and_the_next_update_reads_again() -> None:
    store, memory = Store(), CandleMemory[int]()
    update(store, partial(add, [trade(1)]), memory)
    update(store, partial(add, [trade(2)]))
    update(store, partial(add, [trade(3)]), memory)
    assert (store.reads, store.writes) == (3, 4)
    assert memory.guess("BTCUSDT", START) is None
    assert store.candle.runs == [(1, 3)]


def test_the_next_minute_is_expected_to_be_missing_after_one_that_was() -> None:
    memory = CandleMemory[int]()
    candle = fold(Candle("BTCUSDT", START), [trade(1)]).candle
    memory.keep(candle, 7, is_new=False)  # another process created this one
    assert memory.guess("BTCUSDT", START) == Read(candle, 7)
    assert memory.guess("BTCUSDT", START + MINUTE) is None
    memory.keep(candle, 8, is_new=True)
    assert memory.guess("BTCUSDT", START + MINUTE) == Read(Candle("BTCUSDT", START + MINUTE), None)
    assert memory.guess("BTCUSDT", START - MINUTE) is None
    assert memory.guess("ETHUSDT", START + MINUTE) is None
    memory.forget("BTCUSDT", START + MINUTE)
    assert memory.guess("BTCUSDT", START + 2 * MINUTE) is None


def test_a_memory_has_a_limit() -> None:
    memory = CandleMemory[int](size=3)
    for minute in range(5):
        memory.keep(Candle("BTCUSDT", START + minute * MINUTE), minute, is_new=False)
        memory.keep(Candle("BTCUSDT", START), 9, is_new=False)
    known = [memory.guess("BTCUSDT", START + minute * MINUTE) for minute in range(5)]
    assert [each and each.version for each in known] == [9, None, None, 3, 4]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.booleans()), max_size=60))
def test_writers_with_memories_lose_nothing(steps: list[tuple[int, int, bool]]) -> None:
    """Three writers and one that deletes the candle, after which every trade comes again."""
    store, memories = Store(), [CandleMemory[int]() for _ in range(3)]
    ids: set[int] = set()
    for writer, id_, is_deleted in steps:
        if is_deleted:
            store.candle, store.version = Candle("BTCUSDT", START), None
            ids.clear()
        update(store, partial(add, [trade(id_)]), memories[writer])
        ids.add(id_)
        assert store.candle == fold(Candle("BTCUSDT", START), [trade(n) for n in ids]).candle


def test_a_damaged_record_is_refused_by_name() -> None:
    record = fold(Candle("BTCUSDT", START), [trade(1)]).candle.to_record()
    assert read_record(record).runs == [(1, 1)]
    with pytest.raises(Refused, match="BTCUSDT 2024-08-08T23:54:00Z is damaged: high is 7"):
        read_record({**record, "high": "7"})
    with pytest.raises(Refused, match="damaged"):
        read_record({})


@pytest.mark.parametrize("field", ["symbol", "timestamp", "fragments", "high"])
@pytest.mark.parametrize("value", [None, 7, True, 1.5, b"7", ["7"], {"S": "7"}])
def test_a_field_of_another_type_is_damage(field: str, value: object) -> None:
    record: dict[str, Any] = fold(Candle("BTCUSDT", START), [trade(1)]).candle.to_record()
    with pytest.raises(DamagedData):
        read_record({**record, field: value})
