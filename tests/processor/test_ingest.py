"""Storing trades in limited time in stores that fail: the report matches what happened."""

from collections.abc import Callable
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.errors import Contention, Refused, Unavailable
from mcloud.market.archive import ArchiveObject, unpack
from mcloud.market.candle import Candle, Folded, by_minute, fold
from mcloud.market.trade import Trade
from mcloud.processor.ingest import Key, ingest, ingest_while

MINUTE = 60_000  # ms


class Stores:
    """An archive and a candle store in memory, whose calls fail at random."""

    def __init__(self, random: Random, rate: float, errors: list[Exception]) -> None:
        self._random, self._rate, self._errors = random, rate, errors
        self.candles: dict[Key, Candle] = {}
        self.archived: set[Trade] = set()

    def put(self, item: ArchiveObject) -> bool:
        self._fail()
        self.archived |= set(unpack(item.body))
        return True

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        self._fail()
        key = symbol, start
        folded = change(self.candles.get(key, Candle(symbol, start)))
        self.candles[key] = folded.candle
        return folded

    def _fail(self) -> None:
        if self._random.random() < self._rate:
            raise self._random.choice(self._errors)


def exact(trades: list[Trade]) -> dict[Key, Candle]:
    return {key: fold(Candle(*key), group).candle for key, group in by_minute(trades).items()}


trades = st.lists(
    st.builds(
        Trade,
        st.sampled_from(["BTCUSDT", "THINUSDT"]),
        st.integers(0, 500),
        st.just(Decimal(7)),
        st.just(Decimal(2)),
        st.integers(0, 300).map(lambda minute: minute * MINUTE),
        st.booleans(),
    ),
    unique_by=lambda trade: (trade.symbol, trade.id),
    max_size=300,
)
ERRORS = [Unavailable("away"), Refused("no"), Contention("busy"), ArithmeticError("too much")]


@given(trades, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.02, 0.5]), st.data())
def test_the_report_matches_the_stores(
    made: list[Trade], random: Random, rate: float, data: st.DataObject
) -> None:
    stores = Stores(random, rate, ERRORS)
    looks = data.draw(st.integers(0, 60) | st.just(10**6))  # after which the time is over

    def is_time_left() -> bool:
        nonlocal looks
        looks -= 1
        return looks >= 0

    partly = ingest_while(is_time_left, made, stores, stores)  # type: ignore[arg-type]
    outcomes = partly.done, partly.failed.keys(), partly.left
    assert sorted(key for outcome in outcomes for key in outcome) == sorted(by_minute(made))
    assert stores.candles == {key: exact(made)[key] for key in partly.done}
    assert {t for key in partly.done for t in by_minute(made)[key]} <= stores.archived
    assert (partly.problem is None) or partly.left


@given(trades, st.randoms(use_true_random=False))
def test_attempt_after_attempt_everything_is_stored(made: list[Trade], random: Random) -> None:
    """The next attempts only need the trades that an attempt reports as left."""
    stores = Stores(random, 0.2, [Unavailable("away")])
    rest = made
    while rest:
        partly = ingest_while(lambda: True, rest, stores, stores)  # type: ignore[arg-type]
        rest = [
            each for key, group in by_minute(rest).items() if key in partly.left for each in group
        ]
    assert stores.candles == exact(made)
    assert stores.archived == set(made)


@pytest.mark.parametrize("error", ERRORS)
def test_all_or_nothing_raises_the_error(error: Exception) -> None:
    stores = Stores(Random(1), 1.0, [error])
    made = [Trade("BTCUSDT", 1, Decimal(1), Decimal(1), 0, True)]
    with pytest.raises(type(error)):
        ingest(made, stores, stores)  # type: ignore[arg-type]


def test_without_an_archive_only_the_candles_are_written() -> None:
    stores = Stores(Random(1), 0.0, ERRORS)
    made = [Trade("BTCUSDT", id_, Decimal(1), Decimal(1), 0, True) for id_ in range(9)]
    done = ingest(made, None, stores)  # type: ignore[arg-type]
    assert done.archived is None
    assert stores.candles == exact(made)
    assert stores.archived == set()


def test_a_fault_of_the_program_is_no_fault_of_the_store() -> None:
    stores = Stores(Random(1), 1.0, [KeyError("a bug")])
    made = [Trade("BTCUSDT", 1, Decimal(1), Decimal(1), 0, True)]
    with pytest.raises(KeyError):
        ingest_while(lambda: True, made, stores, stores)  # type: ignore[arg-type]
