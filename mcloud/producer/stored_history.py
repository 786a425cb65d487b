"""The stored candles before a run, with which the run compares its first minutes.

They are read once for each symbol, when its first trade arrives, by threads that delay nothing. On
DynamoDB, the 180 candles of three hours are a query of about 25 read units, and on Firestore 180
reads: for 400 symbols, a start costs 0.3 or 2 cents. A check that reads one candle of each symbol
every minute would cost the same in three hours.
"""

import threading
from collections.abc import Mapping
from logging import Logger
from queue import SimpleQueue
from typing import NamedTuple

from mcloud.clouds.ports import Site
from mcloud.errors import McloudError
from mcloud.market.candle import MINUTE, Candle

RECENT = 2 * MINUTE
"""Longest time between the newest candle of a site and the first trade, in ms, for which no other
site is asked."""
AT_ONCE = 4
"""Number of symbols whose candles are read at the same time."""


class SymbolHistory(NamedTuple):
    symbol: str
    candles: list[Candle]
    """Those of the time before the first trade, and of its minute; empty if no site has any."""


class StoredHistory:
    """Reads the candles of symbols from the first site that is up to date, or else from the site
    that has the newest ones."""

    def __init__(self, sites: Mapping[str, Site], reach: int, log: Logger) -> None:
        """``reach`` is the time before the first trade, in ms."""
        self._sites = dict(sites)
        self._reach = reach
        self._log = log
        self._wanted: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
        self._answers: SimpleQueue[SymbolHistory] = SimpleQueue()
        self._order = list(sites)
        """Names of the sites, those that failed last at the end."""
        self._is_reported = False
        self._closed = False
        self._threads = 0

    def request(self, symbol: str, start: int) -> None:
        """Request the candles of a symbol up to a minute."""
        self._wanted.put((symbol, start))
        if self._threads < AT_ONCE:
            self._threads += 1
            # These are daemons, because a call that hangs must not keep the process alive.
            threading.Thread(target=self._run, name="history", daemon=True).start()

    def take(self, limit: int | None = None) -> list[SymbolHistory]:
        """Return what was read since the last call, up to ``limit`` symbols."""
        count = self._answers.qsize()
        return [self._answers.get() for _ in range(count if limit is None else min(limit, count))]

    def close(self) -> None:
        self._closed = True
        for _ in range(self._threads):
            self._wanted.put(None)

    def _run(self) -> None:
        while (wanted := self._wanted.get()) is not None and not self._closed:
            self._answers.put(SymbolHistory(wanted[0], self._read(*wanted)))

    def _read(self, symbol: str, start: int) -> list[Candle]:
        failures: dict[str, str] = {}
        best: list[Candle] = []
        for name in tuple(self._order):
            try:
                candles = self._sites[name].candles
                found = list(candles.range(symbol, max(0, start - self._reach), start + MINUTE))
                if found and (not best or found[-1].start > best[-1].start):
                    best = found
                if best and best[-1].start >= start - RECENT:
                    return best
                continue  # the next site may have newer ones
            except McloudError as error:
                failures[name] = str(error)
            except Exception as error:  # noqa: BLE001 - the trades must not suffer
                failures[name] = repr(error)
            self._order = [*(each for each in self._order if each != name), name]
        if len(failures) == len(self._sites) and not self._is_reported:
            self._is_reported = True
            self._log.warning(
                "detection of anomalies starts without history, because no site answers: %s",
                "; ".join(f"{name}: {why}" for name, why in failures.items()),
            )
        return best
