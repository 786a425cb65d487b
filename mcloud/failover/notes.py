"""Small documents that all sites are to agree on: that the guards pause, what a site is owed.

Each carries how often it was written, and of several the one written most often counts. So a site
that was away brings nothing back that is over: nothing is deleted, a document says that it is over.
A site replaces only what it was seen to have, so that of two who write at once neither is lost.
A document that is damaged on a site does not count and is not replaced there.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Any, TypeVar

from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.documents import Between, Damaged, Kind, Time
from mcloud.errors import Contention, McloudError, Unavailable

ATTEMPTS = 12  # lost races after which something else is wrong
MOST = 2**53
"""Writes that are counted. Of two notes that were written more often, the later one counts."""


@dataclass(frozen=True, kw_only=True)
class Note:
    at: Time
    """When it was written, seconds since 1970."""
    written: Annotated[int, Between(0, MOST)] = 0
    """How often it was written; set by ``write``."""

    @property
    def rank(self) -> tuple[int, float]:
        """The highest counts."""
        return self.written, self.at


AnyNote = TypeVar("AnyNote", bound=Note)


def read(sites: Mapping[str, Site], kind: Kind[AnyNote], seconds: float) -> dict[str, AnyNote]:
    """The documents of a kind, by key, of those sites that answer.

    Raises:
        Unavailable: none does.
    """
    told, _ = _ask(sites, kind, seconds)
    return newest(kind, told.values())


def newest(kind: Kind[AnyNote], told: Iterable[Mapping[str, object]]) -> dict[str, AnyNote]:
    """Of what several sites keep of a kind, what counts."""
    found: dict[str, AnyNote] = {}
    for documents in told:
        for key, document in documents.items():
            note = kind.decode(key, document)
            if isinstance(note, Damaged):
                continue
            if key not in found or note.rank > found[key].rank:
                found[key] = note
    return found


def write(
    sites: Mapping[str, Site],
    kind: Kind[AnyNote],
    key: str,
    change: Callable[[AnyNote | None], AnyNote],
    seconds: float,
) -> dict[str, str]:
    """Replace a document on every site that answers; returns those that did not, and why.

    Where somebody else writes at the same moment ``change`` is asked again, of what that made of
    the document, which may have ours in it already: to change it twice is to change it once.

    Raises:
        Unavailable: no site keeps it.
        McloudError: the document is damaged on every site that answers, and stays as it is.
        Contention: every attempt lost its race.
    """
    away: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        # Those that did not answer are not waited for again.
        told, silent = _ask({n: each for n, each in sites.items() if n not in away}, kind, seconds)
        away |= silent
        bad = {n: each for n, has in told.items() if (each := _damage(kind, key, has))}
        away |= {n: str(each) for n, each in bad.items()}
        if len(bad) == len(told):
            why = "; ".join(f"{name}: {each}" for name, each in bad.items())
            raise McloudError(f"no site can keep the {kind.name} {key}: {why}")
        before = newest(kind, told.values()).get(key)
        note = replace(change(before), written=min(before.written + 1, MOST) if before else 1)
        answers = gather(
            {
                n: _put(sites[n], kind, key, asdict(note), has.get(key))
                for n, has in told.items()
                if n not in bad
            },
            seconds,
        )
        away |= {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
        if len(away) == len(sites):
            raise Unavailable(f"no site keeps the {kind.name} {key}: {next(iter(away.values()))}")
        if all(answer is not False for answer in answers.values()):
            return away
    raise Contention(f"the {kind.name} {key} changed under each of {ATTEMPTS} attempts")


def level(
    sites: Mapping[str, Site],
    kind: Kind[AnyNote],
    told: Mapping[str, Mapping[str, Any]],
    seconds: float,
) -> None:
    """Give what counts to those of the sites that told something older; what fails, or has been
    replaced meanwhile, is for later."""
    counts = newest(kind, told.values())
    calls = {
        (name, key): _put(sites[name], kind, key, asdict(note), has.get(key))
        for name, has in told.items()
        for key, note in counts.items()
        if _is_older(kind, key, has, note)
    }
    if calls:
        gather(calls, seconds)


def _is_older(kind: Kind[AnyNote], key: str, has: Mapping[str, Any], note: AnyNote) -> bool:
    if key not in has:
        return True
    mine = kind.decode(key, has[key])
    return not isinstance(mine, Damaged) and mine.rank < note.rank


def _damage(kind: Kind[AnyNote], key: str, has: Mapping[str, Any]) -> Damaged | None:
    found = kind.decode(key, has[key]) if key in has else None
    return found if isinstance(found, Damaged) else None


def _ask(
    sites: Mapping[str, Site], kind: Kind[AnyNote], seconds: float
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each site keeps of a kind, and why some do not tell."""
    calls = {n: partial(site.control.kept, kind.name) for n, site in sites.items()}
    answers = gather(calls, seconds)
    away = {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
    told = {n: each for n, each in answers.items() if not isinstance(each, Exception)}
    if not told:
        why = "; ".join(f"{name}: {reason}" for name, reason in away.items())
        raise Unavailable(f"no site tells what it keeps: {why}")
    return told, away


def _put(
    site: Site,
    kind: Kind[AnyNote],
    key: str,
    document: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> Callable[[], bool]:
    """A write that is on condition that a site still keeps what it told."""
    if before is None:
        return lambda: site.control.add(kind.name, key, document)
    return lambda: site.control.replace(kind.name, key, document, before)
