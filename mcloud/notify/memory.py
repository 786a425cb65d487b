"""What each channel was told last, so that nobody hears one thing twice."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from mcloud import best_effort, files
from mcloud.notify.event import FIRING, HAPPENED, Event, is_at_least

KEPT = 1000  # keys of a channel; the oldest are forgotten


@dataclass(frozen=True)
class Told:
    """What a channel was told last about a key."""

    state: str
    severity: str
    happened: float
    """The event's own time, seconds since 1970."""
    at: float
    """When it was told, by the clock of this machine, seconds since 1970."""
    written: int = 0
    """Number of the record on the sites that says so; 0 while the sites have none. See
    ``ledger.Record``."""


def is_news(last: Told | None, event: Event, repeat: float, now: float) -> bool:
    """Return False for what was told already, until ``repeat`` seconds have passed.

    What has become more severe is news. What is resolved is news even where nothing says that it
    was told to fire: a process that started since then may say so.
    """
    if last is None or last.state != event.state:
        return True
    if event.state == HAPPENED:
        return last.happened != event.at and not event.is_once
    if event.state == FIRING:
        # A clock that was set back must not silence anything for longer.
        is_due = not 0 <= now - last.at < repeat
        return is_due or not is_at_least(last.severity, event.severity)
    return False


class Memory:
    """Thread-safe. With a ``path`` it outlives the process; a file that is damaged is empty."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        self._told: dict[str, dict[str, Told]] = _read(path) if path else {}

    def last(self, channel: str, key: str) -> Told | None:
        """Return what the channel was told last about a key, as far as this folder knows."""
        with self._lock:
            return self._told.get(channel, {}).get(key)

    def is_news(self, channel: str, event: Event, repeat: float, now: float) -> bool:
        """See the function ``is_news``."""
        return is_news(self.last(channel, event.key), event, repeat, now)

    def note(self, channel: str, event: Event, now: float) -> None:
        """Remember that the channel has it; without its file only until the process ends."""
        self.keep(channel, event.key, Told(event.state, event.severity, event.at, now))

    def keep(self, channel: str, key: str, told: Told) -> None:
        """Remember what the channel was told about a key, as ``note`` does."""
        with self._lock:
            known = self._told.setdefault(channel, {})
            known.pop(key, None)  # to the end: the dict is in the order of the last word
            known[key] = told
            while len(known) > KEPT:
                del known[next(iter(known))]
            if self._path:
                text = json.dumps(_document(self._told))
                best_effort.attempt(self._path, partial(_write, self._path, text))


def _write(path: Path, text: str) -> None:
    files.make_private(path.parent)
    files.write(path, text)


def _document(told: dict[str, dict[str, Told]]) -> dict[str, Any]:
    return {
        channel: {key: asdict(each) for key, each in known.items()}
        for channel, known in told.items()
    }


def _read(path: Path) -> dict[str, dict[str, Told]]:
    """What is there, without what is damaged; an earlier version wrote no ``written``."""
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    found: dict[str, dict[str, Told]] = {}
    for channel, known in document.items() if isinstance(document, dict) else ():
        for key, each in known.items() if isinstance(known, dict) else ():
            told = _told(each)
            if told is not None:
                found.setdefault(channel, {})[key] = told
    return found


def _told(document: Any) -> Told | None:
    try:
        told = Told(**document)
    except TypeError:
        return None
    is_text = isinstance(told.state, str) and isinstance(told.severity, str)
    numbers = (told.happened, told.at, told.written)
    return told if is_text and all(type(each) in (int, float) for each in numbers) else None
