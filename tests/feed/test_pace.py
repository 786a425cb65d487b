"""Playing a feed at a given speed, with a clock that only advances when something sleeps."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcloud.errors import UsageError
from mcloud.feed.pace import pace, parse_speed
from mcloud.market.trade import Trade


class Clock:
    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def at(*times: int) -> list[Trade]:
    start = 1_723_161_255_342
    one = Decimal(1)
    return [Trade("BTCUSDT", n, one, one, start + time, True) for n, time in enumerate(times)]


@pytest.mark.parametrize(
    ("text", "speed"),
    [("max", None), ("realtime", 1.0), ("10x", 10.0), ("0.5x", 0.5), ("1.25x", 1.25)],
)
def test_valid_speeds_are_parsed(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0x", "0.0x", "-1x", "1.x", "10", "fast", "1e9x", "nanx", "infx"),
        *("1_0x", " 1x", "1x\n", "٣x", "9" * 400 + "x"),
    ],
)
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid speed") as raised:
        parse_speed(text)
    assert "realtime" in raised.value.remedy


@pytest.mark.parametrize(("speed", "scale"), [(1.0, 1.0), (10.0, 0.1), (0.5, 2.0)])
def test_each_trade_comes_at_its_own_time(speed: float, scale: float) -> None:
    clock = Clock()
    trades = at(0, 0, 100, 2500, 60_000)
    seen = []
    for trade in pace(trades, speed, clock=clock, sleep=clock.sleep):
        seen.append((trade, clock.now - 500))
    assert [trade for trade, _ in seen] == trades
    assert [when for _, when in seen] == pytest.approx([t * scale for t in (0, 0, 0.1, 2.5, 60)])


def test_at_full_speed_no_trade_waits() -> None:
    clock = Clock()
    trades = at(0, 100_000)
    assert list(pace(trades, None, clock=clock, sleep=clock.sleep)) == trades
    assert clock.now == 500


def test_a_reader_that_fell_behind_catches_up() -> None:
    clock = Clock()
    paced = pace(at(0, 1000, 2000, 10_000), 1.0, clock=clock, sleep=clock.sleep)
    next(paced)
    clock.now += 5
    next(paced)
    next(paced)
    assert clock.now == 505
    next(paced)
    assert clock.now == 510


@given(st.lists(st.integers(0, 10**9)), st.floats(0.001, 1000))
def test_never_earlier_than_due_and_nothing_lost(times: list[int], speed: float) -> None:
    clock = Clock()
    trades = at(*times)
    given_out = []
    for trade in pace(trades, speed, clock=clock, sleep=clock.sleep):
        due = (trade.time - trades[0].time) / 1000 / speed
        assert clock.now - 500 >= due * (1 - 1e-9) - 1e-6
        given_out.append(trade)
    assert given_out == trades
