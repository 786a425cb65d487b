"""The anomalies that a producer has found, on their way to the sites.

Each site has a thread that stores them, and tries again for as long as the site is away. Those that
some site does not have yet are in a file of the run, so that the next run stores them. Neither the
file nor a site delays the trades: all writes are made by threads of this module.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from logging import Logger
from operator import attrgetter
from pathlib import Path

from mcloud import files
from mcloud.backoff import Backoff, Jitter
from mcloud.clock import Limit
from mcloud.clouds import anomalies
from mcloud.clouds.anomalies import AnomalyRecord
from mcloud.clouds.ports import Site
from mcloud.documents import Damaged, encode, read_file, set_aside
from mcloud.errors import McloudError
from mcloud.market.anomaly import Anomaly

FILE = "anomalies.json"
MOST = 1000
"""Maximum number of anomalies that wait. Beyond it, the oldest are dropped."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between two attempts to store
WRITE_PAUSE = 5.0  # seconds until the file is tried again, if the disk refused it
LAST_WRITE = 5.0  # seconds that the end of a run waits for the last write of the file
POLL = 0.05  # seconds between two checks whether everything is stored


@dataclass(frozen=True)
class WaitingAnomaly:
    """An anomaly that some sites do not have yet."""

    anomaly: AnomalyRecord
    sites: tuple[str, ...]
    """Names of these sites. They may include sites that the run does not send to."""


@dataclass(frozen=True)
class WaitingAnomalies:
    """The document in the file."""

    anomalies: tuple[WaitingAnomaly, ...] = ()


class Findings:
    """Stores the anomalies that are added, until it is closed. It is thread-safe."""

    def __init__(
        self,
        folder: Path,
        sites: Mapping[str, Site],
        log: Logger,
        *,
        silent: frozenset[str] = frozenset(),
        jitter: Jitter = random.uniform,
        pause: float = FIRST_PAUSE,
    ) -> None:
        """Continue with what an earlier run has left in ``folder``.

        Args:
            silent: sites on which nobody sends anomalies, so that they get no note to do so.
            pause: seconds until the second attempt to store an anomaly.
        """
        self._path = folder / FILE
        self._sites = dict(sites)
        self._silent = silent
        self._log = log
        self._changed = threading.Condition()
        self._waiting = self._read()
        """By key, oldest first."""
        self._failures: dict[str, str] = {}
        """Reason of the last failure of each site, until it succeeds."""
        self._version = self._written = 0
        """Number of changes, and of those that are in the file."""
        self._closed = False
        self._jitter = jitter
        self._pause = pause
        self._writer: threading.Thread | None = None
        """Thread that writes the file. Threads start with the first anomaly."""
        if self._waiting:
            self._start()

    def add(self, found: Anomaly) -> None:
        """Store an anomaly on all sites. Of two versions, the better-informed one waits."""
        with self._changed:
            if self._writer is None:
                self._start()
            record, sites = AnomalyRecord.of(found), tuple(self._sites)
            if before := self._waiting.pop(found.key, None):
                record = max(record, before.anomaly, key=attrgetter("rank"))
                sites = tuple(dict.fromkeys((*sites, *before.sites)))
            self._waiting[found.key] = WaitingAnomaly(record, sites)
            while len(self._waiting) > MOST:
                oldest = next(iter(self._waiting))
                left = self._waiting.pop(oldest)
                self._log.warning(
                    "dropped the anomaly %s, which %s did not store: more than %s are waiting",
                    *(oldest, " and ".join(left.sites), MOST),
                )
            self._note_change()

    def waiting(self) -> dict[str, int]:
        """Return the number of anomalies that wait for each site of this run, except zeros."""
        with self._changed:
            counts = {
                name: sum(name in each.sites for each in self._waiting.values())
                for name in self._sites
            }
        return {name: count for name, count in counts.items() if count}

    def wait(self, limit: Limit) -> None:
        """Wait until all sites have all anomalies, except for sites that fail, or until the
        limit.
        """
        while not limit.is_over:
            with self._changed:
                failing = set(self._failures)
            if not set(self.waiting()) - failing:
                return
            time.sleep(POLL)

    def close(self) -> None:
        """Stop storing. What waits is in the file."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._writer is not None:
            self._writer.join(LAST_WRITE)

    def _start(self) -> None:
        # The threads are daemons, because a call that hangs must not keep the process alive.
        self._writer = threading.Thread(target=self._write, name="findings", daemon=True)
        self._writer.start()
        for name, site in self._sites.items():
            backoff = Backoff(self._pause, LONGEST_PAUSE, self._jitter)
            threading.Thread(
                target=self._store, args=(name, site, backoff), name=f"findings-{name}", daemon=True
            ).start()

    def _note_change(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _store(self, name: str, site: Site, backoff: Backoff) -> None:
        while (key := self._next(name)) is not None:
            waiting = self._waiting.get(key)
            if waiting is None:  # it was dropped
                continue
            try:
                anomalies.store(
                    site.control, waiting.anomaly.anomaly, noted=name not in self._silent
                )
            except Exception as error:  # noqa: BLE001 - the trades must not suffer
                self._failed(name, error)
                backoff.failed()
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, backoff.pause())
            else:
                backoff.succeeded()
                self._succeeded(name, key, waiting)

    def _next(self, name: str) -> str | None:
        """Wait for an anomaly that a site does not have. Return its key, or None at the end."""

        def first() -> str | None:
            return next((key for key, each in self._waiting.items() if name in each.sites), None)

        with self._changed:
            self._changed.wait_for(lambda: self._closed or first() is not None)
            return None if self._closed else first()

    def _failed(self, name: str, error: Exception) -> None:
        reason = str(error)
        if not isinstance(error, McloudError):
            reason = repr(error)
        with self._changed:
            is_new = name not in self._failures
            self._failures[name] = reason
        if is_new:
            self._log.warning("%s does not store anomalies, which wait: %s", name, reason)

    def _succeeded(self, name: str, key: str, stored: WaitingAnomaly) -> None:
        with self._changed:
            if self._failures.pop(name, None) is not None:
                self._log.info("%s stores anomalies again", name)
            waiting = self._waiting.get(key)
            if waiting is None or waiting.anomaly != stored.anomaly:
                return  # there is a newer version
            sites = tuple(each for each in waiting.sites if each != name)
            if sites:
                self._waiting[key] = replace(waiting, sites=sites)
            else:
                del self._waiting[key]
            self._note_change()

    def _read(self) -> dict[str, WaitingAnomaly]:
        found = read_file(self._path, WaitingAnomalies)
        if isinstance(found, Damaged):
            self._log.warning(
                "%s, the anomalies that an earlier run has left, cannot be read, so they are lost:"
                " %s",
                *(self._path, found.what),
            )
            with suppress(McloudError):
                set_aside(self._path)
        if not isinstance(found, WaitingAnomalies):
            return {}
        return {each.anomaly.anomaly.key: each for each in found.anomalies}

    def _write(self) -> None:
        is_refused = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._version != self._written)
                if self._version == self._written:
                    return
                version, waiting = self._version, tuple(self._waiting.values())
                is_last = self._closed
            try:
                if waiting:
                    files.write(self._path, json.dumps(encode(WaitingAnomalies(waiting))))
                else:
                    self._path.unlink(missing_ok=True)
            except (McloudError, OSError) as error:
                if not is_refused:
                    self._log.warning("anomalies that wait would be lost at a crash: %s", error)
                is_refused = True
                if is_last:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, WRITE_PAUSE)
            else:
                is_refused = False
                with self._changed:
                    self._written = version
