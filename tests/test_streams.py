"""Streams and terminals that are closed."""

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from patience import PATIENCE

from mcloud.cli.background import stopping

TELL = """
import sys
from mcloud.streams import leave_terminal
sys.stdin.readline()
{leave}
print("to nobody", flush=True)
"""


@pytest.fixture
def _usual_hang_up() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("leave", ["leave_terminal()", ""])
def test_a_closed_terminal_is_not_printed_to(leave: str) -> None:
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TELL.format(leave=leave)],
        stdin=subprocess.PIPE,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    os.close(master)
    process.communicate(b"\n", timeout=PATIENCE)
    assert (process.returncode == 0) == bool(leave)


@pytest.mark.usefixtures("_usual_hang_up")
def test_a_lost_terminal_stops_a_run_once() -> None:
    stop = threading.Event()
    with stopping(stop):
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.usefixtures("_usual_hang_up")
def test_a_command_started_with_nohup_survives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = threading.Event()
    with stopping(stop):
        signal.raise_signal(signal.SIGHUP)
        assert not stop.is_set()
