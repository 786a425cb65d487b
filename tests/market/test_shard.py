"""Shards share out all symbols, each of them once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.market.shard import WHOLE, Shard


@given(st.text(min_size=1), st.integers(1, 9))
def test_each_symbol_belongs_to_exactly_one_shard(symbol: str, of: int) -> None:
    shards = [Shard.parse(f"{number}/{of}") for number in range(1, of + 1)]
    assert sum(shard.has(symbol) for shard in shards) == 1
    assert [str(shard) for shard in shards] == [f"{number}/{of}" for number in range(1, of + 1)]
    assert WHOLE.has(symbol)


def test_a_symbol_stays_in_its_shard() -> None:
    """The hash must never change: a running producer would lose symbols to nobody."""
    symbols = ("BTCUSDT", "ETHUSDT", "BTCUSDT.um", "币安人生USDT")
    found = [next(n for n in range(4) if Shard(n, 4).has(symbol)) for symbol in symbols]
    assert found == [3, 0, 2, 0]


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "two", "²/4", "1/2/3", "-1/4"])
def test_an_invalid_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid shard"):
        Shard.parse(text)
