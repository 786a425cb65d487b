"""Small documents that all sites are to agree on: that the guards pause, what a site is owed.

Each carries how often it was written, and of several the one written most often counts. So a site
that was away brings nothing back that is over: nothing is deleted, a document says that it is over.
A site replaces only what it was seen to have, so that of two who write at once neither is lost.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.errors import Contention, Unavailable

Document = Mapping[str, Any]

ATTEMPTS = 12  # lost races after which something else is wrong

_COUNT = "written"


def read(sites: Mapping[str, Site], kind: str, seconds: float) -> dict[str, Document]:
    """The documents of a kind, by key, of those sites that answer.

    Raises:
        Unavailable: none does.
    """
    told, _ = _ask(sites, kind, seconds)
    return newest(list(told.values()))


def newest(told: "list[dict[str, Any]]") -> dict[str, Document]:
    """Of what several sites keep of a kind, what counts."""
    found: dict[str, Document] = {}
    for documents in told:
        for key, document in documents.items():
            if key not in found or _rank(document) > _rank(found[key]):
                found[key] = document
    return found


def write(
    sites: Mapping[str, Site],
    kind: str,
    key: str,
    change: Callable[[Document | None], Document],
    seconds: float,
) -> dict[str, str]:
    """Replace a document on every site that answers; returns those that did not, and why.

    Where somebody else writes at the same moment ``change`` is asked again, of what that made of
    the document, which may have ours in it already: to change it twice is to change it once.

    Raises:
        Unavailable: no site keeps it.
        Contention: every attempt lost its race.
    """
    away: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        # Those that did not answer are not waited for again.
        told, silent = _ask({n: each for n, each in sites.items() if n not in away}, kind, seconds)
        away |= silent
        before = newest(list(told.values())).get(key)
        document = {**change(before), _COUNT: int(before[_COUNT]) + 1 if before else 1}
        answers = gather(
            {n: _put(sites[n], kind, key, document, has.get(key)) for n, has in told.items()},
            seconds,
        )
        away |= {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
        if len(away) == len(sites):
            raise Unavailable(f"no site keeps the {kind}: {next(iter(away.values()))}")
        if all(answer is not False for answer in answers.values()):
            return away
    raise Contention(f"the {kind} of {key} changed under each of {ATTEMPTS} attempts")


def level(
    sites: Mapping[str, Site], kind: str, told: Mapping[str, dict[str, Any]], seconds: float
) -> None:
    """Give what counts to those of the sites that told something older; what fails, or has been
    replaced meanwhile, is for later."""
    counts = newest(list(told.values()))
    calls = {
        (name, key): _put(sites[name], kind, key, document, has.get(key))
        for name, has in told.items()
        for key, document in counts.items()
        if _rank(has.get(key)) < _rank(document)
    }
    if calls:
        gather(calls, seconds)


def _ask(
    sites: Mapping[str, Site], kind: str, seconds: float
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """What each site keeps of a kind, and why some do not tell."""
    answers = gather({n: partial(site.control.kept, kind) for n, site in sites.items()}, seconds)
    away = {n: str(each) for n, each in answers.items() if isinstance(each, Exception)}
    told = {n: each for n, each in answers.items() if not isinstance(each, Exception)}
    if not told:
        why = "; ".join(f"{name}: {reason}" for name, reason in away.items())
        raise Unavailable(f"no site tells what it keeps: {why}")
    return told, away


def _put(
    site: Site, kind: str, key: str, document: Document, before: Document | None
) -> Callable[[], bool]:
    """A write that is on condition that a site still keeps what it told."""
    if before is None:
        return lambda: site.control.add(kind, key, document)
    return lambda: site.control.replace(kind, key, document, before)


def _rank(document: Document | None) -> tuple[int, float]:
    return (0, 0.0) if document is None else (int(document[_COUNT]), float(document["at"]))
