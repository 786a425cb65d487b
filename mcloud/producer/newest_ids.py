"""Detection of trades that were lost at the end of a stream, before a later trade reveals the hole.

The newest id of each symbol whose stream has reconnected is requested from the exchange, and at a
lower rate that of each quiet symbol.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection

from mcloud.backoff import grown

SETTLE = 2.0  # seconds by which the stream may be behind REST
# seconds of silence before the first request, and before later ones
QUIET, LONGEST_QUIET = 30.0, 600.0


class NewestIds:
    """The symbols whose newest id is to be requested, and the answers. It is thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        """Number of requests for a symbol since its last trade."""
        self._ended: set[str] = set()
        """Symbols that have ended. Their newest ids are requested until there is an answer."""
        self._answers: list[tuple[float, str, int]] = []
        """Time when an answer can be checked, the symbol, and its newest id."""

    def seen(self, symbols: Collection[str]) -> None:
        """Note that these symbols have new trades, so they are not quiet."""
        due = self._clock() + QUIET
        with self._lock:
            for symbol in symbols:
                self._due[symbol] = due
                del self._requests[symbol]

    def opened(self, symbols: Collection[str]) -> None:
        """Note that the streams of these symbols reconnected. Their newest ids are requested unless
        trades arrive.
        """
        due = self._clock() + SETTLE
        with self._lock:
            self._due |= dict.fromkeys(symbols, due)
            self._ended -= set(symbols)

    def ended(self, symbols: Collection[str]) -> None:
        """Note that these symbols stopped trading. Their newest ids are requested until there is
        one answer.
        """
        due = self._clock() + SETTLE
        with self._lock:
            self._due |= dict.fromkeys(symbols, due)
            self._ended |= set(symbols)
            for symbol in symbols:
                del self._requests[symbol]

    def next(self) -> str | None:
        """Return the symbol that has been due for longest, or None."""
        with self._lock:
            symbol = min(self._due, key=self._due.__getitem__, default=None)
            return symbol if symbol is not None and self._due[symbol] <= self._clock() else None

    def note(self, symbol: str, newest_id: int | None) -> None:
        """Note an answer of the exchange. The requests for a symbol that stays quiet become less
        frequent.
        """
        with self._lock:
            now = self._clock()
            if newest_id is not None:
                self._answers.append((now + SETTLE, symbol, newest_id))
            if symbol in self._ended:
                self._forget(symbol)
                return
            self._wait(symbol)

    def put_off(self, symbol: str, seconds: float) -> None:
        """Note that the exchange has not answered, and try again after a pause."""
        with self._lock:
            self._due[symbol] = self._clock() + seconds

    def refused(self, symbol: str) -> None:
        """Note that the exchange does not serve the symbol. A symbol that has ended is dropped
        after several refusals.
        """
        with self._lock:
            if symbol in self._ended and self._pause(symbol) >= LONGEST_QUIET:
                self._forget(symbol)
                return
            self._wait(symbol)

    def take(self) -> list[tuple[str, int]]:
        """Return the symbols and newest ids that the stream has had enough time to deliver."""
        with self._lock:
            now = self._clock()
            ripe = [(symbol, id_) for when, symbol, id_ in self._answers if when <= now]
            self._answers = [each for each in self._answers if each[0] > now]
            return ripe

    def _pause(self, symbol: str) -> float:
        return grown(QUIET, self._requests[symbol], LONGEST_QUIET)

    def _wait(self, symbol: str) -> None:
        self._due[symbol] = self._clock() + self._pause(symbol)
        self._requests[symbol] += 1

    def _forget(self, symbol: str) -> None:
        self._due.pop(symbol, None)
        del self._requests[symbol]
