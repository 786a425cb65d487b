"""``mcloud alerts``: rules, their state, and the channels that tell it."""

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcloud.cli import background
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from mcloud.alerts.engine import State
    from mcloud.notify.channels import Channel
    from mcloud.notify.event import Event


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Rules over all figures, and the channels that tell what fires.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    app.add_typer(group, name="alerts")
    command(group, "list")(list_)
    command(group)(watch)
    command(group, "test")(send_test)


def list_(session: Session) -> None:
    """List the rules and what they say now; exit 3 where one fires."""
    import time

    from mcloud.alerts.look import look_once
    from mcloud.alerts.report import report
    from mcloud.alerts.rules import rules
    from mcloud.cli.progress import waiting

    chosen = rules(session.config)
    sites = session.sites()
    with waiting(session, "asking the sites"):
        figures = look_once(session.config, sites)
    watcher = _watching(session)
    document = report(chosen, figures, watcher, time.time())
    if session.output == "json":
        session.print_json({"watched": watcher is not None, **document})
    else:
        from mcloud.dashboard.alerts import report as table

        session.print(table(document))
    if watcher is None:
        session.say(
            "no watcher runs (`mcloud alerts watch --detach`): this is one look, and what is wrong"
            " in it fires, for however long it has been so"
        )
    if document["firing"]:
        raise typer.Exit(3)


def watch(
    session: Session,
    interval: Annotated[
        float | None, typer.Option(min=1, max=300, help="Seconds between two looks.")
    ] = None,
    name: Annotated[str, typer.Option(help="Of this watcher.")] = "alerts",
    detach: Annotated[bool, typer.Option("--detach", help="Go on without this terminal.")] = False,
) -> None:
    """Look again and again, and tell through the channels what fires and what is over."""
    from dataclasses import replace

    from mcloud import runs
    from mcloud.alerts.look import looks
    from mcloud.alerts.rules import rules
    from mcloud.alerts.watch import watch as run_watch
    from mcloud.notify.channels import channels
    from mcloud.notify.open import open_notifier

    run = runs.run_of(session.config.state / "alerts", name)
    chosen = rules(session.config)
    if interval is not None:
        chosen = replace(chosen, settings=replace(chosen.settings, interval=interval))
    there = channels(session.config)
    if not there:
        session.warn("there are no channels in mcloud.toml: what fires is only said here")
    if detach:
        background.detach(session, run)
        return
    sites = session.sites()
    stop = threading.Event()
    with background.alone(run), background.stopping(stop):
        about = {
            "name": name,
            "profile": session.config.profile,
            "interval": chosen.settings.interval,
            "channels": list(there),
        }
        run_watch(
            chosen,
            looks(session.config, sites, chosen.settings.interval),
            open_notifier(session.config, run.folder / "told.json"),
            _state_of(session, run.left(session.warn)),
            stop=stop,
            tell=lambda event: _tell(session, event),
            keep=lambda document: run.write({**about, **document}),
            log=run.logger(),
        )
    raise typer.Exit(INTERRUPTED)


def send_test(
    session: Session,
    channel: Annotated[str | None, typer.Argument(help="Channel; all if left out.")] = None,
) -> None:
    """Send a test through each channel; exit 3 where one fails."""
    import time

    from mcloud.cli.progress import waiting
    from mcloud.config import did_you_mean
    from mcloud.notify.channels import channels
    from mcloud.notify.check import check

    there = channels(session.config)
    if not there:
        raise ConfigError(
            "there are no channels", remedy="describe one as [channels.NAME] in mcloud.toml"
        )
    if channel is not None and channel not in there:
        hint = did_you_mean(channel, there)
        raise UsageError(f"no channel {channel!r}; there is {', '.join(there)}{hint}")
    chosen: dict[str, Channel] = there if channel is None else {channel: there[channel]}
    with waiting(session, "sending"):
        document = check(chosen, time.time())
    if session.output == "json":
        session.print_json(document)
    else:
        from mcloud.dashboard.alerts import answers

        session.print(answers(document))
    if not all(each["ok"] for each in document):
        raise typer.Exit(3)


def _watching(session: Session) -> "State | None":
    """The state of a watcher of this profile that runs."""
    for _, runs, state in session.runs()["watcher"]:
        if runs and state.get("profile") == session.config.profile:
            return _state_of(session, state)
    return None


def _state_of(session: Session, document: dict[str, Any]) -> "State":
    from mcloud.alerts.engine import State
    from mcloud.documents import Damaged, decode

    if document.get("profile") != session.config.profile:
        return State()
    state = decode(State, document["state"], "the state of the alerts")
    return State() if isinstance(state, Damaged) else state


def _tell(session: Session, event: "Event") -> None:
    if session.output == "json":
        import json

        from mcloud.notify.origin import origin
        from mcloud.notify.payload import document

        print(json.dumps(document(event, origin(session.config))), flush=True)
        return
    from rich.text import Text

    from mcloud.notify.payload import headline

    style = "green" if event.state == "resolved" else "bold red"
    text = f"\n{event.text}" if event.text else ""
    session.print(Text.assemble((headline(event), style), text))
