"""``mcloud metrics``"""

import threading
from typing import Annotated

import typer

from mcloud.cli.session import INTERRUPTED, Session, command

TICK = 0.25  # seconds between two looks at what is due


def register(app: typer.Typer) -> None:
    command(app, formats=("text",))(metrics)


def metrics(
    session: Session,
    site: Annotated[str | None, typer.Argument(help="Sites, comma-separated; all.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Answer scrapes on 127.0.0.1 until Ctrl-C.")
    ] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="With --serve; 9464.")] = None,
    interval: Annotated[
        float | None, typer.Option(min=1, max=3600, help="With --serve: seconds between looks; 5.")
    ] = None,
) -> None:
    """Print all figures in Prometheus's format, or serve them."""
    from functools import partial

    from mcloud.cli import background
    from mcloud.cli.status import costing, look
    from mcloud.config.settings import settings
    from mcloud.dashboard.exposition import exposition
    from mcloud.dashboard.machine import machine
    from mcloud.dashboard.scrape import serving
    from mcloud.dashboard.settings import MonitorSettings
    from mcloud.dashboard.watch import Watch

    if not serve:
        print(exposition(look(session, site)), end="")
        return
    usual = settings(session.config, "monitor", MonitorSettings)
    sites = session.sites(site)
    watch = Watch(
        sites,
        partial(machine, session.config.state),
        costing(session, sites),
        interval=interval or usual.interval,
    )
    stop, one = threading.Event(), threading.Lock()

    def text() -> str:
        with one:
            return exposition(watch.snapshot())

    with background.stopping(stop), serving(port or usual.port, text) as url:
        session.say(f"{url}; Ctrl-C ends it")
        while not stop.wait(TICK):
            with one:
                watch.tick()
    raise typer.Exit(INTERRUPTED)
