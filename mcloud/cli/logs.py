"""``mcloud logs``"""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import length_of_time
from mcloud.cli.session import Session, command
from mcloud.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcloud.log_search import FoundLogs, LogEntry, LogSources

LINES = 20
"""Number of lines without --since."""
LATELY = 3600.0  # seconds


def register(app: typer.Typer) -> None:
    command(app)(logs)


def logs(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(
            help="Site, or name of a process (`mcloud ps`). Default: all sites and processes."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Show all lines of this time, such as 15m, 1h or 2d. Default: the newest lines.",
        ),
    ] = None,
    grep: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="Regular expression that the lines contain."),
    ] = "",
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new lines.")
    ] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            *("-n", "--lines"),
            min=0,
            metavar="COUNT",
            help="Number of newest lines. Default: 20, or all with --since.",
        ),
    ] = None,
) -> None:
    """Show the logs of processes and functions, by time.

    A process is a producer, a replicator, a guard or a watcher of alerts. The functions' lines come
    from CloudWatch Logs and Cloud Logging; the search is free of charge on both. Without --since,
    lines of functions are searched in the last hour. With -o json and --follow, each line is a
    document of its own.

    Examples:
    mcloud logs
    mcloud logs guard -n 100 -f
    mcloud logs aws --since 1h --grep 'refused|ERROR'
    """
    import re

    from mcloud.log_search import LogFollower, search
    from mcloud.runs import FOLLOW_PAUSE

    try:
        re.compile(grep)
    except re.error as error:
        raise UsageError(f"--grep: invalid regular expression {grep!r}: {error}") from None
    now = time.time()
    sources = _sources(session, name)
    count = lines if lines is not None or since else LINES
    seconds = length_of_time("--since", since) if since else None
    begin = now - seconds if seconds else 0.0
    # Before the search, which may take seconds: lines that are written meanwhile are new ones.
    follower = LogFollower(sources, now, grep) if follow else None
    found = search(sources, begin, now, grep, functions_from=now - (seconds or LATELY))
    _warn(session, found)
    if found.missing and not sources.runs and len(found.missing) == len(sources.sites):
        why = next(iter(found.missing.values()))
        raise Unavailable(f"no log can be read: {why}")
    newest = found.entries
    if count is not None:
        newest = newest[max(0, len(newest) - count) :]
    _show(session, newest, follow=follow)
    if not newest and not follow and session.output == "text":
        session.say("no lines; --since searches further back")
    if follower is None:
        return
    warned = set(found.missing)
    while True:
        added = follower.added(time.time())
        _show(session, added.entries, follow=True)
        if added.missing.keys() - warned:
            _warn(session, added)
        warned |= added.missing.keys()
        time.sleep(FOLLOW_PAUSE)


def _sources(session: Session, name: str | None) -> "LogSources":
    from mcloud.config import LOCAL, REGIONS, unknown
    from mcloud.errors import LocalError
    from mcloud.log_search import LogSources
    from mcloud.runs import runs_called

    config = session.config
    every = [run for run in runs_called(config.state, None) if run.log.exists()]
    if name is None:
        try:
            return LogSources(every, session.sites())
        except LocalError as error:
            if not every:
                raise
            session.warn(f"the lines of the functions are missing: {error.message}")
            return LogSources(every, {})
    names = list(REGIONS if config.profile == LOCAL else config.sites)
    if name in names:
        return LogSources([], session.sites(name))
    runs = [run for run in runs_called(config.state, name) if run in every]
    if not runs:
        raise unknown("site or process", name, [*names, *(run.name for run in every)])
    return LogSources(runs, {})


def _warn(session: Session, found: "FoundLogs") -> None:
    for site, why in found.missing.items():
        session.warn(f"the lines of the functions of {site} are missing: {why}")


def _show(session: Session, entries: "Iterable[LogEntry]", *, follow: bool) -> None:
    if session.output == "json":
        if not follow:
            session.print_json(list(entries))
            return
        for entry in entries:
            session.print_line(entry)
        return
    from mcloud.drawing.logs import line

    for entry in entries:
        session.console.print(line(entry), soft_wrap=True)
    session.console.file.flush()
