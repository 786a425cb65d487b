"""A backfill: find the files, and load them, a few at a time."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from mcloud import files
from mcloud.backfill.checkpoints import Checkpoints
from mcloud.backfill.dumps import Dump
from mcloud.backfill.libraries import FoundDump, Library, check
from mcloud.backfill.load import Loaded, Loader
from mcloud.bulk.read_csv import CsvFile
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError, Refused, Throttled, Unavailable, UsageError
from mcloud.feed.feed import FeedReport
from mcloud.lock import Lock
from mcloud.workers import Workers

LOOKUPS = 16  # files that are looked for at the same time
FETCHES = 4  # files that are on this machine at the same time
LOADS = 2  # files that are loaded at the same time
WRITES = 16  # requests to the sites at the same time
ROOM = 256 * 1024**2  # bytes that the disk has to have beside the files
RETRIES = 5  # of a request to a place that allows no more requests for now
LONGEST_WAIT = 300.0  # seconds before such a retry

Result = TypeVar("Result")


@dataclass
class Plan:
    """The files of a backfill."""

    load: list[FoundDump] = field(default_factory=list)
    """Files that are not yet loaded into all sites."""
    known: list[FoundDump] = field(default_factory=list)
    """Files of which an earlier run has loaded the present content."""
    absent: list[Dump] = field(default_factory=list)
    """Days of which there is no file."""
    problems: list[str] = field(default_factory=list)
    """Files about which the library gave no answer, with the reason."""


@dataclass
class Outcome:
    """The result of a backfill."""

    files: int = 0
    """Number of files that were loaded."""
    unchecked: int = 0
    """Number of them that have no published checksum."""
    loaded: Loaded = field(default_factory=Loaded)
    problems: list[str] = field(default_factory=list)
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
        self.library = library
        self._sites = sites
        self._identities = identities
        self._folder = folder
        self.tell = tell
        self._sleep = sleep
        files.make_private(folder / "files")
        self._checkpoints = Checkpoints(folder / "loaded.jsonl")
        self._loads = threading.Semaphore(LOADS)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._progress = Progress(0, 0)
        self.done = Outcome()

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
        """Find the files. A month without a file is looked for day by day."""
        made = Plan()
        with closing(Workers(LOOKUPS)) as workers:
            self._find_all(made, wanted, workers)
        made.absent.sort()
        return made

    def run(self, plan: Plan) -> Outcome:
        """Load the files of a plan.

        Raises:
            Unavailable, Refused: a site does not accept the data. The next run continues.
            McloudError: the disk is full.
        """
        self._progress = Progress(
            len(plan.load), sum(each.size for each in plan.load), begun=time.monotonic()
        )
        with closing(Workers(WRITES)) as writers, closing(Workers(FETCHES)) as workers:
            workers.map(partial(self._try_to_load, writers), plan.load)
        return self.done

    def _find_all(self, made: Plan, wanted: Sequence[Dump], workers: Workers) -> None:
        months: list[Dump] = []
        for dump, found in zip(wanted, workers.map(self._find, wanted), strict=True):
            match found:
                case McloudError():
                    made.problems.append(f"{dump}: {found}")
                case FoundDump():
                    (made.known if self._is_known(found) else made.load).append(found)
                case None:
                    (months if dump.is_monthly else made.absent).append(dump)
        if months:
            self._find_all(made, [day for month in months for day in month.daily()], workers)

    def _find(self, dump: Dump) -> FoundDump | McloudError | None:
        try:
            return self._patiently(lambda: self.library.find(dump))
        except (Refused, Unavailable) as error:
            return error

    def _is_known(self, found: FoundDump) -> bool:
        """Return whether the present content of a file was loaded into all sites."""
        return all(
            self._checkpoints.has(found.dump, found.content, self._identities[name])
            for name in self._sites
        )

    def _try_to_load(self, writers: Workers, found: FoundDump) -> None:
        """Load a file. A file that cannot be read is reported, and does not stop the others."""
        if self._stopped.is_set():
            return
        try:
            path = self._fetch(found)
            if path is not None:
                with self._loads:
                    if not self._stopped.is_set():
                        self._load(writers, found, path)
        except BaseException:
            # Otherwise the other files would wait for the same site, or the same disk.
            self._stopped.set()
            raise

    def _fetch(self, found: FoundDump) -> Path | None:
        """Return the file on this machine, or None if it cannot be read."""
        folder, had = self._folder / "files", 0

        def note(arrived: int) -> None:
            nonlocal had
            if self._stopped.is_set():
                raise Unavailable("the backfill has stopped")
            self._advance(bytes_done=arrived - had)
            had = arrived

        try:
            files.check_room(folder, found.size + ROOM)
            path = self._patiently(lambda: self.library.fetch(found, folder, note))
            check(found, path)
        except (Refused, Unavailable) as error:
            self._report(f"{found.dump}: {error}")
            return None
        except OSError as error:
            raise files.refusal(error) or error from None
        return path

    def _load(self, writers: Workers, found: FoundDump, path: Path) -> None:
        symbol = found.dump.stored_symbol
        loader = Loader(symbol, self._sites, writers)
        try:
            file = CsvFile(path, [symbol])
            loaded = loader.load(self._counted(file))
        except UsageError as error:
            self._report(f"{found.dump}: {error}")
            return
        self._add(loaded)
        unread = _unread(file.report)
        for problem in unread:
            self._report(f"{found.dump}: {problem}")
        if not unread and not loaded.damaged:
            for name in self._sites:
                identity = self._identities[name]
                self._checkpoints.note(found.dump, found.content, identity)
        with self._lock:
            self.done.files += 1
            self.done.unchecked += found.checksum is None
        if path.parent == self._folder / "files":
            path.unlink()
        self._advance(files_done=1)

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if self._stopped.is_set():
                raise Unavailable("the backfill has stopped")
            yield batch
            self._advance(trades=batch.num_rows)

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Wait as long as a place that allows no more requests asks for."""
        for _ in range(RETRIES):
            try:
                return call()
            except Throttled as error:
                self._sleep(min(error.retry_after, LONGEST_WAIT))
        return call()

    def _add(self, loaded: Loaded) -> None:
        with self._lock:
            self.done.loaded.add(loaded)

    def _report(self, problem: str) -> None:
        with self._lock:
            self.done.problems.append(problem)

    def _advance(self, files_done: int = 0, bytes_done: int = 0, trades: int = 0) -> None:
        with self._lock:
            self._progress.files_done += files_done
            self._progress.bytes_done += bytes_done
            self._progress.trades += trades
            progress = replace(self._progress)
        self.tell(progress)


def _unread(report: FeedReport) -> list[str]:
    """Return the lines of a file that were not read, with the reasons."""
    problems = [f"line {each.line}: {each.reason}" for each in report.bad_examples]
    if report.bad > len(problems):
        problems.append(f"{report.bad - len(problems):,} more lines are no trades")
    return [*problems, *([report.truncated] if report.truncated else [])]
