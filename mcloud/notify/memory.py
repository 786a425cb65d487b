"""What each channel was told last, so that nobody hears one thing twice."""

import json
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from mcloud import best_effort, files
from mcloud.notify.event import FIRING, HAPPENED, Event, is_at_least

KEPT = 1000  # keys of a channel; the oldest are forgotten


class Memory:
    """Thread-safe. With a ``path`` it outlives the process; a file that is damaged is empty."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        self._told: dict[str, dict[str, dict[str, Any]]] = _read(path) if path else {}

    def is_news(self, channel: str, event: Event, repeat: float, now: float) -> bool:
        """False for what the channel has heard, until ``repeat`` seconds have passed.

        What has become more severe is news. What is resolved without having fired here is too: a
        process that started since then may say so.
        """
        with self._lock:
            last = self._told.get(channel, {}).get(event.key)
        if last is None or last["state"] != event.state:
            return True
        if event.state == HAPPENED:
            return bool(last["happened"] != event.at)
        if event.state == FIRING:
            # A clock that was set back must not silence anything for longer.
            is_due = not 0 <= now - last["at"] < repeat
            return is_due or not is_at_least(last["severity"], event.severity)
        return False

    def note(self, channel: str, event: Event, now: float) -> None:
        """Remember that the channel has it; without its file only until the process ends."""
        with self._lock:
            told = self._told.setdefault(channel, {})
            told.pop(event.key, None)  # to the end: the dict is in the order of the last word
            told[event.key] = {
                "state": event.state,
                "severity": event.severity,
                "happened": event.at,
                "at": now,
            }
            while len(told) > KEPT:
                del told[next(iter(told))]
            if self._path:
                best_effort.attempt(self._path, partial(_write, self._path, json.dumps(self._told)))


def _write(path: Path, text: str) -> None:
    files.make_private(path.parent)
    files.write(path, text)


def _read(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(document, dict) and all(
        isinstance(each, dict) and {"state", "severity", "happened", "at"} <= each.keys()
        for channel in document.values()
        for each in (channel.values() if isinstance(channel, dict) else [None])
    )
    return document if is_ours else {}
