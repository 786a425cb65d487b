"""Copy raw objects with many threads and, if there are many objects, with several processes.

A copy takes 2.5 ms of Python, and the threads of a process run Python code one at a time. Starting
another process takes as long as copying a few hundred objects.
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
from mcloud.archive import raw
from mcloud.clouds.ports import Site
from mcloud.errors import McloudError
from mcloud.processes import Process
from mcloud.workers import Workers

TRANSFERS = 32  # objects copied at the same time: a request takes tens of milliseconds
BATCH = 8  # maximum number of objects that a thread copies one after the other
ALONE = 500  # objects to copy before other processes are started
MOST = 3  # maximum number of other processes: the machine has other work too


def spare_cores() -> int:
    """Return the number of other processes that this machine has cores for."""
    return min((os.cpu_count() or 1) - 1, MOST)


class Copier:
    """Copies raw objects from one site to another.

    Args:
        workers: threads for the copies; use ``TRANSFERS`` threads if they have no other work.
        processes: number of other processes to start after ``alone`` objects. Each of them opens
            its own connections to the sites.
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
        """Connections to the idle threads of other processes."""
        self._processes: list[Process] = []
        self._is_closed = False
        self._changing = threading.Lock()

    def copy(self, objects: Sequence[raw.Whole]) -> raw.Copied:
        """Copy many objects at once; otherwise the same as ``raw.copy``."""
        with self._changing:
            helpers = self._wanted if self._alone <= 0 else 0
            self._wanted -= helpers
            self._alone -= len(objects)
        for _ in range(helpers):
            threading.Thread(target=self._get_help, name="help", daemon=True).start()
        size = max(1, min(BATCH, len(objects) // TRANSFERS))
        batches = [objects[n : n + size] for n in range(0, len(objects), size)]
        done = self._workers.map(self._copy, batches)
        return raw.Copied(
            sum(each.objects for each in done),
            sum(each.bytes for each in done),
            [key for each in done for key in each.damaged],
        )

    def close(self) -> None:
        """Kill the other processes. The next run repeats the copies that this interrupts."""
        with self._changing:
            self._is_closed = True
            for process in self._processes:
                process.kill()
                process.wait()

    def _copy(self, objects: Sequence[raw.Whole]) -> raw.Copied:
        try:
            line = self._lines.get_nowait()
        except Empty:
            return raw.copy(self._source.archive, self._target.archive, objects)
        try:
            line.send(objects)
            answer: raw.Copied | McloudError = line.recv()
        except (EOFError, OSError):
            # The process has ended, so this connection is not used again.
            line.close()
            return raw.copy(self._source.archive, self._target.archive, objects)
        self._lines.put(line)
        if isinstance(answer, McloudError):
            raise answer
        return answer

    def _get_help(self) -> None:
        # Only this process handles Ctrl-C. The new process inherits the mask of this thread.
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
        with suppress(EOFError, OSError):  # if the process ended at once, work continues without it
            # The path comes before the sites, since unpickling them imports modules from it.
            first.send(sys.path)
            first.send((self._source, self._target))
            first.recv()
            for here, _ in pipes:
                self._lines.put(here)


def _serve(lines: Sequence[Connection]) -> None:
    """Copy objects for the Copier of another process until its connections are closed."""
    try:
        sys.path[:] = lines[0].recv()
        source, target = lines[0].recv()
    except EOFError:
        return  # the copier was closed in the meantime
    try:
        archives = source.archive, target.archive  # opened once, before several threads use them
    except McloudError:
        return  # the main process opens them as well, and reports the error
    lines[0].send("ready")

    def answer(line: Connection) -> None:
        with suppress(EOFError, OSError):
            while True:
                objects = line.recv()
                try:
                    line.send(raw.copy(*archives, objects))
                except Exception as error:  # noqa: BLE001 - raised in the process that waits
                    is_ours = isinstance(error, McloudError)
                    line.send(error if is_ours else McloudError(f"{type(error).__name__}: {error}"))

    threads = [threading.Thread(target=answer, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _serve([Connection(int(number)) for number in sys.argv[1:]])
