"""Fold trades into candles. The caller acknowledges last, so that a crash before that only repeats
work.

The export service of a site has the trades for the raw archive. Trades that it does not have, such
as those of before a site had one, are written to the raw archive here, before the candles.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple, TypeVar

from mcloud.clouds.ports import Archive, Candles
from mcloud.errors import Contention, McloudError, Refused
from mcloud.market.archive import HOUR, ArchiveObject, pack
from mcloud.market.candle import Candle, Disagreement, Folded, by_minute, fold
from mcloud.market.trade import Trade

Given = TypeVar("Given")
Answer = TypeVar("Answer")

AT_ONCE = 16
"""Maximum number of concurrent requests to the stores, over all calls of this process."""

PART = 128
"""Number of requests that are prepared together: raw objects, if an archive is given, and then the
candles that they cover."""

LASTING = (ArithmeticError, Refused, Contention)
"""Errors of one candle that would occur again in another attempt."""

Key = tuple[str, int]
"""A candle: its symbol, and the start of its minute in ms since 1970."""


class Ingested(NamedTuple):
    """The outcome of storing trades, and when each step ended, in seconds since 1970."""

    disagreements: list[Disagreement]
    began: float
    archived: float | None
    """Time when the raw trades were in the archive; None if the export service has them."""
    stored: float
    """Time when the candles were written."""


@dataclass
class Partly:
    """The candles that were stored, and those that were not."""

    began: float
    archived: float | None
    stored: float
    disagreements: list[Disagreement] = field(default_factory=list)
    done: set[Key] = field(default_factory=set)
    """Candles with all of their trades, which are also in the archive if one was given."""
    failed: dict[Key, Exception] = field(default_factory=dict)
    """Candles that cannot be stored, each with one of ``LASTING``."""
    left: set[Key] = field(default_factory=set)
    """Candles for another attempt, because the time was up or a store did not answer."""
    problem: McloudError | None = None
    """The first temporary error of a store. Nothing was started after it."""

    @property
    def ingested(self) -> Ingested:
        return Ingested(self.disagreements, self.began, self.archived, self.stored)


def ingest(
    trades: Sequence[Trade],
    archive: Archive | None,
    candles: Candles,
    *,
    clock: Callable[[], float] = time.time,
) -> Ingested:
    """Store trades of any symbols and times as candles. A repeat changes nothing.

    Args:
        archive: archive to write the raw trades to first; None if the export service has them.

    Raises:
        Unavailable, Contention: the whole call can be repeated.
        Refused: a store is missing or may not be written.
        decimal.Inexact: a candle cannot hold the volumes. Only dropping those trades helps.
    """
    partly = ingest_while(lambda: True, trades, archive, candles, clock=clock)
    for error in (*partly.failed.values(), partly.problem):
        if error is not None:
            raise error
    return partly.ingested


def ingest_while(
    is_time_left: Callable[[], bool],
    trades: Sequence[Trade],
    archive: Archive | None,
    candles: Candles,
    *,
    clock: Callable[[], float] = time.time,
) -> Partly:
    """Store as many of the trades as the time allows, hour by hour; see ``ingest``.

    A candle that cannot be stored does not prevent others from being stored. Stored candles are
    complete, so that another attempt needs only the trades of ``failed`` and ``left``.
    """
    begun = clock()
    partly = Partly(begun, None if archive is None else begun, begun)
    for hours in _parts(trades):
        minutes = {key: group for hour in hours for key, group in hour.items()}
        if partly.problem is not None or not is_time_left():
            partly.left |= minutes.keys()
            continue
        if archive is not None:
            # An object covers an hour. If it is refused, the candles of that hour are not stored.
            objects = [(hour, item) for hour in hours for item in pack(_trades(hour))]
            for (hour, _), error in _at_once(partial(_put, archive), objects, is_time_left):
                if isinstance(error, Exception):
                    for key in hour.keys() & minutes.keys():
                        del minutes[key]
                        _note(partly, key, error)
            partly.archived = clock()
        for (key, _), answer in _at_once(partial(_update, candles), minutes.items(), is_time_left):
            if isinstance(answer, Exception):
                _note(partly, key, answer)
            else:
                partly.done.add(key)
                partly.disagreements += answer.disagreements
        partly.stored = clock()
    return partly


_Hour = dict[Key, list[Trade]]  # the trades of one symbol in one hour, by candle


def _parts(trades: Iterable[Trade]) -> Iterator[list[_Hour]]:
    """Group trades by hour, and hours into parts of about ``PART`` requests."""
    hours: dict[Key, _Hour] = {}
    for key, group in by_minute(trades).items():
        symbol, start = key
        hours.setdefault((symbol, start // HOUR), {})[key] = group
    part: list[_Hour] = []
    requests = 0
    for hour in hours.values():
        part.append(hour)
        # one request for the object, and a read and a write for each candle
        requests += 1 + 2 * len(hour)
        if requests >= PART:
            yield part
            part, requests = [], 0
    if part:
        yield part


def _trades(hour: _Hour) -> Iterator[Trade]:
    return (trade for group in hour.values() for trade in group)


def _put(archive: Archive, given: tuple[_Hour, ArchiveObject]) -> bool:
    return archive.put(given[1])


def _update(candles: Candles, given: tuple[Key, list[Trade]]) -> Folded:
    (symbol, start), trades = given
    return candles.update(symbol, start, partial(_fold, trades))


def _fold(trades: list[Trade], candle: Candle) -> Folded:
    return fold(candle, trades)


def _note(partly: Partly, key: Key, error: Exception) -> None:
    if isinstance(error, _TimeIsUp):
        partly.left.add(key)
    elif isinstance(error, LASTING):
        partly.failed[key] = error
    elif isinstance(error, McloudError):
        partly.left.add(key)
        partly.problem = partly.problem or error
    else:
        raise error


class _TimeIsUp(Exception):
    """Raised for a call that was not started."""


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")


def _at_once(
    call: Callable[[Given], Answer],
    all_given: Iterable[Given],
    is_time_left: Callable[[], bool],
) -> list[tuple[Given, Answer | Exception]]:
    """Make calls concurrently. Return each with its answer, or the error that it raised."""

    def answered(given: Given) -> Answer | Exception:
        try:
            return call(given) if is_time_left() else _TimeIsUp()
        except Exception as error:  # noqa: BLE001 - the caller checks each of them
            return error

    listed = list(all_given)
    if len(listed) == 1:  # the usual case, in which another thread would only take longer
        return [(listed[0], answered(listed[0]))]
    return list(zip(listed, _pool().map(answered, listed), strict=True))
