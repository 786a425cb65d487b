"""``mcloud local``: the embedded clouds."""

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.help import group
from mcloud.cli.local_exchange import exchange
from mcloud.cli.local_outage import outage
from mcloud.cli.session import Session, command
from mcloud.errors import LocalError, UsageError

if TYPE_CHECKING:
    from mcloud.local.state import State

LOGS = ("supervisor", "aws", "gcp", "storage", "function", "pubsub", "firestore")


_PORTS = "Ports"

HELP = """Run both clouds on this machine (the embedded clouds).

They listen on 127.0.0.1 only. The profile `local`, which is the default, uses them.

Examples:
mcloud local up
mcloud local status
mcloud local down
"""


def register(app: typer.Typer) -> None:
    local = group(app, "local", HELP)
    for function in (up, down, status, env, logs, outage, reset, exchange):
        command(local)(function)


def up(
    session: Session,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the data when the clouds are stopped.")
    ] = False,
    emulators: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="Pub/Sub and Firestore: embedded, or official for Google's own."
        ),
    ] = "embedded",
    ports: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="How to choose ports: fixed, or auto for any free ports.",
            rich_help_panel=_PORTS,
        ),
    ] = "fixed",
    aws_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="PORT", help="Port of AWS.", rich_help_panel=_PORTS),
    ] = None,
    gcp_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Port of Pub/Sub, Firestore and Cloud Monitoring.",
            rich_help_panel=_PORTS,
        ),
    ] = None,
    storage_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="PORT", help="Port of Cloud Storage.", rich_help_panel=_PORTS
        ),
    ] = None,
    function_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Port of the Cloud Function.",
            rich_help_panel=_PORTS,
        ),
    ] = None,
) -> None:
    """Start the embedded clouds and deploy the stack on both.

    Examples:
    mcloud local up
    mcloud local up --keep --ports auto
    """
    import os
    from dataclasses import asdict, replace

    from mcloud.cli.progress import waiting
    from mcloud.local import children, control
    from mcloud.local.supervisor import Options

    _one_of("kind of emulators", emulators, ("embedded", "official"))
    _one_of("choice of ports", ports, ("fixed", "auto"))
    chosen = asdict(session.config.ports)
    if ports == "auto":
        chosen = dict(zip(chosen, children.free_ports(len(chosen)), strict=True))
    given = {
        "aws_port": aws_port,
        "gcp_port": gcp_port,
        "storage_port": storage_port,
        "function_port": function_port,
    }
    chosen |= {name: port for name, port in given.items() if port is not None}
    options = Options(
        home=str(session.config.local),
        official=emulators == "official",
        keep=keep,
        **chosen,
    )
    ours = control.addresses(session.config.local)
    options = replace(options, external=control.external(os.environ, ours))
    for service, address in options.external.items():
        session.say(f"using {control.EXTERNAL[service]}: {service} at {address}")
    with waiting(session, "starting the embedded clouds") as tell:
        state = control.up(options, tell)
    _show(session, state)
    session.say(
        "the embedded clouds are up; `mcloud local env` prints the variables for other tools"
    )


def down(
    session: Session,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the data for the next `mcloud local up`.")
    ] = False,
) -> None:
    """Stop the embedded clouds and delete their data.

    Examples:
    mcloud local down
    mcloud local down --keep
    """
    from mcloud.cli.progress import waiting
    from mcloud.local import control

    with waiting(session, "stopping the embedded clouds"):
        was_up = control.down(session.config.local, keep=keep)
    session.say("the embedded clouds are down" if was_up else "the embedded clouds were not up")
    if session.output == "json":
        session.print_json({"was_up": was_up, "kept": keep})


def status(session: Session) -> None:
    """Show the services and ports; exit 3 if any is not running.

    Examples:
    mcloud local status
    mcloud local status -o json
    """
    from mcloud.local import children
    from mcloud.local.state import READY, Home

    home = Home(session.config.local)
    state = home.read()
    if state is None or not home.is_up():
        died = state is not None and state.phase == READY
        if session.output == "json":
            session.print_json({"up": False, "phase": "down", "services": {}})
        session.say(
            "the embedded clouds ended unexpectedly; run `mcloud local up`"
            if died
            else "the embedded clouds are down; run `mcloud local up`"
        )
        raise typer.Exit(3)
    _show(session, state)
    silent = [name for name, each in state.services.items() if not children.answers(each.address)]
    if state.phase != READY or silent:
        session.say(f"{state.phase}; not running: {', '.join(silent) or 'nothing'}")
        raise typer.Exit(3)


def env(session: Session) -> None:
    """Print environment variables for aws, gcloud and the SDKs.

    Examples:
    eval "$(mcloud local env)"
    mcloud local env -o json
    """
    import shlex

    from mcloud.local.control import environment
    from mcloud.local.state import Home

    variables = environment(Home(session.config.local).require_ready())
    if session.output == "json":
        session.print_json(variables)
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def logs(
    session: Session,
    service: Annotated[
        str | None,
        typer.Argument(help=f"Service: {', '.join(LOGS)}. Default: all services."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new lines.")
    ] = False,
    lines: Annotated[
        int,
        typer.Option("-n", "--lines", min=0, metavar="COUNT", help="Number of lines of each log."),
    ] = 20,
) -> None:
    """Show the logs of the embedded clouds and the functions.

    Examples:
    mcloud local logs
    mcloud local logs function -n 100 -f
    """
    from mcloud.local.state import Home
    from mcloud.runs import FOLLOW_PAUSE, LogTail

    if service is not None:
        _one_of("service", service, LOGS)
    if follow and session.output == "json":
        raise UsageError("--follow cannot be combined with -o json")
    folder = Home(session.config.local).logs
    paths = [folder / f"{name}.log" for name in ([service] if service else LOGS)]
    paths = [path for path in paths if path.exists()]
    if not paths:
        raise LocalError("there are no logs yet", remedy="run `mcloud local up`")
    with ExitStack() as stack:
        tails = {path.stem: stack.enter_context(LogTail(path)) for path in paths}
        if session.output == "json":
            session.print_json({name: log.last(lines) for name, log in tails.items()})
            return
        for name, log in tails.items():
            if len(tails) > 1:
                print(f"── {name}")
            for line in log.last(lines):
                print(line)
        while follow:
            for name, log in tails.items():
                for line in log.added():
                    print(f"{name}: {line}" if len(tails) > 1 else line, flush=True)
            time.sleep(FOLLOW_PAUSE)


def reset(session: Session) -> None:
    """Delete all data, and restart the clouds if they were up.

    Examples:
    mcloud local reset
    mcloud local reset -q
    """
    import shutil
    from dataclasses import fields

    from mcloud.cli.progress import waiting
    from mcloud.local import control
    from mcloud.local.state import Home
    from mcloud.local.supervisor import Options

    folder = session.config.local
    home = Home(folder)
    state = home.read() if home.is_up() else None
    with waiting(session, "resetting the embedded clouds") as tell:
        control.down(folder)
        home.kept.unlink(missing_ok=True)
        for path in (home.data, home.logs):
            shutil.rmtree(path, ignore_errors=True)
        if state is not None:
            known = {field.name for field in fields(Options)}
            options = Options(**{k: v for k, v in state.options.items() if k in known})
            control.up(options, tell)
    if session.output == "json":
        session.print_json({"up": state is not None})
    session.say(
        "the embedded clouds are empty and up again"
        if state
        else "the embedded clouds are empty; `mcloud local up` starts them"
    )


def _show(session: Session, state: "State") -> None:
    from mcloud.local import children
    from mcloud.local.outage import active

    outages = active(session.config.local)
    if session.output == "json":
        session.print_json(
            {
                "up": True,
                "phase": state.phase,
                "services": {
                    name: {
                        "address": each.address,
                        "pid": each.pid,
                        "listens": children.answers(each.address),
                        "restarts": each.restarts,
                    }
                    for name, each in state.services.items()
                },
                "lost": state.lost,
                "outages": [each.document(time.time()) for each in outages],
            }
        )
        return
    from mcloud.drawing.local import status_view

    listening = {name for name, each in state.services.items() if children.answers(each.address)}
    session.print(status_view(state, listening, outages))


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    from mcloud.config import unknown

    if value not in known:
        raise unknown(what, value, known)
