"""The candles of two sites, read side by side."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from queue import Full, Queue
from typing import TypeVar

from mcloud.clouds.ports import Site
from mcloud.market.candle import Candle
from mcloud.replication.candle_streams import END, stream

BLOCK = 500  # candles handed over at once
AHEAD = 4  # blocks
LOOK = 0.5  # seconds between two looks whether anybody still wants them

Item = TypeVar("Item")
CandlePairs = Iterator[tuple[Candle, Candle | None]]


def beside(
    source: Site,
    target: Site,
    symbol: str,
    start: int,
    damaged: Callable[[str, int, str], None],
) -> CandlePairs:
    """The source's candles from ``start`` (ms) on, each with the target's, or None.

    From now on both are read ahead, while the caller works on what came before. Of a candle that
    cannot be read the site, the minute and the reason go to ``damaged``, and it is left out.
    """
    mine, others = (
        ahead(
            stream(
                site.candles,
                symbol,
                start,
                END,
                lambda minute, why, name=site.name: damaged(name, minute, why),  # type: ignore[misc]
            )
        )
        for site in (source, target)
    )
    return _side_by_side(mine, others)


def _side_by_side(mine: Iterator[Candle], others: Iterator[Candle]) -> CandlePairs:
    other = next(others, None)
    for candle in mine:
        while other is not None and other.start < candle.start:
            other = next(others, None)
        yield candle, other if other is not None and other.start == candle.start else None


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, read from now on by a thread of its own.

    It ends with the items, or when nobody has this iterator any more.
    """
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

    handed = _handed(blocks, is_closed)
    next(handed)
    threading.Thread(target=read, name="read-ahead", daemon=True).start()
    return handed


def _handed(
    blocks: "Queue[list[Item] | BaseException]", is_closed: threading.Event
) -> Iterator[Item]:
    try:
        # Nothing yet: only what has begun is told that it is not wanted any more.
        yield None  # type: ignore[misc]
        while block := blocks.get():
            if isinstance(block, BaseException):
                raise block
            yield from block
    finally:
        is_closed.set()
