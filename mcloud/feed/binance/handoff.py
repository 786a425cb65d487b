"""A bounded queue from the thread that reads the sockets to the thread that stores the trades."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable

from mcloud.market.trade import Trade

LIMIT = 20_000  # number of trades, about 10 MB
# A wake-up for every message would cost more than processing it.
NAP = 0.005  # seconds


class Handoff:
    """Accepts lists of trades on an event loop and returns them on another thread.

    Nothing is dropped: if it is full, the event loop waits for room and leaves the socket unread,
    so that TCP slows the sender down.
    """

    def __init__(self, limit: int = LIMIT, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.full = False
        """Whether it is full. It is a plain attribute because it is read for every message."""
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
        """Number of trades that were put and not taken yet."""
        return len(self._trades)

    @property
    def full_seconds(self) -> float:
        """Total time, in seconds, that the sockets were left unread for the consumer."""
        with self._changed:
            now = self._clock() - self._full_since if self.full else 0.0
            return self._full_before + now

    def put(self, trades: list[Trade]) -> None:
        """Add trades, on the event loop, even if it is full. The next message then waits for
        room.
        """
        with self._changed:
            self._trades += trades
            if not self.full and len(self._trades) >= self._limit:
                self._loop = asyncio.get_running_loop()
                self._room = asyncio.Event()
                self._full_since = self._clock()
                self.full = True
            self._changed.notify()

    async def room(self) -> None:
        """Wait, on the event loop, until it is no longer full."""
        while self.full and self._room is not None:
            await self._room.wait()

    def lift(self) -> None:
        """Lift the limit, on the event loop, so that the last messages are accepted."""
        with self._changed:
            self._limit = sys.maxsize
            if self.full:
                self._open()

    def close(self, error: BaseException | None = None) -> None:
        """End the queue, because of ``error`` or of a stop."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> list[Trade] | None:
        """Return all waiting trades: none after ``timeout`` seconds without any, None after the
        end.

        After the first trade it waits briefly for those that arrive with it.

        Raises:
            The error with which the queue was closed, after the last trade.
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
