"""Commands that run until they are stopped, with a terminal or without."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mcloud import best_effort
from mcloud.cli.session import Session
from mcloud.errors import McloudError
from mcloud.streams import leave_terminal

if TYPE_CHECKING:
    from mcloud.runs import Run

STARTING = 20.0  # seconds that a detached command may take to start


def detach(session: Session, run: "Run") -> None:
    """Start this command line again, without ``--detach`` and without the terminal."""
    from mcloud import runs

    if run.lock.is_held():
        raise _runs_already(run)
    arguments = [word for word in sys.argv[1:] if word != "--detach"]
    pid = runs.detach(run, arguments, STARTING)
    if session.output == "json":
        session.print_json({"name": run.name, "pid": pid, "log": str(run.log)})
    session.say(
        f"{run.name} is running (pid {pid}); see `mcloud ps` and `mcloud logs {run.name} -f`"
    )


@contextmanager
def alone(run: "Run") -> Iterator[None]:
    """Hold the lock of the run. Raise McloudError if another process has it."""
    run.create()
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(run.lock.held())
        except OSError as error:
            if run.needs_disk:
                raise
            # Two guards, or two watchers, are better than none.
            best_effort.note_refusal(run.folder / "lock", error)
            mine = True
        if not mine:
            raise _runs_already(run)
        yield
        run.note_end()


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on Ctrl-C, SIGTERM and the loss of the terminal. A second Ctrl-C or SIGTERM ends
    the command at once."""

    def ask(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    def hang_up(number: int, frame: object) -> None:
        # The signal may arrive twice: from the system and from the shell.
        leave_terminal()
        stop.set()

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        handlers[signal.SIGHUP] = hang_up
    before = {number: signal.signal(number, each) for number, each in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _runs_already(run: "Run") -> McloudError:
    return McloudError(
        f"a {run.kind} called {run.name!r} is already running (pid {run.lock.holder_pid()})",
        remedy=f"stop it with `mcloud stop {run.name}`, or use another --name",
    )
