"""``mcloud monitor``"""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from mcloud.observing.snapshot import Snapshot
    from mcloud.observing.watch import SnapshotWatch

FRAME = 1.0  # seconds between two drawings if nothing happens, because ages count seconds
TICK = 0.25  # seconds between two checks for queries that are due


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "jsonl"))(monitor)


def monitor(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print one snapshot and exit.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=3600,
            metavar="SECONDS",
            help="Seconds between two reads of the sites. Default: `interval` in [monitor], or 5.",
        ),
    ] = None,
) -> None:
    """Show a live dashboard of all sites.

    Keys: q quits, p pauses, + and - change the interval, 1 to 9 show a single site, ? lists all
    keys. A figure that is not fresh shows its age. In a pipe it prints one snapshot; `-o jsonl`
    writes a line at every interval until the reader closes the pipe.

    Examples:
    mcloud monitor
    mcloud monitor aws --interval 10
    mcloud monitor -o jsonl
    """
    from functools import partial

    from mcloud.cli.status import costing, look, show
    from mcloud.config import settings
    from mcloud.observing.machine import machine
    from mcloud.observing.queries import MonitorSettings
    from mcloud.observing.watch import SnapshotWatch

    if once or session.output == "json" or not (session.output == "jsonl" or _is_screen(session)):
        snapshot = look(session, site)
        if session.output == "jsonl":
            _print_line(snapshot)
        else:
            show(session, snapshot)
        return
    usual = settings(session.config, "monitor", MonitorSettings).interval
    sites = session.sites(site)
    watch = SnapshotWatch(
        sites,
        partial(machine, session.config.state),
        costing(session, sites),
        interval=interval or usual,
    )
    if session.output == "jsonl":
        for snapshot in _every(watch):
            _print_line(snapshot)
    else:
        _live(session, watch, len(sites))


def _is_screen(session: Session) -> bool:
    """Return whether the output is a terminal that can be redrawn."""
    return session.console.is_terminal and not session.console.is_dumb_terminal


def _print_line(snapshot: "Snapshot") -> None:
    import json

    from mcloud.documents import encode
    from mcloud.observing.document import document

    print(json.dumps(encode(document(snapshot))), flush=True)


def _every(watch: "SnapshotWatch") -> "Iterator[Snapshot]":
    """Return a snapshot at every interval. The first waits until all sites answered or are late."""
    from mcloud.observing.collector import PATIENCE

    due = time.monotonic() + PATIENCE
    while not watch.is_complete and time.monotonic() < due:
        watch.tick()
        time.sleep(0.05)
    due = time.monotonic()
    while True:
        yield watch.snapshot()
        due = max(due + watch.interval, time.monotonic())
        while (left := due - time.monotonic()) > 0:
            watch.tick()
            time.sleep(min(left, TICK))


def _live(session: Session, watch: "SnapshotWatch", sites: int) -> None:
    from mcloud.cli.screen import full_screen
    from mcloud.drawing.choice import QUIT, pressed
    from mcloud.drawing.monitor import MonitorView, screen

    with full_screen(session.console) as terminal:
        view = MonitorView(*terminal.size, watch.interval, profile=session.config.profile)
        shown: tuple[MonitorView, int] | None = None
        due = 0.0
        while True:
            if not view.paused:
                watch.tick()
            view = replace(view, width=terminal.size[0], height=terminal.size[1])
            # Drawn after each change, and once a second because ages grow.
            if (view, watch.answers) != shown or time.monotonic() >= due:
                shown, due = (view, watch.answers), time.monotonic() + FRAME
                terminal.draw(screen(watch.snapshot(), view))
            for key in terminal.keys(TICK):
                if key in QUIT:
                    return
                view = pressed(key, view, sites)
            watch.interval = view.interval
