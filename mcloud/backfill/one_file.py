"""Fetch a file, check it, and load it into the sites."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from mcloud import files
from mcloud.backfill.libraries import FoundDump, Library, check
from mcloud.backfill.load import Loaded, Loader
from mcloud.bulk.read_csv import CsvFile
from mcloud.clouds.ports import Site
from mcloud.errors import Refused, Throttled, Unavailable, UsageError
from mcloud.feed.feed import FeedReport
from mcloud.workers import Workers

ROOM = 256 * 1024**2  # bytes that the disk has to have beside the file
RETRIES = 5  # of a request to a place that allows no more requests for now
LONGEST_WAIT = 300.0  # seconds before such a retry

Result = TypeVar("Result")
Sleep = Callable[[float], object]


@dataclass
class LoadedFile:
    """The outcome of loading a file."""

    found: FoundDump
    loaded: Loaded = field(default_factory=Loaded)
    was_read: bool = False
    """Whether the file was fetched and has trades in it."""
    problems: list[str] = field(default_factory=list)
    """Reasons why the file, or rows of it, could not be loaded."""

    @property
    def is_complete(self) -> bool:
        """Whether a later run does not have to load the file again."""
        return self.was_read and not self.problems and not self.loaded.unchanged


class FileLoader:
    """Loads files. It may be used by several threads.

    Args:
        folder: folder for files while they are loaded.
        loads: number of files that are loaded at the same time, while others are fetched.
        writers: sends the requests to the sites.
        on_bytes, on_trades: called with each number of bytes fetched and of trades loaded.
    """

    def __init__(
        self,
        library: Library,
        sites: Mapping[str, Site],
        folder: Path,
        writers: Workers,
        *,
        loads: int = 1,
        on_bytes: Callable[[int], None] = lambda count: None,
        on_trades: Callable[[int], None] = lambda count: None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._library = library
        self._sites = sites
        self._folder = folder
        self._writers = writers
        self._loads = threading.Semaphore(loads)
        self._on_bytes = on_bytes
        self._on_trades = on_trades
        self._sleep = sleep
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let the files that are being loaded end early."""
        self._stopped.set()

    def load(self, found: FoundDump) -> LoadedFile:
        """Load a file. If the file itself is the problem, it is reported in the result.

        Raises:
            Unavailable, Refused: a site does not accept the data. Loading the file again continues.
            McloudError: the disk is full.
        """
        done = LoadedFile(found)
        try:
            path = self._fetch(found)
        except (Refused, Unavailable) as error:
            self._check_stopped()
            done.problems.append(str(error))
            return done
        try:
            with self._loads:
                self._load(done, path)
        finally:
            # A fetched file is kept only while it may be loaded again soon.
            if path.parent == self._folder and not self._stopped.is_set():
                path.unlink(missing_ok=True)
        return done

    def _fetch(self, found: FoundDump) -> Path:
        """Return the file on this machine, with the content that was published."""
        had = 0

        def note(arrived: int) -> None:
            nonlocal had
            self._check_stopped()
            self._on_bytes(arrived - had)
            had = arrived

        try:
            if self._library.copies:
                files.check_room(self._folder, found.size + ROOM)
            path = patiently(lambda: self._library.fetch(found, self._folder, note), self._sleep)
        except OSError as error:
            raise files.refusal(error) or error from None
        try:
            check(found, path)
        except Refused:
            if path.parent == self._folder:
                path.unlink()
            raise
        return path

    def _load(self, done: LoadedFile, path: Path) -> None:
        symbol = done.found.dump.stored_symbol
        try:
            file = CsvFile(path, [symbol])
            done.loaded = Loader(symbol, self._sites, self._writers).load(self._counted(file))
        except UsageError as error:
            # Its remedy is about recordings that are played.
            done.problems.append(error.message)
            return
        done.was_read = True
        done.problems += _unread(file.report)

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._check_stopped()
            yield batch
            self._on_trades(batch.num_rows)

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise Unavailable("the backfill has stopped")


def patiently(call: Callable[[], Result], sleep: Sleep) -> Result:
    """Call a place again after it has asked to wait, for a few times."""
    for _ in range(RETRIES):
        try:
            return call()
        except Throttled as error:
            sleep(min(error.retry_after, LONGEST_WAIT))
    return call()


def _unread(report: FeedReport) -> list[str]:
    """Return the lines of a file that were not read, with the reasons."""
    problems = [f"line {each.line}: {each.reason}" for each in report.bad_examples]
    if report.bad > len(problems):
        problems.append(f"{report.bad - len(problems):,} more lines are no trades")
    return [*problems, *([report.truncated] if report.truncated else [])]
