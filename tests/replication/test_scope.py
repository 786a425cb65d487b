"""The scope of a replication, and the states that sites are known to hold."""

import pytest
from producer.sources import START, trades

from mcloud.errors import UsageError
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.replication.known_states import KnownStates, states
from mcloud.replication.scope import Scope

SYMBOLS = [f"S{number}USDT" for number in range(60)]
CANDLE = Candle("BTCUSDT", START // MINUTE * MINUTE)


def test_each_symbol_belongs_to_one_shard() -> None:
    shards = [Scope.parse("candles,raw", None, f"{number}/3") for number in (1, 2, 3)]
    for symbol in SYMBOLS:
        assert sum(shard.has(symbol) for shard in shards) == 1
    assert [shard.part for shard in shards] == ["1/3", "2/3", "3/3"]
    assert len({str(shard) for shard in shards}) == 3


def test_symbols_are_read_in_any_writing() -> None:
    scope = Scope.parse("raw", "btcusdt, ETHUSDT", None)
    assert (scope.raw, scope.candles, scope.part) == (True, False, "all")
    assert [name for name in ("BTCUSDT", "ETHUSDT", "ADAUSDT") if scope.has(name)] == [
        "BTCUSDT",
        "ETHUSDT",
    ]


@pytest.mark.parametrize(
    ("what", "symbols", "shard"),
    [("", None, None), ("candle", None, None), ("raw", ",", None), ("raw", None, "0/2")],
)
def test_invalid_options_are_refused(what: str, symbols: str | None, shard: str | None) -> None:
    with pytest.raises(UsageError):
        Scope.parse(what, symbols, shard)


def test_a_state_is_known_until_the_candle_changes() -> None:
    known = KnownStates()
    some = fold(CANDLE, trades(range(3))).candle
    more = fold(some, trades(range(3, 5))).candle
    known.add(states([some]))
    assert not known.lacking(states([some]))
    assert list(known.lacking(states([more]))) == [("BTCUSDT", CANDLE.start)]
    known.forget()
    assert known.lacking(states([some]))


def test_the_memory_of_known_states_is_bounded() -> None:
    known = KnownStates(limit=10)
    for number in range(100):
        known.add({("BTCUSDT", number): b"state"})
    held = [number for number in range(100) if not known.lacking({("BTCUSDT", number): b"state"})]
    assert held == list(range(held[0], 100))
    assert 10 <= len(held) <= 22
