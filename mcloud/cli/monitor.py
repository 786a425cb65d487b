"""``mcloud monitor``"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import WAIT
from mcloud.cli.session import Session, command

if TYPE_CHECKING:
    from mcloud.observing.snapshot import SiteSnapshot, Snapshot
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
    wait: WAIT = False,
) -> None:
    """Show a live dashboard of all sites.

    Keys: q quits, p pauses, + and - change the interval, 1 to 9 show a single site, / filters, and
    l, a, t and f run `logs`, `alerts list`, `trace` and `failover`; ? lists all keys. A figure that
    is not fresh shows its age. In a pipe it prints one snapshot; `-o jsonl` writes a line at every
    interval until the reader closes the pipe.

    Examples:
    mcloud monitor
    mcloud monitor aws --interval 10
    mcloud monitor -o jsonl
    """
    from functools import partial

    from mcloud.cli.status import costing, look, show
    from mcloud.config import settings
    from mcloud.observing.document import document
    from mcloud.observing.machine import machine
    from mcloud.observing.queries import MonitorSettings
    from mcloud.observing.watch import SnapshotWatch

    if once or session.output == "json" or not (session.output == "jsonl" or _is_screen(session)):
        snapshot = look(session, site, wait=wait)
        if session.output == "jsonl":
            session.print_line(document(snapshot))
        else:
            show(session, snapshot, in_full=True)
        return
    usual = settings(session.config, "monitor", MonitorSettings).interval
    sites = session.sites(site)
    watch = SnapshotWatch(
        sites,
        partial(machine, session.config.state),
        costing(session, sites),
        interval=interval or usual,
        keeps_past=True,
    )
    if session.output == "jsonl":
        for snapshot in _every(watch):
            session.print_line(document(snapshot))
    else:
        _live(session, watch, len(sites))


def _is_screen(session: Session) -> bool:
    """Return whether the output is a terminal that can be redrawn."""
    return session.console.is_terminal and not session.console.is_dumb_terminal


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
    from mcloud.drawing.monitor import MonitorView, focused, screen

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
                if view.typing is None and key in QUIT:
                    return
                if view.typing is None and key in ELSEWHERE:
                    with terminal.left():
                        _elsewhere(session, key, focused(watch.snapshot(), view))
                    shown = None
                else:
                    view = pressed(key, view, sites)
            watch.interval = view.interval


ELSEWHERE = ("l", "a", "t", "f")
"""Keys that leave the screen for another command."""


def _elsewhere(session: Session, key: str, site: "SiteSnapshot | None") -> None:
    """Run the command of a key on the terminal, and wait until the user has read it."""
    from mcloud import processes

    name = [site.name] if site else []
    words = {"l": ["logs", "-n", "40", *name], "a": ["alerts", "list"]}.get(key)
    try:
        if key == "t":
            # A trace needs a symbol, and an id that only the user knows.
            asked = input("trade to trace, as SYMBOL ID: ").split()
            symbol = ["--symbol", asked[0]] if len(asked) > 1 else []
            words = ["trace", *symbol, asked[-1]] if asked else None
        elif key == "f":
            asked = name or input("site that becomes the primary: ").split()
            words = ["failover", asked[0]] if asked else None
        if words is None:
            return
        profile = ["--profile", session.profile] if session.profile else []
        processes.run_here([sys.executable, "-m", "mcloud", *words, *profile])
        input("press Enter to return to the monitor")
    except (EOFError, KeyboardInterrupt):
        return
