"""Looks at new candles on a schedule and keeps what is out of line in the site's control store.

What a look costs, for a symbol that trades: one query of about five candles, and an instance's
first look one of ``Thresholds.reach`` more. A symbol that is silent costs nothing beyond two
queries: of all heartbeats, and of what is not told yet.

What is found is told at least once: a note that it is to be told is in the store before the anomaly
is, and goes only when it was told. What stopped in between is told by the next look.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

from mcloud.clouds.ports import Candles, Control, Heartbeat
from mcloud.documents import Count, Damaged, Kind, Matching, Parsed, sound
from mcloud.errors import McloudError
from mcloud.market.anomaly import Anomaly, Minute, Thresholds, detect, minute
from mcloud.market.candle import MINUTE, parse_timestamp, to_timestamp
from mcloud.market.trade import MAX_TIME, SYMBOL
from mcloud.processor.log import log

Timestamp = Annotated[str, Parsed(parse_timestamp, "a minute such as 2024-08-08T23:54:00Z")]


@dataclass(frozen=True)
class AnomalyRecord:
    """An anomaly as it is stored; the fields are those of ``Anomaly``."""

    symbol: Annotated[str, Matching(SYMBOL, "a symbol")]
    timestamp: Timestamp
    kind: str
    value: Decimal
    usual: Decimal
    change: Decimal
    score: Decimal
    trades: Count
    complete: bool

    @property
    def anomaly(self) -> Anomaly:
        return Anomaly.from_record(vars(self))


@dataclass(frozen=True)
class Watched:
    until: Timestamp
    """The symbol's minutes before this were looked at."""


ANOMALIES = Kind("anomaly", AnomalyRecord)
UNTOLD_ANOMALIES = Kind("anomaly-untold", AnomalyRecord)
WATCHES = Kind("anomaly-watch", Watched)
KIND, WATCH, UNTOLD = ANOMALIES.name, WATCHES.name, UNTOLD_ANOMALIES.name
"""Of the documents: anomalies, up to where each symbol was looked at, and what is to be told."""

KEPT = 7 * 86_400_000  # ms before the newest
OVERLAP = 3 * MINUTE
"""Looked at again: a minute fills up, and trades come late."""
CATCH_UP = 24 * 60 * MINUTE
"""At most, after an absence; `mcloud anomalies scan` looks at any time."""
NOTED = 10 * MINUTE
"""How far a symbol gets on before that is written down: what is looked at twice does no harm."""
AT_ONCE = 100
"""Anomalies that are told in one message, which SNS wants below 256 KiB."""
CALM = 2
"""Looks at a symbol after the last one that found its heartbeat changed: that may be late."""


@dataclass
class _Symbol:
    """What an instance remembers of one."""

    minutes: list[Minute]
    noted: int
    """Up to where it was looked at, as it is written down; ms."""
    beat: Heartbeat | None = None
    calm: int = 0
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The documents of the last minutes, as they are in the store."""


class AnomalyWatch:
    """The looks of one instance at one site. The symbols are those that its processor has had."""

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
        self._symbols: dict[str, _Symbol] = {}
        self._noted: dict[str, int] | None = None
        self._read = 0

    def look(self, tell: Callable[[list[Anomaly]], None] | None = None) -> list[Anomaly]:
        """Look once, and return the anomalies that the store did not have yet.

        ``tell`` is told of them before that of a symbol is raised, and of those that an earlier
        look could not tell. Those that it raises at are told by the next look.

        Raises:
            McloudError: what stopped it at the last symbol that failed; the others are done.
        """
        self._read = 0
        fresh: list[Anomaly] = []
        failure: McloudError | None = None
        beats = sound(self._control.heartbeats())
        for beat in beats:
            try:
                fresh += self._look_at(beat)
            except McloudError as error:
                # Forgotten, so that the next look begins with what was written down last.
                known = self._symbols.pop(beat.symbol, None)
                if known is not None:
                    self._written_down()[beat.symbol] = known.noted
                log("ERROR", "cannot look at a symbol", symbol=beat.symbol, reason=str(error))
                failure = error
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

    def _look_at(self, beat: Heartbeat) -> list[Anomaly]:
        known = self._symbols.get(beat.symbol)
        if known is not None:
            known.calm = known.calm + 1 if known.beat == beat else 0
            known.beat = beat
            if known.calm > CALM:
                return []
            since = self._reached(known.minutes[-1].start) - OVERLAP
            self._read_on(known, beat.symbol, since, since - self._thresholds.reach)
        else:
            newest = self._candles.last(beat.symbol)
            if newest is None:
                return []
            noted = self._written_down().get(beat.symbol, 0)
            since = max(noted, self._reached(newest.start) - CATCH_UP) - OVERLAP
            known = _Symbol([], noted, beat)
            begin = since - self._thresholds.reach
            self._read_on(known, beat.symbol, begin, begin)
            if not known.minutes:
                return []
            self._symbols[beat.symbol] = known
        fresh = self._keep(known, detect(known.minutes, since, self._thresholds))
        reached = self._reached(known.minutes[-1].start)
        if reached >= known.noted + NOTED:
            self._control.keep(WATCH, beat.symbol, {"until": to_timestamp(reached)})
            known.noted = reached
        return fresh

    def _reached(self, newest: int) -> int:
        """Up to where minutes are looked at: one with a time to come does not hide those of now."""
        return min(newest, int(self._clock() * 1000))

    def _read_on(self, known: _Symbol, symbol: str, since: int, oldest: int) -> None:
        """Bring the minutes from ``since`` on up to date, and let those before ``oldest`` go."""
        candles = self._candles.range(symbol, max(0, since), MAX_TIME)
        found = [minute(each) for each in candles if each.has_trades]
        self._read += len(found)
        minutes = [each for each in known.minutes if each.start < since] + found
        known.minutes = [each for each in minutes if each.start >= oldest]

    def _keep(self, known: _Symbol, found: list[Anomaly]) -> list[Anomaly]:
        fresh = []
        for anomaly in found:
            document = anomaly.to_record()
            if known.kept.get(anomaly.key) == document:
                continue
            is_noted_now = self._control.add(UNTOLD, anomaly.key, document)
            if self._control.add(KIND, anomaly.key, document):
                fresh.append(anomaly)
            else:
                self._control.keep(KIND, anomaly.key, document)
                if is_noted_now:  # it was told; a note that was there says that it was not
                    self._control.forget(UNTOLD, anomaly.key)
            known.kept[anomaly.key] = document
        # Their keys begin with the minute.
        since = to_timestamp(max(0, known.minutes[-1].start - CATCH_UP))
        known.kept = {key: known.kept[key] for key in known.kept if key >= since}
        if fresh:
            self._forget(to_timestamp(max(0, fresh[-1].start - KEPT)))
        return fresh

    def _forget(self, until: str) -> None:
        """Some of the oldest: as many as come are far fewer."""
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
            # Of one that cannot be read, a day of minutes is looked at again: see ``CATCH_UP``.
            self._noted = {
                symbol: parse_timestamp(each.until)
                for symbol, each in found.items()
                if not isinstance(each, Damaged)
            }
        return self._noted


def recent(control: Control, since: float) -> list[Anomaly]:
    """The anomalies that a site keeps of the minutes from ``since`` (seconds since 1970) on."""
    return [each.anomaly for each in sound(stored(control, since))]


def stored(control: Control, since: float) -> list[AnomalyRecord | Damaged]:
    """Return the same as documents, damaged ones included."""
    # A key begins with the minute, and a space follows it: this comes before all of that minute.
    documents = control.kept(KIND, after=to_timestamp(max(0, int(since * 1000))))
    return [ANOMALIES.decode(key, each) for key, each in documents.items()]


def logged(anomaly: Anomaly) -> dict[str, Any]:
    """Its record, the time under another name: a ``timestamp`` may be taken for the line's own."""
    record = anomaly.to_record()
    return {"minute": record.pop("timestamp"), **record}


def headline(anomalies: Sequence[Anomaly]) -> str:
    """One line for all of them, in ASCII and below 100 characters, as SNS wants a subject."""
    first = anomalies[0]
    text = f"mcloud: {first.kind} of {first.symbol} at {first.timestamp}"
    return f"{text} and {len(anomalies) - 1} more" if len(anomalies) > 1 else text
