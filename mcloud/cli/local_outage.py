"""``mcloud local outage``: make a site of the embedded clouds, or one of its services, fail."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import length_of_time
from mcloud.cli.session import Session
from mcloud.clouds.resources import CLOUDS
from mcloud.errors import LocalError, UsageError

if TYPE_CHECKING:
    from mcloud.local.outage import Outage
    from mcloud.local.state import State


def outage(
    session: Session,
    site: Annotated[
        str | None, typer.Argument(help="aws or gcp. Without it, the current outages are shown.")
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="SERVICE",
            help="queue, function, candles or archive. Default: the whole site.",
        ),
    ] = None,
    how: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="What happens to requests: refuse, hang, slow (2 s longer) or throttle (three of"
            " four are refused).",
        ),
    ] = "refuse",
    lasts: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Length, such as 30s or 5m. Default: until --end."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until the outage is over. Ctrl-C ends it."),
    ] = False,
    end: Annotated[
        bool,
        typer.Option(
            "--end", help="End the outages of the site or service, or all if none is named."
        ),
    ] = False,
) -> None:
    """Make an embedded site, or one of its services, fail for a while.

    Its data is kept.

    Examples:
    mcloud local outage aws --for 30s
    mcloud local outage gcp --service queue --how hang
    mcloud local outage --end
    """
    from mcloud.clouds.ports import SERVICES
    from mcloud.config import chosen
    from mcloud.local import outage as faults
    from mcloud.local.state import Home

    for option, value, known in (("site", site, CLOUDS), ("service", service, SERVICES)):
        if value is not None:
            chosen(option, value, known)
    kind = chosen("kind of outage", how, faults.HOWS)
    seconds = None if lasts is None else length_of_time("--for", lasts)
    folder = session.config.local
    state = Home(folder).require_ready()
    if end:
        if lasts or wait:
            raise UsageError("--end can only be combined with a site and --service")
        ended = faults.end(folder, site, service)
        session.say("\n".join(f"{each}: ended" for each in ended) or "there was no outage")
        if session.output == "json":
            session.print_json([each.document(time.time()) for each in ended])
        return
    if site is None:
        if service or lasts or wait:
            raise UsageError("the site is missing; choose from aws, gcp")
        _show(session, faults.active(folder))
        return
    _check_ours(state, site, service)
    try:
        begun = faults.begin(folder, site, service, kind, seconds)
        if session.output == "json":
            session.print_json(begun.document(time.time()))
        end_ = "Ctrl-C" if wait else "`mcloud local outage --end`"
        session.say(f"{begun} {f'until {end_}' if seconds is None else f'for {lasts}'}")
        while wait and begun in faults.active(folder):
            time.sleep(0.1)
    except KeyboardInterrupt:
        if wait:
            faults.end(folder, site, service)
        raise
    if wait:
        session.say(f"{begun}: over")


def _show(session: Session, outages: "Sequence[Outage]") -> None:
    if session.output == "json":
        session.print_json([each.document(time.time()) for each in outages])
    elif outages:
        from mcloud.drawing.local import outage_lines

        print("\n".join(outage_lines(outages)))
    else:
        session.say("there is no outage")


def _check_ours(state: "State", site: str, service: str | None) -> None:
    """Raise LocalError if an external emulator serves one of the services."""
    external = set(state.options.get("external", {}))
    if state.options.get("official"):
        external |= {"pubsub", "firestore"}
    behind = {
        "aws": dict.fromkeys(("queue", "function", "candles", "archive"), "aws"),
        "gcp": {"queue": "pubsub", "candles": "firestore", "archive": "storage"},
    }[site]
    wanted = behind.values() if service is None else [behind.get(service)]
    theirs = sorted(external.intersection(each for each in wanted if each))
    if theirs:
        raise LocalError(
            f"{', '.join(theirs)} of {site} is an external emulator, which mcloud cannot make fail",
            remedy="run `mcloud local up` without --emulators official and emulators of your own",
        )
