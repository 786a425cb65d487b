"""``mcloud drill``"""

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import YES
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from mcloud.rehearsal.drill_report import DrillReport
    from mcloud.rehearsal.scenarios import Scenario


_LIVE = "Drill on real sites"


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "md", "html"))(drill)


def drill(
    session: Session,
    scenario: Annotated[
        str,
        typer.Option(
            metavar="SCENARIO",
            help="cloud-outage, region-outage, service-outage:SERVICE (queue, function, candles or"
            " archive), slow, throttle or flap.",
        ),
    ] = "cloud-outage",
    site: Annotated[
        str | None, typer.Option(metavar="SITE", help="Site to take out. Default: aws.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="SEED", help="Seed for the trades. The same seed repeats the same trades."
        ),
    ] = 1,
    live: Annotated[
        bool,
        typer.Option(
            "--live",
            help="Use the sites of the profile. Only the route of the producers is withdrawn.",
            rich_help_panel=_LIVE,
        ),
    ] = False,
    hold: Annotated[
        float,
        typer.Option(
            "--for",
            min=1,
            metavar="SECONDS",
            help="Seconds until the route is restored.",
            rich_help_panel=_LIVE,
        ),
    ] = 30.0,
    yes: YES = False,
) -> None:
    """Rehearse an outage; exit 1 if anything is lost or inexact.

    By default the drill runs on embedded clouds of its own, and measures RTO and RPO.

    Examples:
    mcloud drill
    mcloud drill --scenario service-outage:queue --site gcp
    mcloud drill --live --for 60
    """
    from mcloud.rehearsal.scenarios import scenario as find

    if live:
        _live(session, site, hold, yes)
        return
    report = _embedded(session, find(scenario), site or "aws", seed)
    if session.output == "json":
        session.print_json(report)
    elif session.output == "md":
        from mcloud.drawing.drill import markdown

        print(markdown(report))
    elif session.output == "html":
        from mcloud.drawing.html import drill_page

        print(drill_page(report))
    else:
        from mcloud.drawing.drill import view

        session.print(view(report))
    if not report.ok:
        raise typer.Exit(1)


def _embedded(session: Session, scenario: "Scenario", on: str, seed: int) -> "DrillReport":
    """Run the drill on temporary embedded clouds."""
    import shutil
    import tempfile
    from pathlib import Path

    from mcloud.cli.progress import waiting
    from mcloud.clouds.factory import open_site
    from mcloud.config import LocalPorts, unknown
    from mcloud.failover.settings import guard_settings
    from mcloud.local import children, control
    from mcloud.local.supervisor import Options
    from mcloud.rehearsal.drill import SYMBOLS, made, run

    settings = guard_settings(session.config)
    home = Path(tempfile.mkdtemp(prefix="mcloud-drill-"))
    ports = LocalPorts(*children.free_ports(4))
    try:
        with waiting(session, "starting embedded clouds of its own") as tell:
            state = control.up(Options(str(home), **asdict(ports), owner=os.getpid()), tell)
        sites = {name: open_site(name, each) for name, each in state.resources().items()}
        if on not in sites:
            raise unknown("site", on, sites)
        with waiting(session, f"drill: {scenario.name} of {on}") as tell:
            return run(
                scenario,
                on,
                home,
                sites,
                home,
                trades=made(SYMBOLS, int(time.time() * 1000), seed),
                symbols=SYMBOLS,
                settings=settings,
                tell=tell,
            )
    finally:
        with waiting(session, "stopping the embedded clouds"):
            control.down(home)
        shutil.rmtree(home, ignore_errors=True)


def _live(session: Session, on: str | None, hold: float, yes: bool) -> None:
    """Withdraw the route from the primary, and restore it."""
    from mcloud.cli import background
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.failover import record
    from mcloud.failover.audit import operator
    from mcloud.failover.execution import tools
    from mcloud.rehearsal.live_drill import rehearse

    sites = session.sites()
    if len(sites) < 2:
        raise UsageError("a drill needs at least two sites")
    view = record.read(sites)
    leads = view.record.primary if view.record else next(iter(sites))
    if on not in (None, leads):
        raise UsageError(
            f"{leads} is the primary, so only its route can be withdrawn, not that of {on}"
        )
    target = next(name for name in sites if name != leads)
    agree(session, f"make {target} the primary for {hold:.0f} s, in place of {leads}?", yes=yes)
    config = session.config
    use = tools(
        *(config.state, config.profile, "drill", sites), routes=lambda: session.runs().routes
    )
    words = f"drill: the route of {leads} is withdrawn"
    # Both SIGTERM and Ctrl-C end the drill early, and the route is restored.
    with waiting(session, words) as tell, background.stopping(use.stop):
        done = rehearse(sites, leads, target, use, by=operator(), hold=hold, tell=tell)
    if session.output == "json":
        session.print_json({"away": done[0].report, "back": done[1].report})
    else:
        from mcloud.drawing.failover import outcome

        for each in done:
            session.print(outcome(each.report))
    if any(each.problem or not each.is_moved for each in done):
        raise typer.Exit(1)
