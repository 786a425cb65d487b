"""The last event sent through each channel, so that no event is sent twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Annotated

from mcloud import best_effort, files
from mcloud.documents import OTHER_TEXTS, Count, Damaged, Time, read_file, set_aside
from mcloud.errors import McloudError
from mcloud.notify.event import FIRING, HAPPENED, Event, EventState, Severity, is_at_least

KEPT = 1000  # number of keys of a channel; the oldest are dropped


@dataclass(frozen=True)
class SentEvent:
    """The last event of a key that a channel sent."""

    state: Annotated[EventState, OTHER_TEXTS]
    severity: Annotated[Severity, OTHER_TEXTS]
    happened: Time
    """Time of the event, in seconds since 1970."""
    at: Time
    """Time when it was sent, by the clock of this machine, in seconds since 1970."""
    written: Count = 0
    """Number of writes of the record on the sites, or 0 if they have none. See
    ``ledger.LedgerRecord``.
    """


def is_news(last: SentEvent | None, event: Event, repeat: float, now: float) -> bool:
    """Return whether to send an event. It is False for an event that was sent before, except for a
    firing event after ``repeat`` seconds.

    A higher severity counts as news. So does a resolution, even without a record of the firing
    event, because another process may have sent that.
    """
    if last is None or last.state != event.state:
        return True
    if event.state == HAPPENED:
        return last.happened != event.at and not event.is_once
    if event.state == FIRING:
        # A clock that was set back must not delay the next sending.
        is_due = not 0 <= now - last.at < repeat
        return is_due or not is_at_least(last.severity, event.severity)
    return False


class SentMemory:
    """The last events by channel and key. Thread-safe. With a ``path``, it outlives the process.

    A damaged file counts as empty, and is set aside before it is replaced. A file of a newer mcloud
    is never replaced.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        found = read_told(path) if path else None
        self.damaged = found if isinstance(found, Damaged) else None
        self._told: dict[str, dict[str, SentEvent]] = {}
        if found is not None and not isinstance(found, Damaged):
            self._told = {channel: dict(keys) for channel, keys in found.items()}

    def last(self, channel: str, key: str) -> SentEvent | None:
        """Return the last event of a key that the channel was sent, as far as this folder knows."""
        with self._lock:
            return self._told.get(channel, {}).get(key)

    def is_news(self, channel: str, event: Event, repeat: float, now: float) -> bool:
        """Return whether the channel should send an event, as the function ``is_news`` does."""
        return is_news(self.last(channel, event.key), event, repeat, now)

    def note(self, channel: str, event: Event, now: float) -> None:
        """Remember that the channel was sent an event. Without a file, this lasts as long as the
        process.
        """
        self.keep(channel, event.key, SentEvent(event.state, event.severity, event.at, now))

    def keep(self, channel: str, key: str, told: SentEvent) -> None:
        """Remember the last event of a key, as ``note`` does."""
        with self._lock:
            known = self._told.setdefault(channel, {})
            # moved to the end, because the dict is in the order of the last event
            known.pop(key, None)
            known[key] = told
            while len(known) > KEPT:
                del known[next(iter(known))]
            if self._path:
                best_effort.attempt(self._path, self._write)

    def _write(self) -> None:
        assert self._path is not None
        self._make_way(self._path)
        document = {
            channel: {key: asdict(told) for key, told in keys.items()}
            for channel, keys in self._told.items()
        }
        files.make_private(self._path.parent)
        files.write(self._path, json.dumps(document))

    def _make_way(self, path: Path) -> None:
        if self.damaged is None:
            return
        if self.damaged.is_newer:
            raise McloudError(f"not remembered: {self.damaged}")
        set_aside(path)
        self.damaged = None


def read_told(path: Path) -> Mapping[str, Mapping[str, SentEvent]] | Damaged | None:
    """Return the last events by channel and key, or None if there is no file."""
    return read_file(path, Mapping[str, Mapping[str, SentEvent]])
