"""Copies raw objects with many threads, and where there are many objects with other cores too.

A copy takes 2.5 ms of Python, and Python does one thing at a time in a process, however many
threads it has. To start another process takes as long as to copy some hundred objects.
"""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from queue import Empty, SimpleQueue

from mcloud import processes
from mcloud.clouds.ports import Site, Stored
from mcloud.errors import McloudError
from mcloud.processes import Process
from mcloud.replication import raw
from mcloud.replication.workers import Workers

TRANSFERS = 32  # objects under way: a cloud is tens of milliseconds away
BATCH = 8  # objects that a thread copies one after the other
ALONE = 500  # objects, after which other processes are started
MOST = 3  # of these: a machine has more to do than this


def spare_cores() -> int:
    """How many other processes this machine can keep busy."""
    return min((os.cpu_count() or 1) - 1, MOST)


class Copier:
    """From one site to another.

    Args:
        workers: threads for it, ``TRANSFERS`` where they have nothing else to do.
        processes: other ones that help, once ``alone`` objects have been copied. Each opens the
            sites anew.
    """

    def __init__(
        self,
        source: Site,
        target: Site,
        workers: Workers,
        *,
        processes: int = 0,
        alone: int = ALONE,
    ) -> None:
        self._source = source
        self._target = target
        self._workers = workers
        self._alone = alone
        self._wanted = processes
        self._lines: SimpleQueue[Connection] = SimpleQueue()
        """To threads of other processes that have nothing to do."""
        self._processes: list[Process] = []
        self._is_closed = False
        self._changing = threading.Lock()

    def copy(self, objects: Sequence[Stored]) -> raw.Copied:
        """Copy them as ``raw.copy`` does, many at once."""
        with self._changing:
            helpers = self._wanted if self._alone <= 0 else 0
            self._wanted -= helpers
            self._alone -= len(objects)
        for _ in range(helpers):
            threading.Thread(target=self._get_help, name="help", daemon=True).start()
        batches = [objects[n : n + BATCH] for n in range(0, len(objects), BATCH)]
        done = self._workers.map(self._copy, batches)
        return raw.Copied(
            sum(each.objects for each in done),
            sum(each.bytes for each in done),
            [key for each in done for key in each.damaged],
        )

    def close(self) -> None:
        """End the other processes, whatever they do: it is done again by whoever goes on."""
        with self._changing:
            self._is_closed = True
            for process in self._processes:
                process.kill()
                process.wait()

    def _copy(self, objects: Sequence[Stored]) -> raw.Copied:
        try:
            line = self._lines.get_nowait()
        except Empty:
            return raw.copy(self._source.archive, self._target.archive, objects)
        try:
            line.send(objects)
            answer: raw.Copied | McloudError = line.recv()
        except (EOFError, OSError):
            # Its process is gone, whatever ended it: nobody gets this line again.
            line.close()
            return raw.copy(self._source.archive, self._target.archive, objects)
        self._lines.put(line)
        if isinstance(answer, McloudError):
            raise answer
        return answer

    def _get_help(self) -> None:
        # A Ctrl-C is for this process to answer. The other one inherits that from this thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        pipes = [Pipe() for _ in range(TRANSFERS // 2)]
        theirs = [there.fileno() for _, there in pipes]
        command = (sys.executable, "-m", "mcloud.replication.copier", *map(str, theirs))
        with self._changing:
            if self._is_closed:
                return
            process = processes.start(command, pass_fds=theirs)
            self._processes.append(process)
        for _, there in pipes:
            there.close()
        first = pipes[0][0]
        with suppress(EOFError, OSError):  # where it ended at once, the work continues without it
            # Before the sites, since it takes their modules from the same folders as this process.
            first.send(sys.path)
            first.send((self._source, self._target))
            first.recv()
            for here, _ in pipes:
                self._lines.put(here)


def _serve(lines: Sequence[Connection]) -> None:
    """Be another process of a Copier, until that is gone."""
    try:
        sys.path[:] = lines[0].recv()
        source, target = lines[0].recv()
    except EOFError:
        return  # the copier was closed meanwhile
    try:
        archives = source.archive, target.archive  # once, before several threads ask for them
    except McloudError:
        return  # what is wrong with them the process says that it helps, which opens them as well
    lines[0].send("ready")

    def answer(line: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                objects = line.recv()
                try:
                    line.send(raw.copy(*archives, objects))
                except Exception as error:  # noqa: BLE001 - the one that waits has to hear of it
                    is_ours = isinstance(error, McloudError)
                    line.send(error if is_ours else McloudError(f"{type(error).__name__}: {error}"))

    threads = [threading.Thread(target=answer, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _serve([Connection(int(number)) for number in sys.argv[1:]])
