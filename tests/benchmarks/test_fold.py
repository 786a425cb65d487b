"""Folding compared with the minimum for exact folding: a Decimal loop over the same rows."""

import time
from collections.abc import Callable

import pytest

from mcloud.feed.simulate import Simulate
from mcloud.market.candle import Candle, by_minute, fold
from mcloud.market.trade import Trade

BASH_VERSION = 170  # trades/s; the Lambda processor that mcloud replaces, measured

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("batch", [500, 1000])
def test_fold(batch: int) -> None:
    trades = list(Simulate(["BTCUSDT"], seed=1, start_time=1_735_775_880_000, count=20_000))
    bare = best(lambda: bare_loop(trades))
    ours = best(lambda: folded(trades, batch))
    ratio = bare / ours
    rate = len(trades) / ours
    print(
        f"\nfold, {batch} trades a message: {ratio:.2f} of a bare Decimal loop, "
        f"{rate / BASH_VERSION:,.0f} times the bash version's {BASH_VERSION} trades/s"
    )
    assert ratio >= 0.6
    assert rate >= 300 * BASH_VERSION


def bare_loop(trades: list[Trade]) -> dict[int, list]:
    candles: dict[int, list] = {}
    for _, id_, price, quantity, time_, _ in trades:
        candle = candles.get(time_ // 60_000)
        if candle is None:
            candles[time_ // 60_000] = [
                *(price, price, price, price),
                *(quantity, price * quantity, 1, id_, id_),
            ]
            continue
        if price > candle[1]:
            candle[1] = price
        if price < candle[2]:
            candle[2] = price
        candle[3] = price
        candle[4] += quantity
        candle[5] += price * quantity
        candle[6] += 1
        candle[8] = id_
    return candles


def folded(trades: list[Trade], batch: int) -> dict[tuple[str, int], Candle]:
    candles: dict[tuple[str, int], Candle] = {}
    for begin in range(0, len(trades), batch):
        for key, group in by_minute(trades[begin : begin + batch]).items():
            candles[key] = fold(candles.get(key) or Candle(*key), group).candle
    return candles


def best(run: Callable[[], object], rounds: int = 7) -> float:
    """Return the seconds of the fastest round, since the others were disturbed."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)
