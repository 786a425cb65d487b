"""The record of what was sent, kept on the sites, so that one of several watchers sends an event.

A watcher writes a claim before it sends the event, on the condition that no other watcher has
written since it read, and writes afterwards that the event was sent. A watcher that finds a claim
waits, and takes the claim over after ``LEASE`` seconds without a result. So every event is sent at
least once, and once in the usual case. A site that does not answer delays an event for a few
seconds. Where no site answers, every watcher sends, because twice is better than never.

Two sites have no majority. All watchers write their claims in the order of the names of the sites,
so that the first site both can reach decides between two of them. A site that was away has an older
record: the record with the most writes counts, as in ``mcloud.failover.notes``. While a site is
away, a record counts as a record of the event at hand only if the two are close in time: the
missing site may know that the alert was resolved in between.

Nothing is read or written for an event that this folder knows to be sent; see ``memory``.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, TypeVar

from mcloud.clouds.ports import Site
from mcloud.deadline import Asker
from mcloud.documents import VERSION, Between, Damaged, Kind, Matching, Time
from mcloud.notify.event import FIRING, HAPPENED, RESOLVED, Event
from mcloud.notify.memory import Told, is_news

KIND = "alert-sent"

DEADLINE = 5.0  # seconds for the answers of all sites
LEASE = 90.0  # seconds; longer than a notifier tries to get an event through
AWAY = 60.0  # seconds for which a site that did not answer is not asked again
TOGETHER = 600.0  # seconds between two watchers that see one thing: their intervals, and metrics
KEPT = 30 * 86_400.0  # seconds after which a record is forgotten
CLEANING = 86_400.0  # seconds between two looks for such records
LONGEST = 300  # characters of a key

_log = logging.getLogger(__name__)

Value = TypeVar("Value")


class Unreadable(Enum):
    """Why a document says nothing."""

    DAMAGED = "damaged"
    NEWER = "written by a newer version of mcloud"


@dataclass(frozen=True)
class Record:
    """What a channel was sent about a key, or is being sent just now."""

    state: Annotated[str, Matching(f"{FIRING}|{RESOLVED}|{HAPPENED}", "a state of an event")]
    severity: str
    happened: Time
    """The event's own time, seconds since 1970."""
    by: str
    """The process that sends or has sent it; empty where it gave up."""
    claimed: Time
    """When it began, by its own clock."""
    sent: Time | None
    """When it got through, by its own clock; None before that."""
    written: Annotated[int, Between(1, 2**53 - 1)]
    """How often the document was written: of several the highest counts."""
    version: Annotated[int, Between(VERSION, VERSION)] = VERSION

    @classmethod
    def read(cls, document: Any) -> "Record | Unreadable":
        return read_document(RECORDS, "", document)


RECORDS = Kind(KIND, Record)


def read_document(kind: Kind[Value], key: str, document: Any) -> Value | Unreadable:
    """Decode a document of which only the reason matters why it cannot be used."""
    found = kind.decode(key, document)
    if isinstance(found, Damaged):
        return Unreadable.NEWER if found.is_newer else Unreadable.DAMAGED
    return found


@dataclass(frozen=True)
class Claim:
    """The right to send an event, and where it is written down."""

    key: str
    record: Record
    sites: tuple[str, ...]
    """Sites that keep it; empty where none does, and everybody sends."""


class Answer(Enum):
    BUSY = "somebody else is sending it: ask again"
    NOTHING = "it is resolved, and nobody was told that it fired"


@dataclass(frozen=True)
class _Copy:
    """What a site has under a key."""

    document: Any
    record: Record | Unreadable | None
    """None where it has nothing."""


class Ledger:
    """Thread-safe, and raises nothing: a site that fails is one that does not answer."""

    def __init__(
        self,
        sites: Mapping[str, Site],
        folder: str,
        by: str,
        *,
        log: logging.Logger = _log,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``folder`` names the folder that some events are about, ``by`` this process."""
        self._sites = sites
        self._folder = folder
        self._by = by
        self._log = log
        self._deadline = deadline
        self._clock = clock
        self._monotonic = monotonic
        self._asker: Asker[str] = Asker()
        self._lock = threading.Lock()
        self._away: dict[str, float] = {}
        """Until when a site is not asked."""
        self._claims: dict[str, tuple[str, float, float]] = {}
        """By key: who claimed it and when, and when this process saw that first."""
        self._lost: dict[str, float] = {}
        """By key: since when every write has found that somebody else was first."""
        self._cleaned = -math.inf

    def claim(
        self,
        channel: str,
        event: Event,
        repeat: float,
        last: Told | None,
        *,
        was_silenced: bool = False,
    ) -> Claim | Told | Answer:
        """Return a claim where this process is to send an event, or what was told already.

        Args:
            repeat: seconds after which what still fires is told again.
            last: what this folder knows to be told, which lets the event through.
            was_silenced: True where the event that this one ends was silenced here.
        """
        key = self._key(channel, event)
        copies = self._read(key)
        best, now = _newest(copies), self._clock()
        if best is not None and best.sent is None and self._is_under_way(key, best):
            return Answer.BUSY
        known = _known(best, last, now)
        is_complete = len(copies) == len(self._sites) and not any(
            isinstance(each.record, Unreadable) for each in copies.values()
        )
        if known is not None and not is_news(known, event, repeat, now):
            since = best.sent if best and best.sent is not None else known.at
            if is_complete or event.state == HAPPENED or event.at - since <= TOGETHER:
                return known
        is_unheard = event.state == RESOLVED and best is None and last is None
        if is_unheard and (is_complete or was_silenced):
            return Answer.NOTHING
        written = max(best.written if best else 0, last.written if last else 0) + 1
        record = Record(event.state, event.severity, event.at, self._by, now, None, written)
        kept: list[str] = []
        for name in sorted(copies):
            if copies[name].record is Unreadable.NEWER:
                continue
            took = self._put(key, record, {name: copies[name]})
            if took.get(name) is False:
                if self._may_win(key):
                    return Answer.BUSY
                self._overwrite(key, record, name)
            kept += took
        with self._lock:
            self._lost.pop(key, None)
        return Claim(key, record, tuple(kept))

    def confirm(self, claim: Claim) -> Told:
        """Note that what was claimed has got through; returns what is to be remembered here."""
        now = self._clock()
        record = replace(claim.record, sent=now, written=claim.record.written + 1)
        is_noted = self._replace(claim, record)
        self._forget_old()
        written = record.written if is_noted else 0
        return Told(record.state, record.severity, record.happened, now, written)

    def give_up(self, claim: Claim) -> None:
        """Note that what was claimed did not get through, so that somebody else may try."""
        self._replace(claim, replace(claim.record, by="", written=claim.record.written + 1))

    def share(self, channel: str, event: Event, last: Told) -> Told:
        """Have the sites keep what this folder alone knows to be told; returns what is known then.

        That is so after an upgrade, and where no site could be reached when it was sent.
        """
        key = self._key(channel, event)
        copies = self._read(key)
        best = _newest(copies)
        if best is not None and best.sent is not None and best.sent >= last.at:
            return replace(last, written=best.written)
        if not copies or (best is not None and best.sent is None and self._is_under_way(key, best)):
            return last
        written = (best.written if best else 0) + 1
        record = Record(
            last.state, last.severity, last.happened, self._by, last.at, last.at, written
        )
        ours = {n: c for n, c in copies.items() if c.record is not Unreadable.NEWER}
        return replace(last, written=written if any(self._put(key, record, ours).values()) else 0)

    def _key(self, channel: str, event: Event) -> str:
        """One name is one channel, and one key one story, wherever the watcher runs."""
        name = " ".join((channel, *([self._folder] if event.is_of_folder else []), event.key))
        text = re.sub("[^A-Za-z0-9 ._-]", lambda found: f":{ord(found[0]):x}:", name)
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST - 65]} {sha256(text.encode()).hexdigest()}"

    def _read(self, key: str) -> dict[str, _Copy]:
        """What those sites have that answer."""

        def get(site: Site) -> _Copy:
            document = site.control.get(KIND, key)
            return _Copy(document, None if document is None else Record.read(document))

        return self._ask({n: partial(get, site) for n, site in self._there().items()})

    def _put(self, key: str, record: Record, copies: Mapping[str, _Copy]) -> dict[str, bool]:
        """Write a record where a site still has what it told; False where it has something else."""

        def put(site: Site, copy: _Copy) -> bool:
            document = asdict(record)
            if copy.document is None:
                return site.control.add(KIND, key, document)
            if copy.record is Unreadable.DAMAGED:
                site.control.keep(KIND, key, document)
                return True
            return site.control.replace(KIND, key, document, copy.document)

        return self._ask({n: partial(put, self._sites[n], copy) for n, copy in copies.items()})

    def _may_win(self, key: str) -> bool:
        """Note that somebody else was first; False where that goes on for too long to be true.

        A document that was edited may be such that no write finds it as it was read.
        """
        now = self._monotonic()
        with self._lock:
            return now - self._lost.setdefault(key, now) < LEASE

    def _overwrite(self, key: str, record: Record, name: str) -> None:
        control = self._sites[name].control
        self._ask({name: lambda: control.keep(KIND, key, asdict(record))})

    def _replace(self, claim: Claim, record: Record) -> bool:
        """Write what became of a claim; False where no site keeps it."""
        copy = _Copy(asdict(claim.record), claim.record)
        return any(self._put(claim.key, record, dict.fromkeys(claim.sites, copy)).values())

    def _ask(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """The answers; a site without one is not asked for a while."""
        answers = self._asker.gather(calls, self._deadline)
        failed = {n: each for n, each in answers.items() if isinstance(each, Exception)}
        for name, error in failed.items():
            self._log.warning("%s does not keep what is sent: %s", name, error)
            with self._lock:
                self._away[name] = self._monotonic() + AWAY
        return {n: each for n, each in answers.items() if n not in failed}

    def _there(self) -> dict[str, Site]:
        with self._lock:
            now = self._monotonic()
            return {n: site for n, site in self._sites.items() if self._away.get(n, now) <= now}

    def _is_under_way(self, key: str, record: Record) -> bool:
        """True while somebody else may still be sending it.

        That is measured from when this process saw the claim first: the clock of the one that
        made it may be wrong.
        """
        if record.by in ("", self._by):
            return False
        now = self._monotonic()
        with self._lock:
            by, claimed, seen = self._claims.get(key, ("", 0.0, 0.0))
            if (by, claimed) != (record.by, record.claimed):
                self._claims[key] = (record.by, record.claimed, now)
                return True
            return now - seen < LEASE

    def _forget_old(self) -> None:
        """Forget records of long ago, once a day."""
        with self._lock:
            now = self._monotonic()
            if now - self._cleaned < CLEANING:
                return
            self._cleaned = now
            self._claims.clear()
        until = self._clock() - KEPT

        def clean(site: Site) -> None:
            for key, document in site.control.kept(KIND).items():
                record = Record.read(document)
                if isinstance(record, Record) and (record.sent or record.claimed) < until:
                    site.control.forget(KIND, key)

        self._ask({n: partial(clean, site) for n, site in self._there().items()})


def _newest(copies: Mapping[str, _Copy]) -> Record | None:
    records = [each.record for each in copies.values() if isinstance(each.record, Record)]
    # Of two claims at once, the one that somebody else may be about to carry out.
    return max(records, key=lambda record: (record.written, record.claimed), default=None)


def _known(best: Record | None, last: Told | None, now: float) -> Told | None:
    """What was told last, out of what the sites and this folder know."""
    if best is None:
        return last
    if last is not None and last.written > best.written:
        return last  # the site that has the newer record is away
    if best.sent is None:
        return None  # it was begun, and nobody knows that it got through
    if last is not None and last.written in (0, best.written):
        is_same = (last.state, last.happened) == (best.state, best.happened)
        # Sites that were apart may have counted two records alike: the later one counts.
        if (is_same and last.written) or (not is_same and last.at > best.sent):
            return last
    # The sender's clock may be ahead.
    at = min(best.sent, now)
    return Told(best.state, best.severity, best.happened, at, best.written)
