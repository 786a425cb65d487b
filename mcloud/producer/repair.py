"""Fills holes in the ids from the exchange, in parallel with the live trades: new holes first, then
old ones.

A hole is doubtful if the exchange has answered without its trades. They may be late, or the
exchange has used the ids without a trade. After ten minutes such ids are voids if an answer has a
lower and a higher id. Doubtful holes use only the rest of the budget, and back off for hours, so
that a lost trade is fetched at once even if there are hundreds of doubtful holes.

If there is nothing to fill, the ends of the streams are checked; see ``newest_ids``.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from mcloud.backoff import grown
from mcloud.errors import McloudError, Refused, Throttled, reason_of
from mcloud.feed.feed import LONGEST_VOID, VOID_AFTER, VOID_MARGIN, HistoryAnswer
from mcloud.market.trade import Trade
from mcloud.producer.cursor import ABSENT, QUICK, Hole
from mcloud.producer.newest_ids import QUIET, NewestIds

PAGE = 1000  # number of trades in a request, the maximum of Binance
AHEAD = 4  # number of pages that are fetched and not taken yet
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0  # seconds between two attempts at one hole
LONGEST_DOUBT = 6 * 3600.0  # seconds between two attempts at a doubtful hole
WIDEST_MARGIN = 200  # number of ids around a doubtful hole; the first search uses VOID_MARGIN
LOOK = 0.2  # seconds


class History(Protocol):
    def trades_from(self, symbol: str, first_id: int, limit: int) -> list[Trade]:
        """Return trades by ascending id, from ``first_id`` or the next existing id."""
        ...

    def search(
        self, symbol: str, first_id: int, last_id: int, margin: int, *, background: bool
    ) -> HistoryAnswer:
        """Return the exchange's trades of a range of ids, and up to ``margin`` ids around it."""
        ...

    def latest_id(self, symbol: str, *, background: bool) -> int | None:
        """Return the id of the newest trade. In the ``background``, only if no other request
        waits.
        """
        ...


@dataclass(frozen=True)
class RepairedHoles:
    hole: Hole
    trades: list[Trade]
    """Trades and voids of the hole; empty if it could not be filled."""
    reason: str = ""
    """Why it could not be filled."""


class Repairer:
    """A thread that fetches one page at a time. The budget of the history limits its speed."""

    def __init__(
        self,
        history: History,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._history = history
        self._clock = clock
        self._wall = wall
        self.tails = NewestIds(clock)
        self._holes: list[Hole] = []
        self._fetched: dict[tuple[str, int], int] = {}
        """Next id to fetch, by symbol and last id of a hole."""
        self._tried: dict[tuple[str, int], float] = {}
        """Time of the last failed attempt at a hole."""
        self._doubt_paused = float("-inf")
        """Time until which no doubtful hole is tried, because other requests need the budget."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._results: queue.Queue[RepairedHoles] = queue.Queue(AHEAD)
        threading.Thread(target=self._run, name="repair", daemon=True).start()

    def look_at(self, holes: list[Hole]) -> None:
        """Set the open holes, oldest first."""
        open_ = {(hole.symbol, hole.last) for hole in holes}
        with self._lock:
            self._holes = holes
            self._fetched = {key: id_ for key, id_ in self._fetched.items() if key in open_}

    def hurry(self) -> None:
        """Try every hole again immediately, regardless of its last attempt."""
        with self._lock:
            self._tried = {}

    def take(self) -> list[RepairedHoles]:
        """Return at most one page that arrived since the last call, so that live trades are not
        delayed.
        """
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
            result = self._search(hole) if hole.is_doubtful else self._fetch(hole)
            if result is None:
                continue
            key = hole.symbol, hole.last
            filled = [each.id for each in result.trades if hole.first <= each.id <= hole.last]
            if filled:
                pause = 0
                with self._lock:
                    self._fetched[key] = max(filled) + 1
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
        """Return the next hole that is due, without the part that is already fetched.

        Doubtful holes come last; otherwise the oldest is first. A hole that could not be filled
        waits longer after each attempt.
        """
        now = self._clock()
        with self._lock:
            due = [each for hole in self._holes if (each := self._due(hole, now))]
        return min(due, key=attrgetter("is_doubtful"), default=None)

    def _due(self, hole: Hole, now: float) -> Hole | None:
        """Return the part of a hole to fetch now, or None if the hole is not due."""
        key = hole.symbol, hole.last
        first = max(hole.first, self._fetched.get(key, 0))
        is_waiting = now - self._tried.get(key, float("-inf")) < _pause(hole)
        if first > hole.last or is_waiting or (hole.is_doubtful and now < self._doubt_paused):
            return None
        return hole._replace(first=first)

    def _look_at_tail(self) -> None:
        symbol = self.tails.next()
        if symbol is None:
            return
        try:
            self.tails.note(symbol, self._history.latest_id(symbol, background=True))
        except Refused:
            self.tails.refused(symbol)
        except Exception as error:  # noqa: BLE001 - if the thread ended, no hole would be filled
            # The reports of the source and of the holes include the reason why the exchange does
            # not answer.
            self.tails.put_off(symbol, getattr(error, "retry_after", QUIET))

    def _fetch(self, hole: Hole) -> RepairedHoles:
        limit = min(PAGE, hole.missing)
        try:
            trades = self._history.trades_from(hole.symbol, hole.first, limit)
        except McloudError as error:
            return RepairedHoles(hole, [], str(error))
        except Exception as error:  # noqa: BLE001 - if the thread ended, no hole would be filled
            return RepairedHoles(hole, [], f"{type(error).__name__}: {error}")
        wanted = [trade for trade in trades if hole.first <= trade.id <= hole.last]
        return RepairedHoles(hole, wanted, "" if wanted else ABSENT)

    def _search(self, hole: Hole) -> RepairedHoles | None:
        """Search for late trades and void ids. Return None if other requests need the budget."""
        margin = int(grown(VOID_MARGIN, hole.attempts, WIDEST_MARGIN))
        try:
            answer = self._history.search(
                hole.symbol, hole.first, hole.last, margin, background=True
            )
        except Throttled as error:
            self._doubt_paused = self._clock() + max(1.0, error.retry_after or 0.0)
            return None
        except Exception as error:  # noqa: BLE001 - if the thread ended, no hole would be filled
            # The hole stays doubtful, because a missing answer proves nothing.
            return RepairedHoles(hole, [], f"{ABSENT}; last error: {reason_of(error)}")
        with self._lock:
            # The answer may cover other holes too.
            holes = [hole, *(each for each in self._holes if each.symbol == hole.symbol)]
        until = int(self._wall() * 1000) - VOID_AFTER
        found = {
            each
            for other in holes
            for each in (
                *(trade for trade in answer.trades if other.first <= trade.id <= other.last),
                *(answer.voids(*other[:3], until) if other.since <= until else ()),
            )
        }
        is_filled = any(hole.first <= each.id <= hole.last for each in found)
        reason = "" if is_filled else _why(answer, hole)
        return RepairedHoles(hole, sorted(found, key=attrgetter("id")), reason)


def _pause(hole: Hole) -> float:
    """Return the number of seconds between two attempts at a hole."""
    if hole.is_doubtful and hole.attempts > QUICK:
        return grown(LONGEST_PAUSE, hole.attempts - QUICK - 1, LONGEST_DOUBT)
    return grown(FIRST_PAUSE, hole.attempts, LONGEST_PAUSE)


def _why(answer: HistoryAnswer, hole: Hole) -> str:
    """Return why a hole is still doubtful."""
    if used := answer.used(hole.first, hole.last):
        return (
            f"{ABSENT} for users without an API key, and {used:,} of them are trades; put a key"
            " into MCLOUD_BINANCE_API_KEY"
        )
    if hole.missing > LONGEST_VOID:
        return f"{ABSENT}, which are too many in a row to be void"
    return ABSENT
