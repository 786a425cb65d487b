"""Small documents that all sites are to agree on: that the guards pause, what a site is owed.

Each carries how often it was written, and of several the one written most often counts. So a site
that was away brings nothing back that is over: nothing is deleted, a document says that it is over.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mcloud.clouds.ports import Site
from mcloud.deadline import gather
from mcloud.errors import Unavailable

Document = Mapping[str, Any]

_COUNT = "written"


def read(sites: Mapping[str, Site], kind: str, seconds: float) -> dict[str, Document]:
    """The documents of a kind, by key, of those sites that answer.

    Raises:
        Unavailable: none does.
    """
    answers = gather({n: partial(site.control.kept, kind) for n, site in sites.items()}, seconds)
    told = [each for each in answers.values() if not isinstance(each, Exception)]
    if not told:
        why = "; ".join(f"{name}: {answer}" for name, answer in answers.items())
        raise Unavailable(f"no site tells what it keeps: {why}")
    return newest(told)


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

    Raises:
        Unavailable: no site keeps it.
    """
    before = read(sites, kind, seconds).get(key)
    document = {**change(before), _COUNT: int(before[_COUNT]) + 1 if before else 1}
    answers = gather(
        {n: partial(site.control.keep, kind, key, document) for n, site in sites.items()}, seconds
    )
    away = {name: str(each) for name, each in answers.items() if isinstance(each, Exception)}
    if len(away) == len(sites):
        raise Unavailable(f"no site keeps the {kind}: {next(iter(away.values()))}")
    return away


def level(
    sites: Mapping[str, Site], kind: str, told: Mapping[str, dict[str, Any]], seconds: float
) -> None:
    """Give what counts to those of the sites that told something older; what fails is for later."""
    counts = newest(list(told.values()))
    calls = {
        (name, key): partial(sites[name].control.keep, kind, key, document)
        for name, has in told.items()
        for key, document in counts.items()
        if _rank(has.get(key)) < _rank(document)
    }
    if calls:
        gather(calls, seconds)


def _rank(document: Document | None) -> tuple[int, float]:
    return (0, 0.0) if document is None else (int(document[_COUNT]), float(document["at"]))
