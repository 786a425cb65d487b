"""Check new candles on a schedule, and store anomalies in the site's control store.

For a symbol that trades, a check costs one query of one or two candles: those since the newest one
that the last check saw, and this one if its minute had not ended. Earlier ones are read again only
while their trade ids do not prove that they are complete, for at most ``SETTLING`` seconds. The
first check of an instance also reads ``Thresholds.reach``. Each check also makes two queries for
all symbols: one of the heartbeats, and one of the anomalies that are not sent yet. A silent symbol
costs nothing more.

Each anomaly is sent at least once: a note is stored before the anomaly, and deleted only after the
anomaly was sent. If a check is interrupted in between, the next one sends the anomaly.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from operator import attrgetter
from typing import Annotated

from mcloud.clouds.ports import Candles, Control, Heartbeat
from mcloud.documents import OTHER_TEXTS, Count, Damaged, Kind, Matching, Parsed, encode, sound
from mcloud.errors import McloudError
from mcloud.market.anomaly import (
    Anomaly,
    AnomalyKind,
    Minute,
    Thresholds,
    detect,
    is_complete,
    minute,
)
from mcloud.market.candle import MINUTE, parse_timestamp, to_timestamp
from mcloud.market.indicators import signed_text
from mcloud.market.trade import MAX_TIME, SYMBOL
from mcloud.processor.log import log


def _finite(text: str) -> None:
    try:
        is_finite = Decimal(text).is_finite()
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not is_finite:
        raise ValueError(text)


Timestamp = Annotated[str, Parsed(parse_timestamp, "a minute such as 2024-08-08T23:54:00Z")]
Number = Annotated[str, Parsed(_finite, "a decimal number")]


@dataclass(frozen=True)
class AnomalyRecord:
    """The stored form of an ``Anomaly``, with the same fields. Numbers are canonical texts."""

    timestamp: Timestamp
    symbol: Annotated[str, Matching(SYMBOL, "a symbol")]
    kind: Annotated[AnomalyKind, OTHER_TEXTS]
    value: Number
    usual: Number
    change: Number
    score: Number
    trades: Count
    complete: bool

    @classmethod
    def of(cls, anomaly: Anomaly) -> "AnomalyRecord":
        return cls(
            anomaly.timestamp,
            anomaly.symbol,
            anomaly.kind,
            signed_text(anomaly.value),
            signed_text(anomaly.usual),
            signed_text(anomaly.change),
            signed_text(anomaly.score),
            anomaly.trades,
            anomaly.complete,
        )

    @property
    def anomaly(self) -> Anomaly:
        return Anomaly(
            self.symbol,
            parse_timestamp(self.timestamp),
            self.kind,
            Decimal(self.value),
            Decimal(self.usual),
            Decimal(self.change),
            Decimal(self.score),
            self.trades,
            self.complete,
        )


@dataclass(frozen=True)
class ListedAnomaly(AnomalyRecord):
    """An anomaly in the list of `mcloud anomalies`."""

    sites: tuple[str, ...]
    """Names of the sites that have it."""


@dataclass(frozen=True)
class Watched:
    until: Timestamp
    """The minutes of the symbol before this time have been checked."""


ANOMALIES = Kind("anomaly", AnomalyRecord)
UNTOLD_ANOMALIES = Kind("anomaly-untold", AnomalyRecord)
WATCHES = Kind("anomaly-watch", Watched)
KIND, WATCH, UNTOLD = ANOMALIES.name, WATCHES.name, UNTOLD_ANOMALIES.name
"""Kinds of the documents: anomalies, the position of each symbol, and anomalies to be sent."""

KEPT = 7 * 86_400_000  # ms before the newest anomaly
OVERLAP = 3 * MINUTE
"""Time that is checked again, in ms, because a minute may be incomplete and trades may arrive late.
Minutes that are proven to be complete are not read again."""
SETTLING = 600.0
"""Seconds for which gaps in the trade ids are read again. Messages that have waited in a queue are
processed in any order, so a check may see the newest minute before the hours in front of it."""
CATCH_UP = 24 * 60 * MINUTE
"""Longest time that is checked after a pause, in ms. `mcloud anomalies scan` checks any time."""
NOTED = 10 * MINUTE
"""Progress of a symbol, in ms, after which its position is stored. A repeated check is harmless."""
READS_AT_ONCE = 16
"""Number of symbols that are checked at the same time."""
AT_ONCE = 100
"""Maximum number of anomalies in a message. SNS limits a message to 256 KiB."""
CALM = 2
"""Number of further checks after a symbol's heartbeat stops changing, since it may be late."""


@dataclass(frozen=True)
class _Head:
    """Time in which the first check of a new symbol found no minutes. They may still arrive."""

    begin: int
    end: int
    seen: float
    """Time of that check, in seconds since 1970."""


@dataclass
class _WatchedSymbol:
    """The state that an instance keeps for a symbol."""

    minutes: list[Minute]
    noted: int
    """Stored position: the minutes before it have been checked. In ms since 1970."""
    beat: Heartbeat | None = None
    read_at: float = 0.0
    """Time of the last read, in seconds since 1970."""
    calm: int = 0
    """Number of checks since the symbol's heartbeat stopped changing."""
    kept: dict[str, Anomaly] = field(default_factory=dict)
    """Anomalies of the last minutes that are in the store."""
    gaps: dict[int, float] = field(default_factory=dict)
    """Minutes beside which trades are missing, each with the time at which a check first saw it."""
    head: _Head | None = None
    """Time before the first known minute; None if an earlier instance has checked it."""

    def note_gaps(self, since: int, now: float) -> None:
        found = [
            each.start
            for index, each in enumerate(self.minutes[:-1])
            if index and each.start >= since and not is_complete(self.minutes, index)
        ]
        self.gaps = {start: self.gaps.get(start, now) for start in found}

    def open_gaps(self, now: float) -> list[int]:
        """Return the minutes beside which trades may still arrive."""
        return [start for start, seen in self.gaps.items() if now - seen < SETTLING]


class AnomalyWatch:
    """The checks of one instance at one site. The symbols are those that its processor has seen."""

    def __init__(
        self,
        candles: Candles,
        control: Control,
        thresholds: Thresholds,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._candles = candles
        self._control = control
        self._thresholds = thresholds
        self._clock = clock
        self._symbols: dict[str, _WatchedSymbol] = {}
        self._noted: dict[str, int] | None = None
        self._counting = threading.Lock()
        self._read = 0

    def look(self, tell: Callable[[list[Anomaly]], None] | None = None) -> list[Anomaly]:
        """Check once, and return the anomalies that the store did not have yet.

        ``tell`` is called with them, and with those that an earlier check could not send, before
        the error of a symbol is raised. If ``tell`` raises, the next check sends them.

        Raises:
            McloudError: the error of the last symbol that failed. The other symbols are done.
        """
        self._read = 0
        fresh: list[Anomaly] = []
        failure: McloudError | None = None
        beats = sound(self._control.heartbeats())
        self._written_down()  # not by several threads at once
        # The function is billed for the time in which it waits for the store.
        with ThreadPoolExecutor(READS_AT_ONCE, thread_name_prefix="symbol") as pool:
            answers = list(pool.map(self._try_to_look_at, beats))
        for beat, answer in zip(beats, answers, strict=True):
            if isinstance(answer, McloudError):
                log("ERROR", "cannot check a symbol", symbol=beat.symbol, reason=str(answer))
                failure = answer
            else:
                fresh += answer
        log("INFO", "looked", symbols=len(beats), candles=self._read, anomalies=len(fresh))
        self._tell(tell)
        if failure is not None:
            raise failure
        return fresh

    def _tell(self, tell: Callable[[list[Anomaly]], None] | None) -> None:
        notes = self._control.kept(UNTOLD, limit=AT_ONCE)
        told = {key: UNTOLD_ANOMALIES.decode(key, each) for key, each in notes.items()}
        for key, each in told.items():
            if isinstance(each, Damaged):
                log("ERROR", "cannot read an anomaly", key=key, reason=str(each))
        untold = [each.anomaly for each in sound(told.values())]
        for anomaly in untold:
            log("WARNING", "anomaly", **logged(anomaly))
        if untold and tell is not None:
            tell(untold)
        for key, each in told.items():
            if not isinstance(each, Damaged):
                self._control.forget(UNTOLD, key)

    def _try_to_look_at(self, beat: Heartbeat) -> list[Anomaly] | McloudError:
        try:
            return self._look_at(beat)
        except McloudError as error:
            # The state of the symbol is dropped, so that the next check starts from the stored
            # position.
            known = self._symbols.pop(beat.symbol, None)
            if known is not None:
                self._written_down()[beat.symbol] = known.noted
            return error

    def _look_at(self, beat: Heartbeat) -> list[Anomaly]:
        known = self._symbols.get(beat.symbol)
        if known is not None:
            known.calm = known.calm + 1 if known.beat == beat else 0
            known.beat = beat
            if known.calm > CALM:
                return []
            newest = self._reached(known.minutes[-1].start)
            since = min([newest - OVERLAP, *known.open_gaps(self._clock())])
            if (head := known.head) and self._has_filled(head, beat.symbol):
                since = head.begin
                self._read_on(known, beat.symbol, since, since)
                known.head = _Head(since, known.minutes[0].start, self._clock())
            else:
                self._read_changes(known, beat.symbol, since)
        else:
            last = self._candles.last(beat.symbol)
            if last is None:
                return []
            noted = self._written_down().get(beat.symbol, 0)
            since = max(noted, self._reached(last.start) - CATCH_UP) - OVERLAP
            known = _WatchedSymbol([], noted, beat)
            begin = since - self._thresholds.reach
            self._read_on(known, beat.symbol, begin, begin)
            if not known.minutes:
                return []
            if not noted:
                known.head = _Head(begin, known.minutes[0].start, self._clock())
            self._symbols[beat.symbol] = known
        fresh = self._keep(known, detect(known.minutes, since, self._thresholds))
        known.note_gaps(since, self._clock())
        newest = self._reached(known.minutes[-1].start)
        # The next instance starts here, and has to read the same gaps again.
        reached = min([newest, *known.open_gaps(self._clock())])
        if reached >= known.noted + NOTED:
            self._control.keep(WATCH, beat.symbol, {"until": to_timestamp(reached)})
            known.noted = reached
        return fresh

    def _has_filled(self, head: _Head, symbol: str) -> bool:
        """Return whether minutes have arrived before those that the first check found."""
        if self._clock() - head.seen >= SETTLING:
            return False
        return any(each.has_trades for each in self._candles.range(symbol, head.begin, head.end))

    def _reached(self, newest: int) -> int:
        """Return the end of the minutes to check. A minute in the future does not hide current
        ones.
        """
        return min(newest, int(self._clock() * 1000))

    def _read_changes(self, known: _WatchedSymbol, symbol: str, since: int) -> None:
        """Update the minutes that may have changed."""
        last, oldest = known.minutes[-1], since - self._thresholds.reach
        unproven = _unproven(known.minutes, since)
        if unproven == last.start and last.start + MINUTE <= known.read_at * 1000:
            # The minute had ended, so it has probably not changed: its successor proves that.
            self._read_on(known, symbol, last.start + MINUTE, oldest)
            unproven = _unproven(known.minutes, since)
        if unproven <= last.start:
            self._read_on(known, symbol, unproven, oldest)

    def _read_on(self, known: _WatchedSymbol, symbol: str, since: int, oldest: int) -> None:
        """Update the minutes from ``since`` on, and drop those before ``oldest``."""
        known.read_at = self._clock()
        candles = self._candles.range(symbol, max(0, since), MAX_TIME)
        found = [minute(each) for each in candles if each.has_trades]
        with self._counting:
            self._read += len(found)
        minutes = [each for each in known.minutes if each.start < since] + found
        known.minutes = [each for each in minutes if each.start >= oldest]

    def _keep(self, known: _WatchedSymbol, found: list[Anomaly]) -> list[Anomaly]:
        fresh = []
        for anomaly in found:
            if known.kept.get(anomaly.key) == anomaly:
                continue
            document = encode(AnomalyRecord.of(anomaly))
            is_noted_now = self._control.add(UNTOLD, anomaly.key, document)
            if self._control.add(KIND, anomaly.key, document):
                fresh.append(anomaly)
            else:
                self._control.keep(KIND, anomaly.key, document)
                if is_noted_now:  # the anomaly was sent, unless a note says that it was not
                    self._control.forget(UNTOLD, anomaly.key)
            known.kept[anomaly.key] = anomaly
        # The keys of anomalies start with the minute.
        since = to_timestamp(max(0, known.minutes[-1].start - CATCH_UP))
        known.kept = {key: known.kept[key] for key in known.kept if key >= since}
        if fresh:
            self._forget(to_timestamp(max(0, fresh[-1].start - KEPT)))
        return fresh

    def _forget(self, until: str) -> None:
        """Delete some of the oldest anomalies. A call adds far fewer than it deletes."""
        for key in self._control.kept(KIND, limit=100):
            if key >= until:
                break
            self._control.forget(KIND, key)

    def _written_down(self) -> dict[str, int]:
        if self._noted is None:
            found = {
                symbol: WATCHES.decode(symbol, each)
                for symbol, each in self._control.kept(WATCH).items()
            }
            # If a position cannot be read, the last day is checked again: see ``CATCH_UP``.
            self._noted = {
                symbol: parse_timestamp(each.until)
                for symbol, each in found.items()
                if not isinstance(each, Damaged)
            }
        return self._noted


def _unproven(minutes: Sequence[Minute], since: int) -> int:
    """Return the start of the first minute from ``since`` on that may still get trades.

    The ids of a minute and of its neighbours prove that none is missing. The last one has no
    neighbour yet.
    """
    for index in range(bisect_left(minutes, since, key=attrgetter("start")), len(minutes)):
        if not is_complete(minutes, index):
            return minutes[index].start
    return since


def recent(control: Control, since: float) -> list[Anomaly]:
    """Return the stored anomalies of the minutes from ``since`` (seconds since 1970) on."""
    return [each.anomaly for each in sound(stored(control, since))]


def stored(control: Control, since: float) -> list[AnomalyRecord | Damaged]:
    """Return the stored documents of the same anomalies, including damaged ones."""
    # A key consists of the minute, a space and the rest, so this value sorts before all keys of
    # that minute.
    documents = control.kept(KIND, after=to_timestamp(max(0, int(since * 1000))))
    return [ANOMALIES.decode(key, each) for key, each in documents.items()]


def logged(anomaly: Anomaly) -> dict[str, str | int]:
    """Return the fields of the log line of an anomaly: those of its record, with the time renamed,
    because ``timestamp`` may be read as that of the line.
    """
    record = encode(AnomalyRecord.of(anomaly))
    return {"minute": record.pop("timestamp"), **record}


def headline(anomalies: Sequence[Anomaly]) -> str:
    """Return one line about all anomalies, in ASCII and below 100 characters, as SNS requires."""
    first = anomalies[0]
    text = f"mcloud: {first.kind} of {first.symbol} at {first.timestamp}"
    return f"{text} and {len(anomalies) - 1} more" if len(anomalies) > 1 else text
