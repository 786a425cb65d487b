"""The logs of the processes on this machine and of the functions of all sites, by time."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from mcloud.clouds.ports import LOG_SEARCH, Site
from mcloud.deadline import gather
from mcloud.errors import reason_of
from mcloud.runs import LogTail, Run

DEADLINE = LOG_SEARCH + 1.0  # seconds for the sites to answer, which end their search before
PERIOD = 5.0  # seconds between two searches at a site while new lines are followed
LATE = 30.0  # seconds that a line may take until a cloud's search finds it
MOST = 10_000  # lines of each function of a site
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) (.*)")


@dataclass(frozen=True)
class LogEntry:
    at: float
    """Write time, in seconds since 1970."""
    source: str
    """Name of the process, or of the site and its function."""
    level: str
    """``INFO``, ``WARNING``, ``ERROR`` and so on; empty if the line has none."""
    text: str


@dataclass(frozen=True)
class FoundLogs:
    entries: list[LogEntry]
    """By time."""
    missing: Mapping[str, str]
    """Sites whose logs could not be read, and the reasons."""


@dataclass(frozen=True)
class LogSources:
    runs: Sequence[Run]
    sites: Mapping[str, Site]


def search(
    sources: LogSources,
    begin: float,
    end: float,
    pattern: str = "",
    *,
    functions_from: float | None = None,
) -> FoundLogs:
    """Return the lines from ``begin`` to ``end`` that match a regular expression. The lines of the
    functions begin at ``functions_from`` instead, if it is given.
    """
    entries = [each for run in sources.runs for each in _of_run(run) if begin <= each.at <= end]
    since = begin if functions_from is None else functions_from
    found, missing = _of_sites(sources.sites, since, end)
    return FoundLogs(_matching([*entries, *found], pattern), missing)


class LogFollower:
    """The new lines of logs; ``added`` returns those since its last call."""

    def __init__(self, sources: LogSources, now: float, pattern: str = "") -> None:
        """Lines that were written before ``now`` are not new."""
        self._sites = sources.sites
        self._pattern = pattern
        self._tails = {run: LogTail(run.log) for run in sources.runs if run.log.exists()}
        for tail in self._tails.values():
            tail.last(0)
        self._due = now + PERIOD
        self._begin = now
        self._seen: set[LogEntry] = set()
        self._last: dict[Run, float] = {}

    def added(self, now: float) -> FoundLogs:
        """Return the new lines, at the latest ``PERIOD`` seconds after a site can be searched for
        them.
        """
        entries = [
            entry
            for run, tail in self._tails.items()
            for entry in _parsed(run.name, tail.added(), self._last.get(run, now))
        ]
        missing: Mapping[str, str] = {}
        if self._sites and now >= self._due:
            begin = max(self._begin, now - LATE)
            found, missing = _of_sites(self._sites, begin, now)
            entries += [each for each in found if each not in self._seen]
            self._seen = {each for each in self._seen if each.at >= begin} | set(found)
            self._due = now + PERIOD
        return FoundLogs(_matching(entries, self._pattern), missing)


def _of_run(run: Run) -> Iterator[LogEntry]:
    """Return all lines of a run, with those of its rotated files."""
    paths = sorted(run.folder.glob(f"{run.log.name}.*"), key=_number, reverse=True)
    for path in (*paths, run.log):
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            yield from _parsed(run.name, lines, 0.0)


def _number(path: Path) -> int:
    """Return the number of a rotated file. The highest is the oldest."""
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0


def _parsed(source: str, lines: Iterable[str], at: float) -> Iterator[LogEntry]:
    """Return the lines of a log file. A line without a time, as of a traceback, has that of the
    line before it, or ``at``.
    """
    for line in lines:
        level, text = "", line
        if match := _LINE.fullmatch(line):
            # The files have the local time of this machine.
            at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp()
            level, text = match[2], match[3]
        yield LogEntry(at, source, level, text)


def _of_sites(
    sites: Mapping[str, Site], begin: float, end: float
) -> tuple[list[LogEntry], dict[str, str]]:
    calls: dict[str, Callable[[], Collection[LogEntry]]] = {
        name: partial(_of_site, name, site, begin, end) for name, site in sites.items()
    }
    entries: list[LogEntry] = []
    missing: dict[str, str] = {}
    for name, answer in gather(calls, DEADLINE).items():
        if isinstance(answer, Exception):
            missing[name] = reason_of(answer)
        else:
            entries += answer
    return entries, missing


def _of_site(name: str, site: Site, begin: float, end: float) -> list[LogEntry]:
    return [
        LogEntry(line.at, f"{name} {line.function.rpartition('-')[2]}", line.level, line.text)
        for line in site.logs.lines(begin, end, MOST)
    ]


def _matching(entries: Iterable[LogEntry], pattern: str) -> list[LogEntry]:
    wanted = re.compile(pattern)
    found = [each for each in entries if wanted.search(f"{each.level} {each.text}")]
    return sorted(found, key=lambda entry: entry.at)
