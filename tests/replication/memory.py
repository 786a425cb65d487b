"""A site in memory that fulfils the contract of ``ports``, and fails where a test wants it to.

A candle is written only if no other writer came first. Changes come in pages, each of them at least
once. An archive never overwrites an object. Every call goes through ``Faults``.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mcloud.clouds import optimistic
from mcloud.clouds.ports import Changes, Cleared, Heartbeat, Lag, StoredCandle, StoredObject
from mcloud.errors import DamagedData, Refused, Trimmed
from mcloud.market.archive import ArchiveObject
from mcloud.market.candle import Candle, Folded

PAGE = 5  # changes


class Faults:
    """Hooks that run before and after each call of a site. By default they do nothing."""

    def __init__(self) -> None:
        self.before: Callable[[str], None] = lambda call: None
        self.after: Callable[[str], None] = lambda call: None


@dataclass
class MemoryCandles:
    faults: Faults
    page: int = PAGE
    repeats: int = 0
    """Number of changes before a position that every page repeats."""
    stored: dict[tuple[str, int], tuple[Candle, int]] = field(default_factory=dict)
    """Candles with their versions."""
    log: list[Candle] = field(default_factory=list)
    """All changes, oldest first."""
    damaged: set[tuple[str, int]] = field(default_factory=set)
    """Candles that another program has damaged."""
    unmarked: set[tuple[str, int]] = field(default_factory=set)
    """Candles whose version another program has removed."""
    forgotten: int = 0
    """Number of changes at the beginning of the log that are no longer available."""
    clock: Callable[[], float] = lambda: 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def update(self, symbol: str, start: int, change: Callable[[Candle], Folded]) -> Folded:
        # The writers that share this store have no memory of each other's writes.
        return optimistic.update(
            symbol,
            start,
            lambda: self._read(symbol, start),
            self._write,
            change,
            optimistic.CandleMemory(),
            sleep=lambda seconds: None,
        )

    def rewrite(self, symbol: str, start: int, change: Callable[[StoredCandle], Candle]) -> None:
        def read() -> tuple[StoredCandle, int]:
            self.faults.before("read")
            with self.lock:
                candle, version = self.stored.get((symbol, start), (Candle(symbol, start), 0))
                is_damaged = (symbol, start) in self.damaged
            record = candle.to_record() if candle.fragments else {}
            has_mark = (symbol, start) not in self.unmarked
            return StoredCandle(None if is_damaged else candle, record, has_mark), version

        def write(candle: Candle, version: int) -> bool:
            with self.lock:
                if not self._write(candle, version):
                    return False
                self.damaged.discard((symbol, start))
                self.unmarked.discard((symbol, start))
                if not candle.fragments:
                    del self.stored[symbol, start]
                    self.log.pop()
            return True

        optimistic.rewrite(read, write, change, sleep=lambda seconds: None)

    def create(self, candles: Sequence[Candle]) -> list[Candle]:
        return [candle for candle in candles if not self._write(candle, 0)]

    def range(
        self,
        symbol: str,
        start: int,
        end: int,
        unmarked: Callable[[int, str], None] = lambda start, why: None,
    ) -> Iterator[Candle]:
        self.faults.before("range")
        with self.lock:
            found = [
                candle
                for (name, minute), (candle, _) in sorted(self.stored.items())
                if name == symbol and start <= minute < end
            ]
        for candle in found:
            self._check(candle)
            if (symbol, candle.start) in self.unmarked:
                unmarked(candle.start, "the stored candle has no version")
            yield candle

    def last(self, symbol: str) -> Candle | None:
        self.faults.before("last")
        with self.lock:
            minutes = [minute for name, minute in self.stored if name == symbol]
            if not minutes:
                return None
            candle, _ = self.stored[symbol, max(minutes)]
        self._check(candle)
        return candle

    def tip(self) -> str:
        self.faults.before("tip")
        return str(len(self.log))

    def changes(self, position: str) -> Changes:
        self.faults.before("changes")
        with self.lock:
            begin = int(position)
            if begin < self.forgotten:
                raise Trimmed(f"changes before {self.forgotten} are forgotten")
            end = min(begin + self.page, len(self.log))
            again = max(self.forgotten, begin - self.repeats)
            return Changes(self.log[again:end], str(end), self.clock(), end == len(self.log))

    def fold(self, candle: Candle) -> None:
        """Merge a candle as another writer does: a function that received these trades."""
        from mcloud.market.candle import merge

        self.update(candle.symbol, candle.start, lambda stored: merge(stored, candle))

    def _read(self, symbol: str, start: int) -> optimistic.Read[int]:
        self.faults.before("read")
        with self.lock:
            candle, version = self.stored.get((symbol, start), (Candle(symbol, start), 0))
        self._check(candle)
        return optimistic.Read(candle, version)

    def _check(self, candle: Candle) -> None:
        if (candle.symbol, candle.start) in self.damaged:
            raise DamagedData(f"the stored candle {candle.symbol} {candle.timestamp} is damaged")

    def _write(self, candle: Candle, before: int | None) -> int | None:
        """Return the new version, or None if the stored candle has another one than ``before``."""
        self.faults.before("write")
        key = candle.symbol, candle.start
        version = (before or 0) + 1
        with self.lock:
            if self.stored.get(key, (None, 0))[1] != version - 1:
                return None
            self.stored[key] = candle, version
            self.log.append(candle)
        self.faults.after("write")
        return version


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


@dataclass
class MemoryArchive:
    faults: Faults
    delay = 0.0
    objects: dict[str, bytes] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, item: ArchiveObject) -> bool:
        self.faults.before("put")
        with self.lock:
            is_new = item.key not in self.objects
            self.objects.setdefault(item.key, item.body)
        self.faults.after("put")
        return is_new

    def replace(self, item: ArchiveObject) -> None:
        self.faults.before("replace")
        self.objects[item.key] = item.body

    def swap(self, item: ArchiveObject, version: str) -> bool:
        self.faults.before("swap")
        with self.lock:
            if item.key not in self.objects or _md5(self.objects[item.key]) != version:
                return False
            self.objects[item.key] = item.body
        self.faults.after("swap")
        return True

    def remove(self, key: str) -> None:
        self.faults.before("remove")
        self.objects.pop(key, None)

    def release(self, key: str) -> None:
        self.remove(key)

    def clear(self) -> Cleared:
        return Cleared()

    def get(self, key: str) -> bytes:
        self.faults.before("get")
        if key not in self.objects:
            raise Refused(f"no object {key}")
        return self.objects[key]

    def stat(self, key: str) -> StoredObject | None:
        self.faults.before("stat")
        body = self.objects.get(key)
        return None if body is None else StoredObject(key, len(body), _md5(body), None, _md5(body))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self.faults.before("list")
        for key, body in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield StoredObject(key, len(body), _md5(body), version=_md5(body))

    def list_hours(self) -> Iterator[StoredObject]:
        return (each for each in self.list("raw/") if "/block" not in each.key)

    def symbols(self) -> Iterator[str]:
        self.faults.before("symbols")
        names = {key.partition("symbol=")[2].partition("/")[0] for key in self.objects}
        yield from sorted(names)


@dataclass
class MemoryControl:
    faults: Faults
    beats: dict[str, Heartbeat] = field(default_factory=dict)
    told: dict[tuple[str, str, str], Lag] = field(default_factory=dict)

    def beat(self, beats: Iterable[Heartbeat]) -> list[Heartbeat]:
        self.beats |= {beat.symbol: beat for beat in beats}
        return []

    def heartbeats(self) -> list[Heartbeat]:
        self.faults.before("heartbeats")
        return [self.beats[symbol] for symbol in sorted(self.beats)]

    def note_lag(self, lag: Lag) -> None:
        self.faults.before("note_lag")
        self.told[lag.source, lag.target, lag.part] = lag

    def lags(self) -> list[Lag]:
        return [self.told[key] for key in sorted(self.told)]


class MemorySite:
    cloud = "memory"

    def __init__(self, name: str, *, page: int = PAGE, repeats: int = 0) -> None:
        self.name = name
        self.faults = Faults()
        self.candles = MemoryCandles(self.faults, page, repeats)
        self.archive = MemoryArchive(self.faults)
        self.control = MemoryControl(self.faults)
