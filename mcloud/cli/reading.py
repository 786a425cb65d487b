"""Reads of commands, without the sites that do not answer."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from mcloud.cli.session import Session
from mcloud.errors import McloudError, Unavailable

if TYPE_CHECKING:
    from mcloud.clouds.ports import Site

Result = TypeVar("Result")

LATE = 0.4  # seconds without an answer, after which the other sites are made ready


def read_one(
    session: Session, site: str | None, read: "Callable[[Site], Result]", *, wait: bool
) -> "tuple[Site, Result]":
    """Read from a site or, if none is named, from the first one that answers.

    Raises:
        McloudError: the site does not answer, or no site does.
    """
    sites = list(opened(session, site, wait=wait).values())
    failed: dict[str, str] = {}
    for number, each in enumerate(sites, 1):
        try:
            _make_ready([each])
            with _made_ready_if_late(sites[number:]):
                result = read(each)
        except Unavailable as error:
            failed[each.name] = error.message
            continue
        for name, why in failed.items():
            session.warn(f"{name} cannot be read: {why}; this is from {each.name}")
        return each, result
    raise _unread(failed, wait)


def _make_ready(sites: "Sequence[Site]") -> None:
    from mcloud.clouds.observation import prepare

    for site in sites:
        with suppress(McloudError):  # the read of the site reports it
            prepare(site, ("candles", "control"))


@contextmanager
def _made_ready_if_late(sites: "Sequence[Site]") -> "Iterator[None]":
    """Create the clients of these sites if a read of another one takes long. That one may not
    answer, and to load the SDK of another cloud takes about as long as to find that out.
    """
    timer = threading.Timer(LATE, _make_ready, [sites])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def read_rest(
    session: Session,
    site: str | None,
    read: "Callable[[Mapping[str, Site]], Result]",
    *,
    wait: bool,
) -> tuple[Result, dict[str, str]]:
    """Read from several sites together, without those that do not answer.

    Return the result, and the reasons of the sites that are left out.

    Raises:
        McloudError: no site answers.
    """
    if wait:
        return read(session.sites(site)), {}
    sites = session.readable_sites(site)
    failed: dict[str, str] = {}
    while True:
        there = {name: each for name, each in sites.items() if name not in failed}
        if not there:
            raise _unread(failed, wait)
        try:
            return read(there), failed
        except Unavailable:
            gone = {name: each.why_failed for name, each in there.items() if each.failed}
            if not gone:
                raise
            for name, why in gone.items():
                session.warn(f"{name} is left out: {why}")
            failed |= gone


def opened(session: Session, site: str | None, *, wait: bool) -> "Mapping[str, Site]":
    """Open the sites for a command that only reads. ``wait`` is for slow ones."""
    return session.sites(site) if wait else session.readable_sites(site)


def _unread(failed: Mapping[str, str], wait: bool) -> McloudError:
    why = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    who = "no site" if len(failed) > 1 else next(iter(failed), "the site")
    can = "can be read" if len(failed) > 1 else "cannot be read"
    remedy = "see `mcloud status`" if wait else "see `mcloud status`, or add --wait if it is slow"
    said = why if len(failed) > 1 else next(iter(failed.values()), "")
    return McloudError(f"{who} {can}: {said}", remedy=remedy)
