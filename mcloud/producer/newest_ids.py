"""Trades lost at the end of a stream, of which no later trade of their symbol tells.

Until the next one comes only the exchange knows of them. It is asked for the newest id of each
symbol whose stream began anew, and at a calm pace of those that have gone quiet.
"""

import threading
import time
from collections.abc import Callable, Collection

SETTLE = 2.0  # seconds that a trade may come later by the stream than REST has it
QUIET, LONGEST_QUIET = 30.0, 600.0  # seconds without a trade until the exchange is asked, and again


class NewestIds:
    """Whom to ask about, and what was answered. For any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._ended: set[str] = set()
        """Symbols that are asked about until there is an answer, and then not again."""
        self._answers: list[tuple[float, str, int]] = []
        """When it can be judged, the symbol, and its newest id."""

    def seen(self, symbols: Collection[str]) -> None:
        """New trades came: these are not quiet."""
        due = self._clock() + QUIET
        with self._lock:
            for symbol in symbols:
                self._due[symbol] = due
                self._pauses[symbol] = QUIET

    def opened(self, symbols: Collection[str]) -> None:
        """Their streams began anew: unless something comes soon, they are asked about."""
        due = self._clock() + SETTLE
        with self._lock:
            self._due |= dict.fromkeys(symbols, due)
            self._ended -= set(symbols)

    def ended(self, symbols: Collection[str]) -> None:
        """They trade no more: they are asked about until there is one answer, which is the last."""
        due = self._clock() + SETTLE
        with self._lock:
            self._due |= dict.fromkeys(symbols, due)
            self._pauses |= dict.fromkeys(symbols, QUIET)
            self._ended |= set(symbols)

    def next(self) -> str | None:
        """The symbol that has been due for longest, if any is."""
        with self._lock:
            symbol = min(self._due, key=self._due.__getitem__, default=None)
            return symbol if symbol is not None and self._due[symbol] <= self._clock() else None

    def note(self, symbol: str, newest_id: int | None) -> None:
        """The exchange has answered; a market that stays quiet is asked about ever less often."""
        with self._lock:
            now = self._clock()
            if newest_id is not None:
                self._answers.append((now + SETTLE, symbol, newest_id))
            if symbol in self._ended:
                self._forget(symbol)
                return
            pause = self._pauses.get(symbol, QUIET)
            self._due[symbol] = now + pause
            self._pauses[symbol] = min(2 * pause, LONGEST_QUIET)

    def put_off(self, symbol: str, seconds: float) -> None:
        """The exchange has not answered."""
        with self._lock:
            self._due[symbol] = self._clock() + seconds

    def refused(self, symbol: str) -> None:
        """The exchange does not serve the symbol. One that has ended is given up in the end."""
        with self._lock:
            pause = self._pauses.get(symbol, QUIET)
            if symbol in self._ended and pause >= LONGEST_QUIET:
                self._forget(symbol)
                return
            self._due[symbol] = self._clock() + pause
            self._pauses[symbol] = min(2 * pause, LONGEST_QUIET)

    def take(self) -> list[tuple[str, int]]:
        """Symbols and their newest ids, of which the stream has had the time to bring them."""
        with self._lock:
            now = self._clock()
            ripe = [(symbol, id_) for when, symbol, id_ in self._answers if when <= now]
            self._answers = [each for each in self._answers if each[0] > now]
            return ripe

    def _forget(self, symbol: str) -> None:
        self._due.pop(symbol, None)
        self._pauses.pop(symbol, None)
