"""Read the candles of two sites in parallel, minute by minute."""

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
AHEAD = 4  # blocks that are read ahead
LOOK = 0.5  # seconds between two checks whether the candles are still wanted

Item = TypeVar("Item")
CandlePairs = Iterator[tuple[Candle, Candle | None]]


def beside(
    source: Site,
    target: Site,
    symbol: str,
    start: int,
    damaged: Callable[[str, int, str], None],
) -> CandlePairs:
    """Yield the source's candles from ``start`` (in ms) on, each with the target's candle or None.

    Both sites are read ahead from now on, while the caller works on earlier candles. A candle that
    cannot be read is left out, and ``damaged`` is called with the site, the minute and the reason.
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
    """Return an iterator over the same items, which a thread reads ahead from now on.

    The thread ends after the last item, or when the iterator is no longer referenced.
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
        # A generator runs its ``finally`` only if it has started, so the caller starts it here.
        yield None  # type: ignore[misc]
        while block := blocks.get():
            if isinstance(block, BaseException):
                raise block
            yield from block
    finally:
        is_closed.set()
