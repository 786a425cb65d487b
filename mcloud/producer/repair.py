"""Fills holes in the ids from the exchange, oldest first, beside the live trades.

When there is nothing to fill, it asks about the ends of the streams; see ``tail``.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mcloud.errors import McloudError, Refused
from mcloud.market.trade import Trade
from mcloud.producer.cursor import Hole
from mcloud.producer.tail import QUIET, Tails

PAGE = 1000  # trades a request, the most that Binance gives
AHEAD = 4  # pages fetched and not yet taken
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0  # seconds between two attempts at one hole
LOOK = 0.2  # seconds


class History(Protocol):
    def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """Trades by id, ascending, from ``first_id`` or the next one that there is."""
        ...

    def latest_id(self, symbol: str, *, background: bool) -> int | None:
        """The id of the newest trade; in the ``background`` only where nobody has to wait."""
        ...


@dataclass(frozen=True)
class Repaired:
    hole: Hole
    trades: list[Trade]
    """Of the hole; empty where it could not be filled."""
    reason: str = ""
    """Why it could not."""


class Repairer:
    """One thread that asks for one page at a time; the history's own budget slows it down."""

    def __init__(self, history: History, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._history = history
        self._clock = clock
        self.tails = Tails(clock)
        self._holes: list[Hole] = []
        self._fetched: dict[tuple[str, int], int] = {}
        """By symbol and last id of a hole: the next id to ask for."""
        self._tried: dict[tuple[str, int], float] = {}
        """When a hole could not be filled."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._results: queue.Queue[Repaired] = queue.Queue(AHEAD)
        threading.Thread(target=self._run, name="repair", daemon=True).start()

    def look_at(self, holes: list[Hole]) -> None:
        """What is missing now, oldest first."""
        open_ = {(hole.symbol, hole.last) for hole in holes}
        with self._lock:
            self._holes = holes
            self._fetched = {key: id_ for key, id_ in self._fetched.items() if key in open_}

    def hurry(self) -> None:
        """Try every hole again at once, however lately it could not be filled."""
        with self._lock:
            self._tried = {}

    def take(self) -> list[Repaired]:
        """What came since the last call, at most one page: live trades go in between."""
        try:
            return [self._results.get_nowait()]
        except queue.Empty:
            return []

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        pause = LOOK
        while not self._stopped.wait(pause):
            hole = self._next()
            pause = LOOK
            if hole is None:
                self._look_at_tail()
                continue
            result = self._fetch(hole)
            key = hole.symbol, hole.last
            if result.trades:
                pause = 0
                with self._lock:
                    self._fetched[key] = result.trades[-1].id + 1
            else:
                with self._lock:
                    self._tried[key] = self._clock()
            while not self._stopped.is_set():
                try:
                    self._results.put(result, timeout=LOOK)
                except queue.Full:
                    continue
                break

    def _next(self) -> Hole | None:
        """The oldest hole whose turn it is, without what was fetched of it already.

        One that could not be filled waits, the longer the more often it was tried.
        """
        now = self._clock()
        with self._lock:
            for hole in self._holes:
                key = hole.symbol, hole.last
                first = max(hole.first, self._fetched.get(key, 0))
                tried = self._tried.get(key)
                # Capped before it is computed: a hole may be tried for weeks.
                pause = min(FIRST_PAUSE * 2.0 ** min(hole.attempts, 30), LONGEST_PAUSE)
                if first <= hole.last and (tried is None or now - tried >= pause):
                    return hole._replace(first=first)
        return None

    def _look_at_tail(self) -> None:
        symbol = self.tails.next()
        if symbol is None:
            return
        try:
            self.tails.note(symbol, self._history.latest_id(symbol, background=True))
        except Refused:
            self.tails.refused(symbol)
        except Exception as error:  # noqa: BLE001 - a thread that dies would fill no hole any more
            # What keeps the exchange from answering, the source and the holes tell.
            self.tails.put_off(symbol, getattr(error, "retry_after", QUIET))

    def _fetch(self, hole: Hole) -> Repaired:
        limit = min(PAGE, hole.missing)
        try:
            trades = self._history.trades_from(hole.symbol, hole.first, limit)
        except McloudError as error:
            return Repaired(hole, [], str(error))
        except Exception as error:  # noqa: BLE001 - a thread that dies would fill no hole any more
            return Repaired(hole, [], f"{type(error).__name__}: {error}")
        wanted = [trade for trade in trades if hole.first <= trade.id <= hole.last]
        return Repaired(hole, wanted, "" if wanted else "the exchange does not have these ids")
