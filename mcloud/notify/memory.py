"""What each channel was told last, so that nobody hears one thing twice."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from mcloud import best_effort, files
from mcloud.documents import Damaged, Time, read_file, set_aside
from mcloud.errors import McloudError
from mcloud.notify.event import FIRING, HAPPENED, Event, is_at_least

KEPT = 1000  # keys of a channel; the oldest are forgotten


@dataclass(frozen=True)
class Last:
    """The last that a channel was told of an event."""

    state: str
    severity: str
    happened: Time
    at: Time


class Memory:
    """Thread-safe. With a ``path`` it outlives the process.

    A damaged file counts as empty, and is set aside before it is replaced; one of a newer mcloud is
    never replaced.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        found = read_told(path) if path else None
        self.damaged = found if isinstance(found, Damaged) else None
        self._told: dict[str, dict[str, Last]] = {}
        if found is not None and not isinstance(found, Damaged):
            self._told = {channel: dict(keys) for channel, keys in found.items()}

    def is_news(self, channel: str, event: Event, repeat: float, now: float) -> bool:
        """False for what the channel has heard, until ``repeat`` seconds have passed.

        What has become more severe is news. What is resolved without having fired here is too: a
        process that started since then may say so.
        """
        with self._lock:
            last = self._told.get(channel, {}).get(event.key)
        if last is None or last.state != event.state:
            return True
        if event.state == HAPPENED:
            return last.happened != event.at
        if event.state == FIRING:
            # A clock that was set back must not silence anything for longer.
            is_due = not 0 <= now - last.at < repeat
            return is_due or not is_at_least(last.severity, event.severity)
        return False

    def note(self, channel: str, event: Event, now: float) -> None:
        """Remember that the channel has it; without its file only until the process ends."""
        with self._lock:
            told = self._told.setdefault(channel, {})
            told.pop(event.key, None)  # to the end: the dict is in the order of the last word
            told[event.key] = Last(event.state, event.severity, event.at, now)
            while len(told) > KEPT:
                del told[next(iter(told))]
            if self._path:
                best_effort.attempt(self._path, self._write)

    def _write(self) -> None:
        assert self._path is not None
        self._make_way(self._path)
        document = {
            channel: {key: asdict(last) for key, last in keys.items()}
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


def read_told(path: Path) -> Mapping[str, Mapping[str, Last]] | Damaged | None:
    """What each channel was told last, by key; None where there is no file."""
    return read_file(path, Mapping[str, Mapping[str, Last]])
