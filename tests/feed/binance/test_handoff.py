"""Nothing is lost between the threads, and the producer waits for a slow consumer."""

import asyncio
import threading
from decimal import Decimal

import pytest

from mcloud.feed.binance.handoff import Handoff
from mcloud.market.trade import Trade


def trades(first: int, count: int) -> list[Trade]:
    one = Decimal(1)
    return [Trade("BTCUSDT", first + n, one, one, 1, True) for n in range(count)]


def test_all_waiting_trades_are_returned_together_in_order() -> None:
    handoff = Handoff(100)
    handoff.put(trades(0, 3))
    handoff.put(trades(3, 2))
    assert handoff.waiting == 5
    assert handoff.take(0) == trades(0, 5)
    assert handoff.take(0) == []


def test_the_end_comes_after_the_last_trade() -> None:
    handoff = Handoff(100)
    handoff.put(trades(0, 1))
    handoff.close()
    assert handoff.take(10) == trades(0, 1)
    assert handoff.take(10) is None


def test_an_error_comes_after_the_last_trade() -> None:
    handoff = Handoff(100)
    handoff.put(trades(0, 1))
    handoff.close(OSError("broken"))
    assert handoff.take(10) == trades(0, 1)
    with pytest.raises(OSError, match="broken"):
        handoff.take(10)


def test_a_full_handoff_makes_the_producer_wait() -> None:
    handoff = Handoff(10)
    most = 0
    taken: list[Trade] = []

    async def produce() -> None:
        nonlocal most
        for number in range(200):
            handoff.put(trades(number * 5, 5))
            most = max(most, handoff.waiting)
            if handoff.full:
                await handoff.room()
        handoff.close()

    thread = threading.Thread(target=lambda: asyncio.run(produce()))
    thread.start()
    while (chunk := handoff.take(10)) is not None:
        taken += chunk
    thread.join()
    assert taken == trades(0, 1000)
    assert most <= 14


def test_the_time_that_it_was_full_is_counted() -> None:
    now = [0.0]

    async def fill() -> Handoff:
        handoff = Handoff(2, clock=lambda: now[0])
        handoff.put(trades(0, 2))
        return handoff

    handoff = asyncio.run(fill())
    now[0] = 4.0
    assert (handoff.full, handoff.full_seconds) == (True, 4.0)
    handoff.take(0)
    now[0] = 9.0
    assert (handoff.full, handoff.full_seconds) == (False, 4.0)
