"""The candles of two sites, read side by side."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from queue import Full, Queue
from typing import TypeVar

from mcloud.clouds.ports import Candles
from mcloud.errors import Unavailable
from mcloud.market.candle import MINUTE, Candle
from mcloud.market.trade import MAX_TIME

BLOCK = 500  # candles handed over at once
AHEAD = 4  # blocks
LOOK = 0.5  # seconds between two looks whether anybody still wants them

Item = TypeVar("Item")


def beside(
    source: Candles, target: Candles, symbol: str, start: int
) -> Iterator[tuple[Candle, Candle | None]]:
    """The source's candles from ``start`` (ms) on, each with the target's, or None.

    Both are read ahead, while the caller works on what came before.
    """
    others = ahead(_resuming(target, symbol, start))
    other = next(others, None)
    for candle in ahead(_resuming(source, symbol, start)):
        while other is not None and other.start < candle.start:
            other = next(others, None)
        yield candle, other if other is not None and other.start == candle.start else None


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, read by a thread of its own; it ends when the caller closes this."""
    blocks: Queue[list[Item] | BaseException] = Queue(AHEAD)
    is_closed = threading.Event()

    def put(block: list[Item] | BaseException) -> None:
        while not is_closed.is_set():
            with suppress(Full):
                blocks.put(block, timeout=LOOK)
                break

    def read() -> None:
        try:
            while block := list(islice(items, BLOCK)):
                put(block)
                if is_closed.is_set():
                    return
            put([])
        except BaseException as error:  # noqa: BLE001 - raised where the items are wanted
            put(error)

    threading.Thread(target=read, name="read-ahead", daemon=True).start()
    try:
        while block := blocks.get():
            if isinstance(block, BaseException):
                raise block
            yield from block
    finally:
        is_closed.set()


def _resuming(candles: Candles, symbol: str, start: int) -> Iterator[Candle]:
    """All candles from ``start`` on; a reading that is cut, as long ones are, is taken up again."""
    while True:
        begin = start
        try:
            for candle in candles.range(symbol, begin, MAX_TIME):
                start = candle.start + MINUTE
                yield candle
        except Unavailable:
            if start == begin:
                raise
        else:
            return
