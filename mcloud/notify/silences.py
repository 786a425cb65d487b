"""Silences, kept on the sites: during a silence nobody is notified of a rule, a site or a symbol.

A silence is a document. It changes only once, when somebody ends it, and an ended copy on any site
counts. Sites that were apart therefore agree again, and a watcher that sees a difference writes the
missing documents. A silence holds back firing alerts, and never a resolution. Everything that shows
an alert also shows its silence.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Annotated, Final, Literal, TypeVar

from mcloud.clouds.ports import Site
from mcloud.deadline import Asker, gather
from mcloud.documents import OMITTED, VERSION, Between, Damaged, Kind, Matching, Time, encode
from mcloud.durations import utc
from mcloud.errors import Unavailable, UsageError, reason_of
from mcloud.notify.event import FIRING, Event

KIND = "silence"

Silenced = Literal["rule", "site", "symbol"]
RULE: Final = "rule"
SITE: Final = "site"
SYMBOL: Final = "symbol"

DEADLINE = 5.0  # seconds that all sites may take to answer a watcher
FIRST = 3.0  # factor of that for the first answers
# seconds that the sites may take to answer a command, which first creates the clients
PATIENCE = 15.0
FRESH = 30.0  # seconds after which the sites are read again before an event is held back
MOST = 30 * 86_400.0  # maximum seconds from beginning to end
AHEAD = 366 * 86_400.0  # maximum seconds from now to the beginning
KEPT = 7 * 86_400.0  # seconds that a silence is kept after its end
TEXT = 500  # maximum number of characters of a reason


@dataclass(frozen=True)
class Silence:
    what: Silenced
    name: Annotated[str, Matching(".+", "a name")]
    of: str
    """Restricts a rule's silence to a site, symbol or other part of the figure's path. May be
    empty.
    """
    why: str
    by: str
    at: Time
    """Time of creation, in seconds since 1970, as for the next two."""
    begin: Time
    end: Time
    over: bool = False
    """Whether somebody has ended the silence."""
    version: Annotated[int, Between(VERSION, VERSION)] = VERSION
    id: str = field(default="", metadata=OMITTED)
    """Key of the document."""

    @classmethod
    def read(cls, id_: str, document: object) -> "Silence | Damaged":
        """Decode a document that the sites keep. The silence is never longer than ``MOST``."""
        found = SILENCES.decode(id_, document)
        if isinstance(found, Damaged):
            return found
        return replace(found, id=id_, end=min(found.end, found.begin + MOST))

    @property
    def document(self) -> "Silence":
        """The silence as the sites keep it: without the id, which is the key there."""
        return replace(self, id="")

    def listed(self, now: float) -> "ListedSilence":
        """Return the silence with its state at a moment."""
        state: Literal["active", "planned", "over"] = "active"
        if self.over or self.end <= now:
            state = "over"
        elif self.is_planned(now):
            state = "planned"
        return ListedSilence(*(getattr(self, each.name) for each in fields(self)), state=state)

    def in_short(self) -> "SilenceInShort":
        """Return the silence in short, for display beside an alert that it covers."""
        return SilenceInShort(self.id, self.why, self.by, self.end)

    def is_active(self, now: float) -> bool:
        return not self.over and self.begin <= now < self.end

    def is_planned(self, now: float) -> bool:
        return not self.over and now < self.begin

    def covers(self, rule: str, figure: str) -> bool:
        """Return whether the silence covers a rule's figure. ``rule`` is empty for an event without
        one.

        A figure of a folder, such as a lost guard, is covered only by a silence of its rule.
        """
        parts = figure.split(".")
        if self.what == RULE:
            return self.name == rule and (not self.of or self.of in parts)
        if self.what == SYMBOL:
            return parts[0] in ("symbols", "sites") and self.name in parts[1:]
        return parts[0] == "sites" and (
            parts[1:2] == [self.name] or (parts[2:3] == ["replication"] and parts[3] == self.name)
        )


@dataclass(frozen=True, kw_only=True)
class ListedSilence(Silence):
    state: Literal["active", "planned", "over"]


@dataclass(frozen=True)
class SilenceInShort:
    id: str
    why: str
    by: str
    until: Time


SILENCES = Kind(KIND, Silence)
SiteSilences = Mapping[str, Silence | Damaged]
"""Silences on one site, by id."""
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class MergedSilences:
    """The silences on the sites."""

    silences: Mapping[str, Silence] = field(default_factory=dict)
    """Silences by id, including those that are over."""
    unreadable: Mapping[str, Damaged] = field(default_factory=dict)
    """Damaged documents by id. They silence nothing."""


def silences_of(site: Site) -> SiteSilences:
    """Return the silences on a site."""
    return {id_: Silence.read(id_, each) for id_, each in site.control.kept(KIND).items()}


def merged(told: Iterable[SiteSilences]) -> MergedSilences:
    """Merge the silences of several sites. A silence that is over on any site is over."""
    found: dict[str, Silence] = {}
    unreadable: dict[str, Damaged] = {}
    for silences in told:
        for id_, silence in silences.items():
            if isinstance(silence, Damaged):
                unreadable[id_] = silence
            elif id_ not in found or silence.over:
                found[id_] = silence
    return MergedSilences(found, {id_: why for id_, why in unreadable.items() if id_ not in found})


def read(
    sites: Mapping[str, Site], seconds: float = PATIENCE
) -> tuple[MergedSilences, dict[str, str]]:
    """Return the silences of the sites that answer, and the reasons of the others."""
    answers = gather({n: partial(silences_of, site) for n, site in sites.items()}, seconds)
    told = [each for each in answers.values() if not isinstance(each, Exception)]
    return merged(told), _failed(answers)


def read_any(sites: Mapping[str, Site]) -> tuple[MergedSilences, dict[str, str]]:
    """Read the silences as ``read`` does, but from at least one site.

    Raises:
        Unavailable: no site answers.
    """
    told, away = read(sites)
    if len(away) == len(sites):
        raise Unavailable(f"no site could report its silences: {next(iter(away.values()))}")
    return told, away


def keep_any(sites: Mapping[str, Site], silence: Silence, now: float) -> dict[str, str]:
    """Store a silence as ``keep`` does, but on at least one site, and delete old silences there.

    Raises:
        Unavailable: no site could store it.
    """
    away = keep(sites, silence)
    if len(away) == len(sites):
        raise Unavailable(f"no site could store the silence: {next(iter(away.values()))}")
    told, _ = read({name: site for name, site in sites.items() if name not in away})
    forget(sites, old(told, now))
    return away


def check_window(first: float, last: float, now: float) -> None:
    """Raise UsageError if a silence may not last from ``first`` to ``last`` (in seconds)."""
    if last <= max(first, now):
        raise UsageError(f"the silence would end at {utc(last)}, before it begins or in the past")
    if last - first > MOST:
        days = MOST / 86_400
        raise UsageError(f"a silence can last {days:.0f} days at most; add a new one when it ends")
    if first - now > AHEAD:
        raise UsageError(f"the silence would begin at {utc(first)}, more than a year ahead")


def keep(sites: Mapping[str, Site], silence: Silence, seconds: float = PATIENCE) -> dict[str, str]:
    """Store the current state of a silence on all sites. Return the sites that failed, and the
    reasons.
    """

    def write(site: Site) -> None:
        site.control.keep(KIND, silence.id, encode(silence.document))

    return _failed(gather({n: partial(write, site) for n, site in sites.items()}, seconds))


def forget(sites: Mapping[str, Site], ids: Iterable[str]) -> dict[str, str]:
    """Delete documents on all sites. Return the sites that failed, and the reasons."""
    chosen = list(ids)

    def delete(site: Site) -> None:
        for id_ in chosen:
            site.control.forget(KIND, id_)

    return _failed(gather({n: partial(delete, site) for n, site in sites.items()}, PATIENCE))


def old(told: MergedSilences, now: float) -> list[str]:
    """Return the ids of silences that ended so long ago that no site can still consider them
    active.
    """
    return [each.id for each in told.silences.values() if each.end + KEPT < now]


class Silences:
    """The silences that a watcher obeys. Thread-safe. It never raises.

    A silence that was seen applies until its end, even if no site answers any more. Setting the
    clock back does not extend a silence: its end is measured by the monotonic clock from when it
    was first seen, and its duration never exceeds its whole length.
    """

    def __init__(
        self,
        sites: Mapping[str, Site],
        *,
        not_before: float = 0.0,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``not_before`` is a time that has certainly passed, such as the last one of an earlier
        run.
        """
        self._sites = sites
        self._not_before = not_before
        self._deadline = deadline
        self._clock = clock
        self._monotonic = monotonic
        self._asker: Asker[str] = Asker()
        self._lock = threading.Lock()
        self._known: dict[str, Silence] = {}
        self._until: dict[str, float] = {}
        """Monotonic time of the end, by id."""
        self._asked: float | None = None

    def refresh(self) -> None:
        """Read the silences of the sites, and copy missing ones between them."""
        with self._lock:
            self._refresh()

    def covering(self, rule: str, figure: str) -> Silence | None:
        """Return the silence that ends last among those that cover a rule's figure now."""
        found = [each for each in self.active() if each.covers(rule, figure)]
        return max(found, key=lambda each: each.end, default=None)

    def holds_back(self, event: Event) -> bool:
        """Return whether an event must not be sent now."""
        if event.state != FIRING:
            return False
        with self._lock:
            if self._asked is None or self._monotonic() - self._asked > FRESH:
                self._refresh()
        return self.covering(event.rule, event.figure) is not None

    def active(self) -> list[Silence]:
        now, passed = self._clock(), self._monotonic()
        known = list(self._known.values())
        return [s for s in known if s.is_active(now) and passed < self._until.get(s.id, passed)]

    def _refresh(self) -> None:
        begun = self._monotonic()
        calls = {n: partial(silences_of, site) for n, site in self._sites.items()}
        # The first read also creates the clients. It waits longer, since an alert whose silence is
        # not known yet would be sent.
        patience = self._deadline if self._asked is not None else FIRST * self._deadline
        answers = self._asker.gather(calls, patience)
        there = {n: each for n, each in answers.items() if not isinstance(each, Exception)}
        if not there:
            return  # it is read again before another event is sent
        self._asked = begun
        now = max(self._clock(), self._not_before)
        told = merged(there.values()).silences
        for silence in told.values():
            left = silence.end - max(now, silence.at)
            self._until.setdefault(silence.id, begun + left)
        # A silence that no site has any more ended some time ago. A silence on a site that is away
        # still counts.
        away = self._known if len(there) < len(self._sites) else {}
        self._known = {**away, **told}
        self._until = {id_: until for id_, until in self._until.items() if id_ in self._known}
        self._level(there, told, now)

    def _level(
        self, there: Mapping[str, SiteSilences], told: Mapping[str, Silence], now: float
    ) -> None:
        for silence in told.values():
            lacking = {
                name: self._sites[name]
                for name, kept in there.items()
                if _may_replace(kept.get(silence.id), silence)
            }
            if lacking and silence.end > now:
                keep(lacking, silence, self._deadline)


def _may_replace(copy: Silence | Damaged | None, silence: Silence) -> bool:
    """Return whether a site's copy differs and may be replaced. A copy of a newer mcloud may
    not.
    """
    return copy != silence and not (isinstance(copy, Damaged) and copy.is_newer)


def _failed(answers: Mapping[str, Answer | Exception]) -> dict[str, str]:
    return {name: reason_of(each) for name, each in answers.items() if isinstance(each, Exception)}
