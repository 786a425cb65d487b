"""The memory of the monitor: the last values of some figures of each site, and all changes."""

import re
from collections import deque

from mcloud.clouds.ports import ControlRecord
from mcloud.observing.problems import problems
from mcloud.observing.snapshot import EventKind, MonitorEvent, SiteSnapshot, SiteTrends, Snapshot

KEPT = 240  # values of a figure
EVENTS = 200
OLDEST = 86_400.0  # seconds; trades that were older when they were processed are of a replay


class SiteMemory:
    """The last values of a site. Each is kept once, however often it is seen."""

    def __init__(self) -> None:
        self._series: dict[str, deque[tuple[float, float | None]]] = {
            name: deque(maxlen=KEPT) for name in ("rate", "lag", "latency", "price")
        }
        self._counted: tuple[float, dict[str, int]] | None = None
        """Time of the last heartbeat, and the number of trades of each symbol until then."""

    def add(self, site: SiteSnapshot) -> SiteTrends:
        """Remember the values of a snapshot, and return all that are remembered."""
        self._add_heartbeats(site)
        probes = [each for each in site.health.values() if each.at is not None]
        if probes:
            slowest = max(each.took for each in probes)
            self._keep("latency", max(each.at or 0.0 for each in probes), _or_gap(site, slowest))
        last = site.last.last if site.last else None
        if last is not None and site.recent.at is not None:
            self._keep("price", site.recent.at, float(last.close))
        return SiteTrends(**{name: tuple(values) for name, values in self._series.items()})

    def _add_heartbeats(self, site: SiteSnapshot) -> None:
        beats = site.heartbeats.value
        if not beats:
            return
        newest = max(beats, key=lambda beat: beat.at)
        trades = {beat.symbol: beat.trades for beat in beats}
        if self._counted is not None and newest.at > self._counted[0]:
            at, before = self._counted
            # All trades of a symbol that is seen for the first time were not processed just now,
            # and a heartbeat that was repaired may count fewer trades.
            new = sum(max(0, count - before.get(symbol, count)) for symbol, count in trades.items())
            self._keep("rate", newest.at, new / (newest.at - at))
        if self._counted is None or newest.at > self._counted[0]:
            self._counted = newest.at, trades
        lag = newest.at - newest.last_trade_time / 1000
        if lag < OLDEST:
            self._keep("lag", newest.at, max(0.0, lag))

    def _keep(self, name: str, at: float, value: float | None) -> None:
        series = self._series[name]
        if not series or series[-1][0] != at:
            series.append((at, value))


class EventLog:
    """Changes from one snapshot to the next: problems that begin and end, and moves."""

    def __init__(self) -> None:
        self._events: deque[MonitorEvent] = deque(maxlen=EVENTS)
        self._open: dict[str, str] = {}
        """Messages of the problems of the last snapshot, by their words without numbers."""
        self._leading: ControlRecord | None = None

    def add(self, snapshot: Snapshot) -> tuple[MonitorEvent, ...]:
        """Remember what has changed since the last snapshot, and return all events, the oldest
        first.
        """
        now = {_words(each.message): each.message for each in problems(snapshot)}
        for words, message in now.items():
            if words not in self._open:
                self._note(snapshot, "began", message)
        for words, message in self._open.items():
            if words not in now:
                self._note(snapshot, "ended", message)
        self._open = now
        record = snapshot.leading
        if record is not None:
            # A record that is older than one before is not news: a guard may have read it earlier.
            if self._leading is not None and record.rank > self._leading.rank:
                why = f": {record.reason}" if record.reason else ""
                self._note(snapshot, "moved", f"{record.primary} leads, by {record.by}{why}")
            if self._leading is None or record.rank > self._leading.rank:
                self._leading = record
        return tuple(self._events)

    def _note(self, snapshot: Snapshot, kind: EventKind, text: str) -> None:
        self._events.append(MonitorEvent(snapshot.at, kind, text))


def _or_gap(site: SiteSnapshot, value: float) -> float | None:
    """Return None for a site that is down: a refusal is quick, and no latency."""
    return None if site.down else value


def _words(message: str) -> str:
    return re.sub(r"(?<![\w-])[\d.,]+( [a-z]+)?", "", message)
