"""Silence is compared with each symbol's own pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.feed.binance.stall import SHORTEST, UNKNOWN, USUAL_GAPS, Paces


def trading(gaps: dict[str, float], until: float) -> Paces:
    """Return paces of symbols that traded with their own gaps up to a time."""
    paces = Paces(gaps, 0.0)
    for symbol, gap in gaps.items():
        for number in range(int(until / gap) + 1):
            paces.seen(symbol, number, until - gap * (int(until / gap) - number))
    return paces


def test_a_busy_symbol_is_suspected_early_and_a_slow_one_late() -> None:
    paces = trading({"BUSY": 0.1, "SLOW": 5.0}, 100)
    assert paces.suspect(100 + SHORTEST) is None
    assert paces.suspect(101 + SHORTEST) == "BUSY"
    for second in range(100):
        paces.seen("BUSY", 5000 + second, 101 + second)
    assert paces.suspect(100 + 5 * USUAL_GAPS) is None
    paces.seen("BUSY", 9000, 201)
    assert paces.suspect(201) == "SLOW"


def test_the_symbol_silent_for_longest_relative_to_its_pace_is_first() -> None:
    paces = trading({"A": 1.0, "B": 0.1}, 100)
    assert paces.suspect(150) == "B"


def test_a_stall_is_a_trade_in_rest_that_is_missing_in_the_stream() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    assert not paces.is_stalled("BTCUSDT", 100)
    assert paces.is_stalled("BTCUSDT", 101)
    paces.seen("BTCUSDT", 101, 130)
    assert not paces.is_stalled("BTCUSDT", 101)


def test_an_older_trade_does_not_lower_the_highest_id() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    paces.seen("BTCUSDT", 7, 101)
    assert not paces.is_stalled("BTCUSDT", 100)


def test_a_symbol_without_trades_is_judged_by_rest_only() -> None:
    paces = Paces(["BTCUSDT"], 0.0)
    assert paces.suspect(UNKNOWN) is None
    assert paces.suspect(UNKNOWN + 1) == "BTCUSDT"
    assert not paces.is_stalled("BTCUSDT", 500)
    assert paces.is_stalled("BTCUSDT", 501)


def test_requests_for_a_quiet_market_become_less_frequent() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    now, waits = 100.0, []
    for _ in range(9):
        begun = now
        while paces.suspect(now) is None:
            now += 1
        waits.append(now - begun)
        paces.calm("BTCUSDT", now)
    assert waits == [pytest.approx(20 * 2**n, abs=1.1) for n in (0, 1, 2, 3, 4, 5, 6, 6, 6)]
    paces.seen("BTCUSDT", 101, now)
    assert paces.suspect(now + 1300) == "BTCUSDT"


def test_a_restart_explains_the_silence() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    paces.restart(["BTCUSDT"], 200)
    assert paces.suspect(219) is None
    assert paces.suspect(221) == "BTCUSDT"
    assert paces.age("BTCUSDT", 221) == 121


def test_a_stall_does_not_become_the_usual_pace() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    paces.seen("BTCUSDT", 200, 100_000)
    for second in range(100):
        paces.seen("BTCUSDT", 201 + second, 100_001 + second)
    assert paces.suspect(100_100 + 21) == "BTCUSDT"


@given(st.lists(st.floats(0.001, 9.9), min_size=1, max_size=60))
def test_ordinary_gaps_are_never_suspicious(gaps: list[float]) -> None:
    paces, now = Paces(["BTCUSDT"], 0.0), 0.0
    for number, gap in enumerate(gaps):
        now += gap
        assert paces.suspect(now) is None
        paces.seen("BTCUSDT", number, now)


def test_a_trade_lost_with_a_connection_counts_once_as_a_stall() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    assert paces.is_stalled("BTCUSDT", 105)
    assert not paces.is_stalled("BTCUSDT", 105)
    # Another trade does not come, so the stream has stalled again.
    assert paces.is_stalled("BTCUSDT", 106)


def test_a_symbol_without_due_trades_cannot_stall() -> None:
    paces = trading({"BTCUSDT": 1.0, "ETHUSDT": 1.0}, 100)
    paces.end(["BTCUSDT"])
    assert paces.suspect(1e6) == "ETHUSDT"
    paces.end(["ETHUSDT"])
    assert paces.suspect(1e6) is None
    assert not paces.is_stalled("BTCUSDT", 10**6)
    assert paces.age("BTCUSDT", 1e6) is None
    # A late trade, a late answer or a new connection do not cause a stall.
    paces.seen("BTCUSDT", 500, 1e6)
    paces.calm("BTCUSDT", 1e6)
    paces.restart(["BTCUSDT"], 1e6)
    assert paces.suspect(2e6) is None
    paces.begin(["BTCUSDT"], 2e6)
    assert paces.suspect(2e6 + 59) is None
    assert paces.suspect(2e6 + 61) == "BTCUSDT"


def test_a_stall_before_the_first_trade_is_found_soon_after_the_first_answer() -> None:
    paces = Paces(["BTCUSDT"], 0.0)
    now = UNKNOWN + 1
    assert not paces.is_stalled("BTCUSDT", 500)
    paces.calm("BTCUSDT", now)
    assert paces.suspect(now + SHORTEST - 1) is None
    now += SHORTEST + 1
    assert paces.suspect(now) == "BTCUSDT"
    assert paces.is_stalled("BTCUSDT", 900)
    assert paces.stalled() == ["BTCUSDT"]
    paces.restart(["BTCUSDT"], now)
    assert paces.stalled() == ["BTCUSDT"], "a new connection alone brings nothing"
    paces.seen("BTCUSDT", 901, now + 1)
    assert paces.stalled() == []


def test_a_market_without_newer_trades_is_not_stalled_any_more() -> None:
    paces = trading({"BTCUSDT": 1.0}, 100)
    assert paces.is_stalled("BTCUSDT", 105)
    assert not paces.is_stalled("BTCUSDT", 105)
    assert paces.stalled() == []
