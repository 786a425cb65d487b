"""Holes between and in the newest candles, except in a candle that is still filling."""

import time
from decimal import Decimal

import pytest

from mcloud.clouds.ports import Heartbeat
from mcloud.market.candle import MINUTE, Candle, fold
from mcloud.market.trade import Trade
from mcloud.observing.recent import DAY, SYMBOLS, holes, recent
from observing.sites import FakeSite

START = 1_723_161_240_000


def candle(minute: int, *ids: int) -> Candle:
    start = START + minute * MINUTE
    return fold(
        Candle("BTCUSDT", start),
        [Trade("BTCUSDT", id_, Decimal(1), Decimal(1), start, True) for id_ in ids],
    ).candle


def beat(symbol: str = "BTCUSDT", at: float = 0.0, minute: int = 3) -> Heartbeat:
    return Heartbeat(symbol, START + minute * MINUTE + 7, 1, 1, at)


@pytest.mark.parametrize(
    ("candles", "missing"),
    [
        ([], []),
        ([candle(0, 1, 2, 3), candle(1, 4, 5)], []),
        ([candle(0, 1, 2), candle(1, 4)], [(3, 3)]),
        ([candle(0, 1, 5), candle(2, 9)], [(2, 4), (6, 8)]),
    ],
)
def test_missing_ids_between_candles_are_holes(
    candles: list[Candle], missing: list[tuple[int, int]]
) -> None:
    assert holes(candles) == missing


def test_the_last_minutes_and_newer_candles_are_checked() -> None:
    fake = FakeSite(range=[candle(0, 1), candle(3, 2)])
    (seen,) = recent(fake, [beat()])  # type: ignore[arg-type]
    assert fake.ranges == [("BTCUSDT", START)]
    assert DAY == 24 * 60 * MINUTE
    assert (seen.last, seen.holes, seen.missing) == (candle(3, 2), [], 0)


def test_the_newest_candle_counts_when_no_trades_arrive() -> None:
    fake = FakeSite(range=[candle(0, 1), candle(1, 3, 6)])
    (old,) = recent(fake, [beat(at=time.time() - 3600)])  # type: ignore[arg-type]
    assert (old.holes, old.missing) == ([(2, 2), (4, 5)], 3)
    (fresh,) = recent(fake, [beat(at=time.time() + 30)])  # type: ignore[arg-type]
    assert fresh.holes == []
    # With a clock that is wrong by an hour, it is unknown whether trades are still to come.
    (ahead,) = recent(fake, [beat(at=time.time() + 3600)])  # type: ignore[arg-type]
    assert ahead.missing == 3


def test_without_recent_candles_the_last_one_is_read() -> None:
    fake = FakeSite(range=[], last=candle(0, 1))
    (seen,) = recent(fake, [beat()])  # type: ignore[arg-type]
    assert (seen.last, seen.holes) == (candle(0, 1), [])


def test_only_the_symbols_that_traded_last_are_read() -> None:
    beats = [beat(f"S{number:02}USDT", minute=100 - number) for number in range(SYMBOLS + 5)]
    seen = recent(FakeSite(), beats)  # type: ignore[arg-type]
    assert [each.symbol for each in seen] == [f"S{number:02}USDT" for number in range(SYMBOLS)]
