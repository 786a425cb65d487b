"""From the thread that reads the sockets to the one that stores: a bounded, unbroken line."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable

from mcloud.market.trade import Trade

LIMIT = 20_000  # trades, about 10 MB
# To be woken for every message costs more than all that is then done with it.
NAP = 0.005  # seconds


class Handoff:
    """Takes lists of trades on an event loop and gives them out on another thread.

    Nothing is dropped: when it is full, the one who puts has to wait for room, and so leaves the
    socket unread; TCP then slows the sender down.
    """

    def __init__(self, limit: int = LIMIT, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.full = False
        """Read on every message, hence a plain attribute."""
        self._limit = limit
        self._clock = clock
        self._changed = threading.Condition()
        self._trades: list[Trade] = []
        self._closed = False
        self._error: BaseException | None = None
        self._room: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._full_since = 0.0
        self._full_before = 0.0

    @property
    def waiting(self) -> int:
        """Trades put and not yet taken."""
        return len(self._trades)

    @property
    def full_seconds(self) -> float:
        """How long, in all, the sockets were left unread for the consumer's sake."""
        with self._changed:
            now = self._clock() - self._full_since if self.full else 0.0
            return self._full_before + now

    def put(self, trades: list[Trade]) -> None:
        """On the loop. Takes them even when full; the next message is then to wait for room."""
        with self._changed:
            self._trades += trades
            if not self.full and len(self._trades) >= self._limit:
                self._loop = asyncio.get_running_loop()
                self._room = asyncio.Event()
                self._full_since = self._clock()
                self.full = True
            self._changed.notify()

    async def room(self) -> None:
        """On the loop. Return when it is not full any more."""
        while self.full and self._room is not None:
            await self._room.wait()

    def lift(self) -> None:
        """On the loop. Let nobody wait any more: the last of what was received comes in."""
        with self._changed:
            self._limit = sys.maxsize
            if self.full:
                self._open()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will come, because of ``error`` or of a stop."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> list[Trade] | None:
        """All that waits; empty where nothing came for ``timeout`` seconds, None after the end.

        After the first trade it waits a moment for those that come with it.

        Raises:
            what the line was closed with, after the last trade.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._trades or self._closed, timeout)
            nap = bool(self._trades) and not (self.full or self._closed)
        if nap:
            time.sleep(NAP)
        with self._changed:
            taken, self._trades = self._trades, []
            if self.full:
                self._open()
            if taken or not self._closed:
                return taken
            if self._error is not None:
                raise self._error
            return None

    def _open(self) -> None:
        self.full = False
        self._full_before += self._clock() - self._full_since
        if self._loop is not None and self._room is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)
