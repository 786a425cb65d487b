"""A backfill: find the files, and load them, a few at a time."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from mcloud import files
from mcloud.backfill.checkpoints import Checkpoints
from mcloud.backfill.dumps import Dump, midnight
from mcloud.backfill.libraries import FoundDump, Library
from mcloud.backfill.load import Loaded
from mcloud.backfill.one_file import FileLoader, LoadedFile, patiently
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.lock import Lock
from mcloud.replication.candle_streams import stream
from mcloud.workers import Workers

LOOKUPS = 16  # files that are looked for at the same time
FETCHES = 4  # files that are on this machine at the same time
LOADS = 2  # files that are loaded at the same time
WRITES = 16  # requests to the sites at the same time

Engine = Callable[[Sequence[FoundDump]], Iterator[LoadedFile]]
"""Loads files, and yields each as soon as it is loaded."""


class DumpProblem(NamedTuple):
    """A file that was not loaded completely."""

    dump: Dump
    reason: str

    def __str__(self) -> str:
        return f"{self.dump}: {self.reason}"


@dataclass
class Plan:
    """The files of a backfill."""

    load: list[FoundDump] = field(default_factory=list)
    """Files that are not yet loaded into all sites."""
    known: list[FoundDump] = field(default_factory=list)
    """Files of which an earlier run has loaded the present content, and the sites have it."""
    absent: list[Dump] = field(default_factory=list)
    """Days of which there is no file."""
    problems: list[DumpProblem] = field(default_factory=list)
    """Files about which the library gave no answer, with the reason."""


@dataclass
class Outcome:
    """The result of a backfill."""

    files: int = 0
    """Number of files that were loaded."""
    unchecked: int = 0
    """Number of them that have no published checksum."""
    symbols: set[str] = field(default_factory=set)
    """Symbols of the loaded files."""
    loaded: Loaded = field(default_factory=Loaded)
    problems: list[DumpProblem] = field(default_factory=list)
    """Files, or rows of files, that could not be loaded."""


@dataclass
class Progress:
    """Progress of a backfill."""

    files: int
    bytes: int
    files_done: int = 0
    bytes_done: int = 0
    trades: int = 0
    begun: float = 0.0
    """When it began, on the monotonic clock."""


class Backfill:
    """Loads files into sites. Call its methods within ``locked``.

    Args:
        folder: folder of the profile, for checkpoints and for files while they are loaded.
        identities: identity of each site, by name; see ``checkpoints.identity``.
        tell: called with the progress after each step.
    """

    def __init__(
        self,
        library: Library,
        sites: Mapping[str, Site],
        folder: Path,
        identities: Mapping[str, str],
        *,
        tell: Callable[[Progress], None] = lambda progress: None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._library = library
        self._sites = sites
        self._identities = identities
        self._folder = folder
        self.tell = tell
        self._sleep = sleep
        files.make_private(folder / "files")
        self._checkpoints = Checkpoints(folder / "loaded.jsonl")
        self._lock = threading.Lock()
        self._progress = Progress(0, 0)
        self._outcome = Outcome()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder, so that one process on this machine uses it.

        Raises:
            McloudError: another process holds the lock.
        """
        lock = Lock(self._folder / "backfill.lock")
        with lock.held() as is_mine:
            if not is_mine:
                raise McloudError(f"another backfill is running (pid {lock.holder_pid()})")
            yield

    def plan(self, wanted: Sequence[Dump]) -> Plan:
        """Find the files. A month without a file is looked for day by day.

        Raises:
            Unavailable, Refused: a site does not answer.
        """
        made = Plan()
        with closing(Workers(LOOKUPS)) as workers:
            self._find_all(made, wanted, workers)
        made.absent.sort()
        return made

    def run(self, plan: Plan, engine: "Engine | None" = None) -> Outcome:
        """Load the files of a plan.

        Args:
            engine: loads the files; without one, threads of this process do.

        Raises:
            Unavailable, Refused: a site does not accept the data. The next run continues.
            McloudError: the disk is full.
        """
        self._progress = Progress(
            len(plan.load), sum(each.size for each in plan.load), begun=time.monotonic()
        )
        for done in (engine or self._in_threads)(plan.load):
            self._note(done)
        return self._outcome

    def _in_threads(self, found: Sequence[FoundDump]) -> Iterator[LoadedFile]:
        """Yield each loaded file as soon as it is."""
        with closing(Workers(WRITES)) as writers, closing(Workers(FETCHES)) as workers:
            loader = FileLoader(
                self._library,
                self._sites,
                self._folder / "files",
                writers,
                loads=LOADS,
                on_bytes=lambda count: self._advance(bytes_done=count),
                on_trades=lambda count: self._advance(trades=count),
                sleep=self._sleep,
            )
            try:
                for each in as_completed([workers.submit(loader.load, each) for each in found]):
                    yield each.result()
            finally:
                # Otherwise the other files would wait for the same site, or the same disk.
                loader.stop()

    def _note(self, done: LoadedFile) -> None:
        """Add the outcome of a file to that of the run."""
        if done.is_complete:
            for name in self._sites:
                identity = self._identities[name]
                self._checkpoints.note(done.found.dump, done.found.content, identity)
        self._outcome.files += done.was_read
        if done.was_read:
            self._outcome.symbols.add(done.found.dump.stored_symbol)
        self._outcome.unchecked += done.was_read and done.found.checksum is None
        self._outcome.loaded.add(done.loaded)
        self._outcome.problems += (DumpProblem(done.found.dump, each) for each in done.problems)
        self._advance(files_done=1)

    def _find_all(self, made: Plan, wanted: Sequence[Dump], workers: Workers) -> None:
        months: list[Dump] = []
        found: list[FoundDump] = []
        for dump, answer in zip(wanted, workers.map(self._find, wanted), strict=True):
            match answer:
                case McloudError():
                    made.problems.append(DumpProblem(dump, str(answer)))
                case FoundDump():
                    found.append(answer)
                case None:
                    (months if dump.is_monthly else made.absent).append(dump)
        for each, is_known in zip(found, workers.map(self._is_known, found), strict=True):
            (made.known if is_known else made.load).append(each)
        if months:
            self._find_all(made, [day for month in months for day in month.daily()], workers)

    def _find(self, dump: Dump) -> FoundDump | McloudError | None:
        try:
            return patiently(lambda: self._library.find(dump), self._sleep)
        except (Refused, Unavailable) as error:
            return error

    def _is_known(self, found: FoundDump) -> bool:
        """Return whether the present content of a file was loaded into all sites.

        A checkpoint is not enough: a site may have been reset, or deployed again with the same
        names, since.
        """
        return all(
            self._checkpoints.has(found.dump, found.content, self._identities[name])
            and _has_candles(site, found.dump)
            for name, site in self._sites.items()
        )

    def _advance(self, files_done: int = 0, bytes_done: int = 0, trades: int = 0) -> None:
        with self._lock:
            self._progress.files_done += files_done
            self._progress.bytes_done += bytes_done
            self._progress.trades += trades
            progress = replace(self._progress)
        self.tell(progress)


def _has_candles(site: Site, dump: Dump) -> bool:
    """Return whether a site has a candle of the days of a file."""
    start, end = midnight(dump.first), midnight(dump.last + timedelta(1))
    damaged: list[int] = []
    found = stream(
        site.candles, dump.stored_symbol, start, end, lambda minute, why: damaged.append(minute)
    )
    return next(found, None) is not None or bool(damaged)
