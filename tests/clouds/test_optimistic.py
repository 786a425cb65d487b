"""Optimistic writes to a store that other writers change."""

from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from mcloud.clouds.optimistic import ATTEMPTS, Read, read_record, update
from mcloud.errors import Contention, DamagedData, Refused
from mcloud.market.candle import Candle, Folded, fold
from mcloud.market.trade import Trade

START = 1_723_161_240_000


def trade(id_: int, price: str = "100") -> Trade:
    return Trade("BTCUSDT", id_, Decimal(price), Decimal(1), START + id_, True)


class Store:
    """A candle and its version. ``others`` are folded in between a read and its write."""

    def __init__(self, *others: Trade) -> None:
        self.candle = Candle("BTCUSDT", START)
        self.version = 0
        self.others = list(others)
        self.writes = 0

    def read(self) -> Read[int]:
        found = Read(self.candle, self.version)
        if self.others:
            self.candle = fold(self.candle, [self.others.pop(0)]).candle
            self.version += 1
        return found

    def write(self, candle: Candle, version: int) -> bool:
        self.writes += 1
        if version != self.version:
            return False
        self.candle, self.version = candle, version + 1
        return True


def add(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)


def test_tries_again_from_what_the_others_wrote() -> None:
    store = Store(trade(1), trade(2), trade(3))
    pauses: list[float] = []
    folded = update(
        store.read,
        store.write,
        partial(add, [trade(4)]),
        sleep=pauses.append,
        jitter=lambda low, high: high,
    )
    assert folded.candle == store.candle
    assert folded.candle.runs == [(1, 4)]
    assert pauses == [0.01, 0.02, 0.04]


def test_gives_up_in_the_end_and_names_the_candle() -> None:
    store = Store(*(trade(id_) for id_ in range(1, ATTEMPTS + 1)))
    pauses: list[float] = []
    with pytest.raises(Contention, match=r"BTCUSDT 2024-08-08T23:54:00Z .* 25 attempts"):
        update(
            store.read,
            store.write,
            partial(add, [trade(99)]),
            sleep=pauses.append,
            jitter=lambda low, high: high,
        )
    assert store.writes == ATTEMPTS
    assert max(pauses) == 1.0
    assert store.candle.runs == [(1, ATTEMPTS)]  # the data of the other writers is unchanged


def test_pauses_between_nothing_and_the_bound() -> None:
    """Without full jitter, several writers would collide repeatedly."""
    asked: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    store = Store(trade(1))
    update(
        store.read,
        store.write,
        partial(add, [trade(2)]),
        sleep=lambda seconds: None,
        jitter=jitter,
    )
    assert asked == [(0, 0.01)]


def test_writes_nothing_where_nothing_changes() -> None:
    store = Store()
    store.candle = fold(store.candle, [trade(1), trade(2)]).candle
    before = store.candle
    folded = update(store.read, store.write, partial(add, [trade(2)]))
    assert (store.writes, store.version, store.candle) == (0, 0, before)
    assert folded == Folded(before, ())


def test_reports_what_disagrees_with_what_is_stored() -> None:
    store = Store()
    store.candle = fold(store.candle, [trade(1)]).candle
    folded = update(store.read, store.write, partial(add, [trade(1, "101")]))
    assert [each.first_id for each in folded.disagreements] == [1]
    assert store.writes == 0


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
