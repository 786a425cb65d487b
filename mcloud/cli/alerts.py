"""``mcloud alerts``: rules, their state, and the channels that tell it."""

import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcloud.cli import background
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import ConfigError, McloudError, UsageError

if TYPE_CHECKING:
    from mcloud.alerts.engine import State
    from mcloud.alerts.figures import Figures
    from mcloud.clouds.ports import Site
    from mcloud.notify.channels import Channel
    from mcloud.notify.event import Event
    from mcloud.runs import Run

ANOMALIES = 3600.0  # seconds
PATIENCE = 8.0  # seconds for a site to tell them


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

    from mcloud.alerts.report import report
    from mcloud.alerts.rules import rules
    from mcloud.cli.progress import waiting

    chosen = rules(session.config)
    sites = session.sites()
    with waiting(session, "asking the sites"):
        figures = _look(session, sites)
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
            lambda: _look(session, sites),
            open_notifier(session.config, run.folder / "told.json"),
            _state_of(session, run.read()),
            stop=stop,
            tell=lambda event: _tell(session, event),
            keep=lambda document: _keep(run, {**about, **document}),
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


def _look(session: Session, sites: "dict[str, Site]") -> "Figures":
    """The figures of the document of ``mcloud status -o json``, and what it does not have."""
    from functools import partial

    from mcloud.alerts.figures import Figures
    from mcloud.dashboard.document import document
    from mcloud.dashboard.machine import machine
    from mcloud.dashboard.snapshot import collect

    budgets = _budgets(session)
    seen = {
        **document(collect(sites, partial(machine, session.config.state))),
        "anomalies": _anomalies(sites),
        # The meters are only read for somebody who has a budget.
        "cost": _cost(session, sites) if budgets else None,
    }
    return Figures(seen, budgets)


def _budgets(session: Session) -> dict[str, float]:
    """Dollars a month by site, and ``total``."""
    from mcloud.cost.settings import money

    found = money(session.config)
    total = {} if found.budget is None else {"total": float(found.budget)}
    return {**{site: float(dollars) for site, dollars in found.budgets.items()}, **total}


def _cost(session: Session, sites: "dict[str, Site]") -> dict[str, Any]:
    from mcloud.cost.current import current

    try:
        cost = current(session.config, sites)
    except McloudError as error:
        return {"unknown": str(error)}
    return {
        "month_to_date_usd": None if cost.month_to_date is None else float(cost.month_to_date),
        "expected_usd": None if cost.expected is None else float(cost.expected),
        "by_site": {site: float(dollars) for site, dollars in cost.by_site.items()},
        "as_of": cost.as_of,
        "source": cost.source,
    }


def _anomalies(sites: "dict[str, Site]") -> dict[str, Any]:
    """Those of the last hour by symbol, each once, the newest first."""
    import time
    from functools import partial

    from mcloud.deadline import gather
    from mcloud.processor.anomalies import recent

    since = time.time() - ANOMALIES
    calls = {
        name: partial(lambda each: recent(each.control, since), site)
        for name, site in sites.items()
    }
    answers = gather(calls, PATIENCE)
    known = [each for each in answers.values() if not isinstance(each, Exception)]
    if not known:
        name, error = next(iter(answers.items()))
        return {"unknown": f"{name}: {error}"}
    by_key = {anomaly.key: anomaly for each in known for anomaly in each}
    found: dict[str, Any] = {}
    for key in sorted(by_key, reverse=True):
        anomaly = by_key[key]
        found.setdefault(anomaly.symbol, []).append(f"{anomaly.kind} at {anomaly.timestamp}")
    return found


def _watching(session: Session) -> "State | None":
    """The state of a watcher of this profile that runs."""
    for _, runs, state in session.runs()["watcher"]:
        if runs and state.get("profile") == session.config.profile:
            return _state_of(session, state)
    return None


def _state_of(session: Session, document: dict[str, Any]) -> "State":
    from mcloud.alerts.engine import State

    is_ours = document.get("profile") == session.config.profile
    return State.from_json(document.get("state", {}) if is_ours else {})


def _tell(session: Session, event: "Event") -> None:
    if session.output == "json":
        import json

        from mcloud.notify.payload import document

        print(json.dumps(document(event)), flush=True)
        return
    from rich.text import Text

    from mcloud.notify.payload import headline

    style = "green" if event.state == "resolved" else "bold red"
    text = f"\n{event.text}" if event.text else ""
    session.print(Text.assemble((headline(event), style), text))


def _keep(run: "Run", document: dict[str, Any]) -> None:
    from contextlib import suppress

    # A full disk has no room for this either; it must not end the run.
    with suppress(OSError):
        run.write(document)
