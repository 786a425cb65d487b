"""A refresh of two embedded sites, and the processor time and cost of an open dashboard."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from statistics import median

import psutil
import pytest

from mcloud.clouds.factory import open_site
from mcloud.drawing.monitor import MonitorView, screen
from mcloud.local.state import State
from mcloud.observing.collector import Collector
from mcloud.observing.snapshot import all_queries, snapshot_of

pytestmark = pytest.mark.benchmark

REFRESH = 0.3  # seconds
SHARE = 0.05  # of a core
WATCHED = 40.0  # seconds
ROUNDS = 9


def test_a_refresh_of_two_embedded_sites(embedded: State) -> None:
    """The time to query all parts of both sites at once, with warm clients."""
    sites = {name: open_site(name, each) for name, each in embedded.resources().items()}
    seconds = []
    for _ in range(ROUNDS + 2):
        collector = Collector(all_queries(sites))
        begun = time.perf_counter()
        collector.tick()
        while not collector.is_complete:
            time.sleep(0.002)
        seconds.append(time.perf_counter() - begun)
        assert snapshot_of(sites, collector.seen(), time.time()).up
    took = median(seconds[2:])  # the first rounds make the clients
    print(
        f"\na refresh of two embedded sites: {took * 1000:.0f} ms, "
        f"{took / REFRESH:.0%} of what it may take"
    )
    assert took < REFRESH


def test_drawing_a_screen(embedded: State) -> None:
    from drawing.test_monitor import AWS, GCP, snapshot

    seen, view = snapshot(AWS, GCP), MonitorView(200, 60, 5.0)
    begun = time.process_time()
    for _ in range(100):
        screen(seen, view)
    each = (time.process_time() - begun) / 100
    print(
        f"\nmaking the lines of a 200x60 screen: {each * 1000:.1f} ms, {each:.1%} of a core at 1/s"
    )
    assert each < SHARE


def test_the_processor_time_of_an_open_dashboard(embedded: State) -> None:
    """Measured at the default interval, without the start."""
    eye, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (60, 200))
    process = subprocess.Popen(
        (sys.executable, "-m", "mcloud", "monitor"),
        env={
            **os.environ,
            "MCLOUD_STATE": str(Path(embedded.options["home"]).parent),
            "TERM": "xterm-256color",
        },
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    try:
        _look(eye, 10)  # until it has started and has queried every part once
        before = _processor_time(process.pid)
        begun = time.monotonic()
        drawn = _look(eye, WATCHED)
        share = (_processor_time(process.pid) - before) / (time.monotonic() - begun)
    finally:
        process.send_signal(signal.SIGTERM)
        _look(eye, 2)
        process.wait(30)
        os.close(eye)
        os.close(terminal)
    print(
        f"\nan open dashboard: {share:.1%} of a core at the default interval; "
        f"{drawn / WATCHED / 1024:.1f} KiB/s to the terminal"
    )
    assert drawn > 0
    assert share < SHARE


def _processor_time(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _look(eye: int, seconds: float) -> int:
    """Read the output for some seconds, and return the number of bytes."""
    count = 0
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([eye], [], [], left)[0]:
            count += len(os.read(eye, 65_536))
    return count
