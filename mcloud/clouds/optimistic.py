"""Code that all candle stores share: reading a record, and conditional writes with retries."""

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from mcloud.backoff import Jitter, grown
from mcloud.clouds.ports import StoredCandle
from mcloud.errors import Contention, DamagedData
from mcloud.market.candle import Candle, Folded

Version = TypeVar("Version")

ATTEMPTS = 25
FIRST_PAUSE, LONGEST_PAUSE = 0.01, 1.0  # seconds


REMEMBERED = 1000
"""Maximum number of candles that a `CandleMemory` holds. A candle has a few KB."""


class Read(NamedTuple, Generic[Version]):
    candle: Candle
    version: Version | None
    """Version that must be unchanged for a write to succeed; None for a missing record."""


class CandleMemory(Generic[Version]):
    """The candles that this process wrote last, so that it can write them again without a read.

    A remembered candle is a guess, since other writers may have changed it. If they have, the
    conditional write fails and costs a request. The memory therefore guesses only if the previous
    guess was right.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        # An instance of a function may serve several calls at once.
        self._lock = threading.Lock()
        self._written: OrderedDict[tuple[str, int], Read[Version]] = OrderedDict()
        self._created: OrderedDict[str, int] = OrderedDict()
        """Start of the newest candle of each symbol that was missing until this process wrote it,
        in ms since 1970."""

    def guess(self, symbol: str, start: int) -> Read[Version] | None:
        """Return the expected state of a candle, or None if only the store knows it.

        A candle is expected to be missing if this process created an earlier one of the symbol,
        and none since.
        """
        with self._lock:
            known = self._written.get((symbol, start))
            if known is None and start > self._created.get(symbol, start):
                return Read(Candle(symbol, start), None)
            return known

    def keep(self, candle: Candle, version: Version, *, is_new: bool) -> None:
        """Remember a candle that was just written with this version."""
        key = (candle.symbol, candle.start)
        with self._lock:
            self._written[key] = Read(candle, version)
            self._written.move_to_end(key)
            if is_new:
                newest = max(candle.start, self._created.pop(candle.symbol, 0))
                self._created[candle.symbol] = newest
            for known in (self._written, self._created):
                while len(known) > self._size:
                    known.popitem(last=False)

    def forget(self, symbol: str, start: int) -> None:
        """Forget a candle after a wrong guess, and expect no other of its symbol to be missing."""
        with self._lock:
            self._written.pop((symbol, start), None)
            self._created.pop(symbol, None)


class OptimisticCandles(ABC, Generic[Version]):
    """The changes of candles in a store that compares the version of a record when it writes."""

    def __init__(self) -> None:
        self._memory = CandleMemory[Version]()

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        read = partial(self._read, symbol, start)
        return update(symbol, start, read, self._write, change, self._memory)

    def rewrite(self, symbol: str, start: int, change: Callable[[StoredCandle], Candle]) -> None:
        def write(candle: Candle, version: Version | None) -> bool:
            if candle.fragments:
                return self._write(candle, version) is not None
            return self._delete(candle, version)

        rewrite(partial(self._read_stored, symbol, start), write, change)

    @abstractmethod
    def _read(self, symbol: str, start: int) -> Read[Version]:
        """Return a candle and its version."""

    @abstractmethod
    def _read_stored(self, symbol: str, start: int) -> tuple[StoredCandle, Version | None]:
        """Return the record of a candle, which may be damaged, and its version."""

    @abstractmethod
    def _write(self, candle: Candle, version: Version | None) -> Version | None:
        """Write a candle in place of the record with this version, or of none.

        Return the new version, or None if the version of the stored record has changed.
        """

    @abstractmethod
    def _delete(self, candle: Candle, version: Version | None) -> bool:
        """Delete the record with this version. Return False if its version has changed."""


def update(
    symbol: str,
    start: int,
    read: Callable[[], Read[Version]],
    write: Callable[[Candle, Version | None], Version | None],
    change: Callable[[Candle], Folded],
    memory: CandleMemory[Version],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Jitter = random.uniform,
) -> Folded:
    """Implement ``ports.Candles.update``.

    ``write`` returns the new version, or None if the version of the stored candle has changed.
    """
    guess = memory.guess(symbol, start)
    if guess is not None:
        changed = change(guess.candle)
        # If nothing changes, only a read can tell whether the store still has the candle.
        if changed.candle != guess.candle:
            version = write(changed.candle, guess.version)
            if version is not None:
                memory.keep(changed.candle, version, is_new=guess.version is None)
                return changed
            memory.forget(symbol, start)
    for attempt in attempts(sleep, jitter):
        current = read()
        changed = change(current.candle)
        if changed.candle == current.candle:
            return changed
        version = write(changed.candle, current.version)
        if version is not None:
            if guess is None and not attempt:  # no other writer changes this candle
                memory.keep(changed.candle, version, is_new=current.version is None)
            return changed
    raise _contention(changed.candle)


def rewrite(
    read: Callable[[], tuple[StoredCandle, Version]],
    write: Callable[[Candle, Version], object],
    change: Callable[[StoredCandle], Candle],
    *,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Jitter = random.uniform,
) -> None:
    """Implement ``ports.Candles.rewrite``. ``write`` deletes the record for an empty candle, and
    returns a false value if the version has changed.
    """
    for _ in attempts(sleep, jitter):
        stored, version = read()
        candle = change(stored)
        if (candle == stored.candle and stored.has_mark) or write(candle, version):
            return
    raise _contention(candle)


def stored(symbol: str, start: int, record: Mapping[str, Any], has_mark: bool) -> StoredCandle:
    """Return the stored candle of a record; an empty record means that there is no candle."""
    if not record:
        return StoredCandle(Candle(symbol, start), record)
    try:
        candle = read_record(record)
    except DamagedData:
        return StoredCandle(None, record, has_mark)
    is_its_own = (candle.symbol, candle.start) == (symbol, start)
    return StoredCandle(candle if is_its_own else None, record, has_mark)


def attempts(
    sleep: Callable[[float], None] = time.sleep,
    jitter: Jitter = random.uniform,
) -> Iterator[int]:
    """Yield the number of each attempt at a conditional write, from 0 on, with pauses between."""
    for attempt in range(ATTEMPTS):
        yield attempt
        # Full jitter prevents several writers of one busy candle from colliding repeatedly.
        sleep(jitter(0, grown(FIRST_PAUSE, attempt, LONGEST_PAUSE)))


def _contention(candle: Candle) -> Contention:
    return Contention(
        f"other writers changed the candle {candle.symbol} {candle.timestamp} during each of "
        f"{ATTEMPTS} attempts to write it"
    )


def read_record(record: Mapping[str, Any]) -> Candle:
    """Read a candle from its stored record.

    Raises:
        DamagedData: the record is not a valid candle, because something else changed it.
    """
    try:
        return Candle.from_record(record)
    except ValueError as error:
        where = f"{record.get('symbol')} {record.get('timestamp')}"
        raise DamagedData(f"the stored candle {where} is damaged: {error}") from None
