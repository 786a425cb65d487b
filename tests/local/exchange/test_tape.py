import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.local.exchange.tape import Tape
from mcloud.market.trade import Trade

from .clients import make_trades

TRADES = make_trades(60)
BLOCK = 4


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcloud.local.exchange.tape.BLOCK", BLOCK)


@given(
    played=st.lists(st.sampled_from(TRADES), max_size=120),
    first_id=st.integers(90, 170),
    limit=st.integers(1, 70),
)
def test_pages_are_those_of_the_sorted_trades_in_any_order_of_arrival(
    played: list[Trade], first_id: int, limit: int
) -> None:
    tape = Tape()
    for trade in played:
        tape.add(trade)
    expected = sorted(set(played), key=lambda trade: trade.id)
    assert tape.since("BTCUSDT", 0) == expected
    assert (
        tape.since("BTCUSDT", first_id, limit) == [t for t in expected if t.id >= first_id][:limit]
    )
    assert tape.newest("BTCUSDT", limit) == expected[-limit:]
    assert tape.count("BTCUSDT") == len(expected)


def test_symbols_are_kept_apart() -> None:
    tape = Tape()
    for trade in make_trades(10, "ETHUSDT") + make_trades(20):
        tape.add(trade)
    assert tape.symbols == ("ETHUSDT", "BTCUSDT")
    assert tape.since("ETHUSDT", 105) == make_trades(10, "ETHUSDT")[5:]


def test_an_unknown_symbol_has_no_trades() -> None:
    tape = Tape()
    assert tape.since("BTCUSDT", 0) == []
    assert tape.newest("BTCUSDT", 5) == []
    assert tape.count("BTCUSDT") == 0


def test_old_trades_are_kept_packed() -> None:
    tape = Tape()
    for trade in TRADES:
        tape.add(trade)
    roll = tape._rolls["BTCUSDT"]
    assert len(roll._tail) < 2 * BLOCK
    assert len(roll._blocks) == 60 // BLOCK - 1
