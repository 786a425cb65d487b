"""The record of sent events, kept on the sites, so that only one of several watchers sends an
event.

A watcher writes a claim before it sends the event, on the condition that no other watcher has
written since it read the record. After sending, it notes that the event was sent. A watcher that
finds a claim waits, and takes it over after ``LEASE`` seconds without a result. Every event is
therefore sent at least once, and usually only once. A site that does not answer delays an event for
a few seconds. If no site answers, every watcher sends the event, because a repeated event is better
than none.

Two sites have no majority. All watchers write their claims in the order of the names of the sites,
so that the first site that two watchers can both reach decides between them. A site that was away
has an older record: the record with the most writes counts, as in ``failover.shared_notes``. While
a site is away, a record counts as a record of the current event only if the two are close in time,
because the missing site may know that the alert was resolved in between.

Nothing is read or written for an event that this folder knows to be sent; see ``memory``.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Annotated, TypeVar

from mcloud.clouds.ports import Site
from mcloud.deadline import Asker
from mcloud.documents import (
    OTHER_TEXTS,
    VERSION,
    Between,
    Damaged,
    Kind,
    Matching,
    StoredDocument,
    Time,
    encode,
)
from mcloud.notify.event import FIRING, HAPPENED, RESOLVED, Event, EventState, Severity
from mcloud.notify.memory import SentEvent, is_news

KIND = "alert-sent"

DEADLINE = 5.0  # seconds for the answers of all sites
LEASE = 90.0  # seconds; longer than a notifier keeps trying to send an event
AWAY = 60.0  # seconds for which a site that did not answer is not contacted again
# maximum seconds between the events of two watchers about the same incident, which have different
# intervals and metrics
TOGETHER = 600.0
KEPT = 30 * 86_400.0  # seconds after which a record is deleted
CLEANING = 86_400.0  # seconds between two deletions of old records
LONGEST = 300  # maximum number of characters of a key

_log = logging.getLogger(__name__)

Value = TypeVar("Value")


@dataclass(frozen=True)
class LedgerRecord:
    """The last event of a key that a channel has sent or is sending."""

    state: Annotated[
        EventState, OTHER_TEXTS, Matching(f"{FIRING}|{RESOLVED}|{HAPPENED}", "a state of an event")
    ]
    severity: Annotated[Severity, OTHER_TEXTS]
    happened: Time
    """Time of the event, in seconds since 1970."""
    by: str
    """The process that sends or has sent the event. Empty if it failed."""
    claimed: Time
    """Start of the sending, by the sender's clock."""
    sent: Time | None
    """Time of success, by the sender's clock. None before that."""
    written: Annotated[int, Between(1, 2**53 - 1)]
    """Number of writes of the document. The copy with the most writes is the valid one."""
    version: Annotated[int, Between(VERSION, VERSION)] = VERSION


RECORDS = Kind(KIND, LedgerRecord)
Copies = Mapping[str, StoredDocument[LedgerRecord] | None]
"""The document that each site has under one key, by site; None if it has none."""


@dataclass(frozen=True)
class Claim:
    """The right to send an event, with the sites that store it."""

    key: str
    record: LedgerRecord
    sites: tuple[str, ...]
    """Sites that store the claim. Empty if none does, in which case every watcher sends."""


class NotClaimed(Enum):
    """Reasons why this process must not send an event."""

    BUSY = "another process is sending it: try again"
    NOTHING = "it is resolved, and its start was never sent"


class EventLedger:
    """Stores the records on the sites. Thread-safe. It never raises: a failed site counts as
    away.
    """

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
        """``folder`` is the name of the folder that some events are about. ``by`` identifies
        this process.
        """
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
        """Monotonic time until which a site is not contacted, by site."""
        self._claims: dict[str, tuple[str, float, float]] = {}
        """By key: the claiming process, the time of its claim, and when this process first saw
        it.
        """
        self._lost: dict[str, float] = {}
        """By key, the time since which every write has lost to another one."""
        self._cleaned = -math.inf

    def claim(
        self,
        channel: str,
        event: Event,
        repeat: float,
        last: SentEvent | None,
        *,
        was_silenced: bool = False,
    ) -> Claim | SentEvent | NotClaimed:
        """Return a claim if this process should send the event, or else the reason not to send it.

        Args:
            repeat: seconds after which a firing alert is sent again.
            last: the last event sent according to this folder, which lets the new event through.
            was_silenced: whether the firing event that this one resolves was silenced here.
        """
        key = self._key(channel, event)
        copies = self._read(key)
        best, now = _newest(copies), self._clock()
        if best is not None and best.sent is None and self._is_under_way(key, best):
            return NotClaimed.BUSY
        known = _known(best, last, now)
        is_complete = len(copies) == len(self._sites) and not any(
            each is not None and isinstance(each.value, Damaged) for each in copies.values()
        )
        if known is not None and not is_news(known, event, repeat, now):
            since = best.sent if best and best.sent is not None else known.at
            if is_complete or event.state == HAPPENED or event.at - since <= TOGETHER:
                return known
        is_unheard = event.state == RESOLVED and best is None and last is None
        if is_unheard and (is_complete or was_silenced):
            return NotClaimed.NOTHING
        written = max(best.written if best else 0, last.written if last else 0) + 1
        record = LedgerRecord(event.state, event.severity, event.at, self._by, now, None, written)
        kept: list[str] = []
        for name, copy in sorted(_writable(copies).items()):
            took = self._put(key, record, {name: copy})
            if took.get(name) is False:
                if self._may_win(key):
                    return NotClaimed.BUSY
                self._overwrite(key, record, name)
            kept += took
        with self._lock:
            self._lost.pop(key, None)
        return Claim(key, record, tuple(kept))

    def confirm(self, claim: Claim) -> SentEvent:
        """Note that the claimed event was sent. Return the entry for the memory of this folder."""
        now = self._clock()
        record = replace(claim.record, sent=now, written=claim.record.written + 1)
        is_noted = self._replace(claim, record)
        self._forget_old()
        written = record.written if is_noted else 0
        return SentEvent(record.state, record.severity, record.happened, now, written)

    def give_up(self, claim: Claim) -> None:
        """Note that the claimed event was not sent, so that another watcher may try."""
        self._replace(claim, replace(claim.record, by="", written=claim.record.written + 1))

    def share(self, channel: str, event: Event, last: SentEvent) -> SentEvent:
        """Copy an event that only this folder knows as sent to the sites. Return the new entry.

        This happens after an upgrade, and if no site was reachable when the event was sent.
        """
        key = self._key(channel, event)
        copies = self._read(key)
        best = _newest(copies)
        if best is not None and best.sent is not None and best.sent >= last.at:
            return replace(last, written=best.written)
        if not copies or (best is not None and best.sent is None and self._is_under_way(key, best)):
            return last
        written = (best.written if best else 0) + 1
        record = LedgerRecord(
            last.state, last.severity, last.happened, self._by, last.at, last.at, written
        )
        is_kept = any(self._put(key, record, _writable(copies)).values())
        return replace(last, written=written if is_kept else 0)

    def _key(self, channel: str, event: Event) -> str:
        """Return the key of the record. It is the same for a channel's name and an event's key
        on every watcher.
        """
        name = " ".join((channel, *([self._folder] if event.is_of_folder else []), event.key))
        text = re.sub("[^A-Za-z0-9 ._-]", lambda found: f":{ord(found[0]):x}:", name)
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST - 65]} {sha256(text.encode()).hexdigest()}"

    def _read(self, key: str) -> Copies:
        """Return the documents of the sites that answer."""

        def get(site: Site) -> StoredDocument[LedgerRecord] | None:
            document = site.control.get(KIND, key)
            return None if document is None else RECORDS.read(key, document)

        return self._ask({n: partial(get, site) for n, site in self._there().items()})

    def _put(self, key: str, record: LedgerRecord, copies: Copies) -> dict[str, bool]:
        """Write a record to each site whose document is still the one that was read. The values are
        False for sites with a different document.
        """

        def put(site: Site, copy: StoredDocument[LedgerRecord] | None) -> bool:
            document = encode(record)
            if copy is None:
                return site.control.add(KIND, key, document)
            if copy.usable is None:
                site.control.keep(KIND, key, document)
                return True
            return site.control.replace(KIND, key, document, copy.document)

        return self._ask({n: partial(put, self._sites[n], copy) for n, copy in copies.items()})

    def _may_win(self, key: str) -> bool:
        """Note that a conditional write failed. Return whether a concurrent write can be the cause.

        It is not the cause if writes have failed for longer than a lease. Someone may have edited
        the document in such a way that no conditional write can succeed.
        """
        now = self._monotonic()
        with self._lock:
            return now - self._lost.setdefault(key, now) < LEASE

    def _overwrite(self, key: str, record: LedgerRecord, name: str) -> None:
        control = self._sites[name].control
        self._ask({name: lambda: control.keep(KIND, key, encode(record))})

    def _replace(self, claim: Claim, record: LedgerRecord) -> bool:
        """Write the result of a claim. Return False if no site stores it."""
        copy = StoredDocument(encode(claim.record), claim.record)
        return any(self._put(claim.key, record, dict.fromkeys(claim.sites, copy)).values())

    def _ask(self, calls: Mapping[str, Callable[[], Value]]) -> dict[str, Value]:
        """Return the answers. A site without one is not contacted for a while."""
        found: dict[str, Value] = {}
        for name, answer in self._asker.gather(calls, self._deadline).items():
            if not isinstance(answer, Exception):
                found[name] = answer
                continue
            self._log.warning("%s could not store what was sent: %s", name, answer)
            with self._lock:
                self._away[name] = self._monotonic() + AWAY
        return found

    def _there(self) -> dict[str, Site]:
        with self._lock:
            now = self._monotonic()
            return {n: site for n, site in self._sites.items() if self._away.get(n, now) <= now}

    def _is_under_way(self, key: str, record: LedgerRecord) -> bool:
        """Return whether another process may still be sending the event.

        The time is measured from when this process first saw the claim, since the clock of the
        claiming process may be wrong.
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
        """Delete old records, once a day."""
        with self._lock:
            now = self._monotonic()
            if now - self._cleaned < CLEANING:
                return
            self._cleaned = now
            self._claims.clear()
        until = self._clock() - KEPT

        def clean(site: Site) -> None:
            for key, document in site.control.kept(KIND).items():
                record = RECORDS.decode(key, document)
                if isinstance(record, LedgerRecord) and (record.sent or record.claimed) < until:
                    site.control.forget(KIND, key)

        self._ask({n: partial(clean, site) for n, site in self._there().items()})


def _writable(copies: Copies) -> Copies:
    """Return the copies without the documents of a newer version, which are left alone."""
    return {name: each for name, each in copies.items() if each is None or not each.is_newer}


def _newest(copies: Copies) -> LedgerRecord | None:
    found = [each.usable for each in copies.values() if each is not None]
    records = [record for record in found if record is not None]
    # Of two concurrent claims, choose the one that the other process may be about to carry out.
    return max(records, key=lambda record: (record.written, record.claimed), default=None)


def _known(best: LedgerRecord | None, last: SentEvent | None, now: float) -> SentEvent | None:
    """Return the last event that was sent, from the records of the sites and of this folder."""
    if best is None:
        return last
    if last is not None and last.written > best.written:
        return last  # the site with the newer record is away
    if best.sent is None:
        return None  # sending began, and it is unknown whether it succeeded
    if last is not None and last.written in (0, best.written):
        is_same = (last.state, last.happened) == (best.state, best.happened)
        # Sites that were apart may have counted two records equally. The later one counts.
        if (is_same and last.written) or (not is_same and last.at > best.sent):
            return last
    # The sender's clock may be ahead.
    at = min(best.sent, now)
    return SentEvent(best.state, best.severity, best.happened, at, best.written)
