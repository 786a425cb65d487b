"""Simulated outages of a site of the embedded clouds, or of one of its services.

The outages are listed in one small file in the folder of the embedded clouds. The serving processes
check it on each request, so an outage lasts as planned even if the process that began it stops.
Requests fail inside the serving processes, so the site's own function is affected like its users.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from mcloud import files
from mcloud.clouds.ports import SERVICES
from mcloud.documents import OTHER_TEXTS, Damaged, read_file
from mcloud.errors import LocalError
from mcloud.lock import Lock

OutageKind = Literal["refuse", "hang", "slow", "throttle"]
HOWS: tuple[OutageKind, ...] = get_args(OutageKind)
SLOW = 2.0  # seconds that a slow service adds to a call
THROTTLED = 3
"""Number of requests in a row that a throttled service refuses, and then accepts. It is high enough
to affect a client, and lower than the number of attempts of a client that retries."""


@dataclass(frozen=True)
class Outage:
    site: str
    service: str | None
    """One of ``SERVICES``, or None for the whole site, including services not in ``SERVICES``."""
    how: Annotated[OutageKind, OTHER_TEXTS]
    since: float
    """Start, in seconds since the epoch."""
    until: float | None
    """End, in seconds since the epoch; None if the outage lasts until it is ended."""

    def __str__(self) -> str:
        """Return a phrase such as ``aws candles refuses``."""
        verb = {"refuse": "refuses", "hang": "hangs", "slow": "is slow", "throttle": "throttles"}
        return f"{self.site} {self.service or '(all of it)'} {verb[self.how]}"

    def covers(self, service: str | None) -> bool:
        return self.service is None or self.service == service

    def seconds_left(self, now: float) -> float | None:
        return None if self.until is None else max(0.0, self.until - now)

    def document(self, now: float) -> "OutageDocument":
        left = self.seconds_left(now)
        return OutageDocument(self.site, self.service, self.how, self.since, self.until, left)


@dataclass(frozen=True)
class OutageDocument:
    """An outage as JSON: see the fields of `Outage`."""

    site: str
    service: str | None
    how: OutageKind
    since: float
    until: float | None
    seconds_left: float | None


def begin(
    folder: Path,
    site: str,
    service: str | None,
    how: OutageKind,
    seconds: float | None,
    clock: Callable[[], float] = time.time,
) -> Outage:
    """Begin an outage. It replaces an existing one of the same site and service.

    Args:
        folder: The home folder of the embedded clouds.
        seconds: Duration of the outage; None means until ``end``.

    Raises:
        LocalError: the folder does not exist, or another process keeps it locked.
    """
    if how not in HOWS or (service is not None and service not in SERVICES):
        raise ValueError(f"no outage {how!r} of {service!r}")
    now = clock()
    outage = Outage(site, service, how, now, None if seconds is None else now + seconds)
    with _locked(folder):
        others = [
            each
            for each in _read(_path(folder), now)
            if (each.site, each.service) != (site, service)
        ]
        _write(folder, [*others, outage])
    return outage


def end(
    folder: Path,
    site: str | None = None,
    service: str | None = None,
    clock: Callable[[], float] = time.time,
) -> list[Outage]:
    """End the outages of a service, of a site or of all sites, and return the ended ones."""
    with _locked(folder):
        there = _read(_path(folder), clock())
        ended = [
            each for each in there if site in (None, each.site) and service in (None, each.service)
        ]
        _write(folder, [each for each in there if each not in ended])
    return ended


def active(folder: Path, clock: Callable[[], float] = time.time) -> list[Outage]:
    """Return the current outages, in the order in which they began."""
    return _read(_path(folder), clock())


class Outages:
    """The outages of one site, for a process that serves it. The check is cheap enough for every
    request."""

    def __init__(self, folder: Path, site: str, clock: Callable[[], float] = time.time) -> None:
        self._path = _path(folder)
        self._site = site
        self._clock = clock
        self._stamp: tuple[int, int] | None = None
        self._outages: list[Outage] = []
        self._requests: Counter[str | None] = Counter()

    def on(self, service: str | None) -> Outage | None:
        """Return the current outage of a service, or None. Pass None for any other service.

        An outage of the service itself has precedence over one of the whole site.
        """
        self._look()
        if not self._outages:
            return None
        now = self._clock()
        found = [
            each
            for each in self._outages
            if each.covers(service) and (each.until is None or now < each.until)
        ]
        return max(found, key=lambda each: each.service is not None, default=None)

    def stops(self, service: str) -> bool:
        """Return whether a service currently accepts and returns nothing."""
        outage = self.on(service)
        return outage is not None and outage.how in ("refuse", "hang")

    def throttles(self, service: str | None) -> bool:
        """Return whether a throttled service refuses this request. It decides by count, not at
        random."""
        self._requests[service] += 1
        return (self._requests[service] - 1) // THROTTLED % 2 == 0

    def _look(self) -> None:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            self._stamp, self._outages = None, []
            return
        # A replaced file has a new inode, even if both were written within one tick of the clock.
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            try:
                outages = _read(self._path, self._clock())
            except LocalError:
                outages = []  # `active` raises the error
            self._outages = [each for each in outages if each.site == self._site]
            self._stamp = stamp


def _path(folder: Path) -> Path:
    return folder / "outages.json"


def _read(path: Path, now: float) -> list[Outage]:
    outages = read_file(path, tuple[Outage, ...])
    if isinstance(outages, Damaged):
        raise LocalError(
            f"{outages.where} is damaged: {outages.what}",
            remedy="delete it: no outage is left then",
        )
    return [each for each in outages or () if each.until is None or now < each.until]


def _write(folder: Path, outages: list[Outage]) -> None:
    path = _path(folder)
    if outages:
        files.write(path, json.dumps([asdict(each) for each in outages]))
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Allow only one writer at a time to change the outages."""
    if not folder.is_dir():
        raise LocalError("there are no embedded clouds here", remedy="run `mcloud local up`")
    with Lock(folder / "outages.lock").held() as mine:
        if not mine:
            raise LocalError("another command changes the outages", remedy="try again")
        yield
