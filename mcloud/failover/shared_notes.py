"""Small documents on which all sites should agree, such as a pause of the guards or a site's debt.

Each document counts its writes, and the copy with the most writes is the valid one. A site that was
away therefore cannot restore an old state: nothing is deleted, and a document contains the fact
that it is over. A document is replaced only if it is still the one that was read, so that neither
of two concurrent writes is lost. A copy that is damaged does not count and is not replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, TypeVar

from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.documents import Between, Damaged, Kind, StoredDocument, Time, encode
from mcloud.errors import Contention, McloudError, Unavailable

ATTEMPTS = 12  # number of lost races after which another cause is assumed
MOST = 2**53
"""Maximum of the write counter. Of two notes beyond it, the later one counts."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """A document that is stored on all sites."""

    at: Time
    """Time of the write, in seconds since 1970."""
    written: Annotated[int, Between(0, MOST)] = 0
    """Number of writes so far; set by ``write``."""

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key. The note with the highest one is valid."""
        return self.written, self.at


AnyNote = TypeVar("AnyNote", bound=Note)
Notes = Mapping[str, StoredDocument[AnyNote]]
"""Notes of one kind on one site, by key."""


def read(sites: Mapping[str, Site], kind: Kind[AnyNote], seconds: float) -> dict[str, AnyNote]:
    """Return the valid documents of a kind, by key, from the sites that answer.

    Raises:
        Unavailable: no site answers.
    """
    told, _ = _ask(sites, kind, seconds)
    return newest(told.values())


def newest(told: Iterable[Notes[AnyNote]]) -> dict[str, AnyNote]:
    """Return the valid notes, by key, from the documents of several sites."""
    return valid(
        {key: note for key, each in notes.items() if (note := each.usable) is not None}
        for notes in told
    )


def notes_of(site: Site, kind: Kind[AnyNote]) -> Notes[AnyNote]:
    """Return the notes of a kind on a site."""
    return kind.read_all(site.control.kept(kind.name))


def valid(told: Iterable[Mapping[str, AnyNote]]) -> dict[str, AnyNote]:
    """Return the valid notes, by key, from the copies of several sites."""
    found: dict[str, AnyNote] = {}
    for notes in told:
        for key, note in notes.items():
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
    """Replace a document on every site that answers. Return the sites that failed, and the reasons.

    After a concurrent write, ``change`` is called again with the result of that write, which may
    already include this change. ``change`` must therefore be idempotent.

    Raises:
        Unavailable: no site stores it.
        McloudError: the document is damaged on every site that answers, and stays as it is.
        Contention: every attempt lost its race.
    """
    away: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        # Do not wait again for sites that did not answer.
        told, silent = _ask({n: each for n, each in sites.items() if n not in away}, kind, seconds)
        away |= silent
        bad = {n: each for n, has in told.items() if (each := _damage(key, has))}
        away |= {n: str(each) for n, each in bad.items()}
        if len(bad) == len(told):
            why = "; ".join(f"{name}: {each}" for name, each in bad.items())
            raise McloudError(f"no site could store the {kind.name} {key}: {why}")
        before = newest(told.values()).get(key)
        note = replace(change(before), written=min(before.written + 1, MOST) if before else 1)
        answers = gather(
            {
                n: _put(sites[n], kind, key, note, has.get(key))
                for n, has in told.items()
                if n not in bad
            },
            seconds,
        )
        away |= {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
        if len(away) == len(sites):
            raise Unavailable(
                f"no site could store the {kind.name} {key}: {next(iter(away.values()))}"
            )
        if all(answer is not False for answer in answers.values()):
            return away
    raise Contention(f"the {kind.name} {key} changed under each of {ATTEMPTS} attempts")


def level(
    sites: Mapping[str, Site],
    kind: Kind[AnyNote],
    told: Mapping[str, Notes[AnyNote]],
    seconds: float,
) -> None:
    """Send the valid documents to the sites that returned older ones. Ignore failed writes and
    documents that have been replaced meanwhile; a later call repeats them.
    """
    counts = newest(told.values())
    calls = {
        (name, key): _put(sites[name], kind, key, note, has.get(key))
        for name, has in told.items()
        for key, note in counts.items()
        if _is_older(key, has, note)
    }
    if calls:
        gather(calls, seconds)


def _is_older(key: str, has: Notes[AnyNote], note: AnyNote) -> bool:
    if key not in has:
        return True
    mine = has[key].usable
    return mine is not None and mine.rank < note.rank


def _damage(key: str, has: Notes[AnyNote]) -> Damaged | None:
    found = has[key].value if key in has else None
    return found if isinstance(found, Damaged) else None


def _ask(
    sites: Mapping[str, Site], kind: Kind[AnyNote], seconds: float
) -> tuple[dict[str, Notes[AnyNote]], dict[str, str]]:
    """Return the documents of a kind on each site, and the reason for each site that fails."""
    calls = {n: partial(notes_of, site, kind) for n, site in sites.items()}
    answers = gather(calls, seconds)
    away = {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
    told = {n: each for n, each in answers.items() if not isinstance(each, Exception)}
    if not told:
        why = "; ".join(f"{name}: {reason}" for name, reason in away.items())
        raise Unavailable(f"no site could report its notes: {why}")
    return told, away


def _put(
    site: Site, kind: Kind[AnyNote], key: str, note: AnyNote, before: StoredDocument[AnyNote] | None
) -> Callable[[], bool]:
    """Return a write that succeeds only if the site still has the document ``before``."""
    document = encode(note)
    if before is None:
        return lambda: site.control.add(kind.name, key, document)
    return lambda: site.control.replace(kind.name, key, document, before.document)
