"""``mcloud alerts``: rules, their state, and the channels that report it."""

import threading
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli import background
from mcloud.cli.help import group
from mcloud.cli.options import DETACH, WAIT, length_of_time, moment
from mcloud.cli.session import INTERRUPTED, Session, command
from mcloud.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcloud.alerts.engine import AlertStates
    from mcloud.alerts.watch import WatcherState
    from mcloud.clouds.ports import Site
    from mcloud.failover.audit import AuditStep
    from mcloud.notify.channels import Channel
    from mcloud.notify.event import Event
    from mcloud.notify.silences import MergedSilences, Silence


HELP = """List, watch and silence alerts, and test their channels.

Rules are in [alerts] of mcloud.toml, channels in [channels].

Examples:
mcloud alerts list
mcloud alerts watch --detach
mcloud alerts silence aws --for 2h --why "upgrade of the queue"
"""


def register(app: typer.Typer) -> None:
    alerts = group(app, "alerts", HELP)
    command(alerts, "list")(list_)
    command(alerts)(watch)
    command(alerts)(silence)
    command(alerts)(silences)
    command(alerts)(unsilence)
    command(alerts, "test")(send_test)


def list_(session: Session, wait: WAIT = False) -> None:
    """List the alerts that fire, with what helps; exit 3 if one does.

    With -v it lists every rule with its figures.

    Examples:
    mcloud alerts list
    mcloud alerts list -v
    mcloud alerts list -o json
    """
    import time

    from mcloud.alerts.report import report
    from mcloud.alerts.rules import rules
    from mcloud.cli.progress import waiting
    from mcloud.cli.reading import opened
    from mcloud.notify import silences as quiet
    from mcloud.observing.alert_readings import read_once

    chosen = rules(session.config)
    sites = opened(session, None, wait=wait)
    with waiting(session, "reading the sites"):
        figures = read_once(session.config, sites)
        told, away = quiet.read(sites)
    watcher, now = _watching(session), time.time()
    active = [each for each in told.silences.values() if each.is_active(now)]
    found = report(chosen, figures, watcher, now, active)
    if session.output == "json":
        session.print_json(found)
    else:
        from mcloud.drawing.alerts import everything, summary

        drawn = everything(found) if session.verbose else summary(found, session.advice)
        session.print(drawn)
    if len(away) == len(sites):
        session.warn(f"no site could report its silences: {next(iter(away.values()))}")
    if watcher is None:
        session.say(
            "no watcher is running, so this is a single check: a rule fires at once, however short"
            " its condition has lasted. `mcloud alerts watch --detach` starts a watcher"
        )
    if found.firing:
        raise typer.Exit(3)


def watch(
    session: Session,
    interval: Annotated[
        float | None,
        typer.Option(
            min=1,
            max=300,
            metavar="SECONDS",
            help="Seconds between two checks. Default: `interval` in [alerts], or 60.",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of this watcher.")] = "alerts",
    detach: DETACH = False,
) -> None:
    """Check the rules continuously and notify the channels.

    A channel gets a message when a rule starts to fire and when it stops.

    Examples:
    mcloud alerts watch
    mcloud alerts watch --interval 30 --detach
    """
    from dataclasses import replace

    from mcloud import runs
    from mcloud.alerts.rules import rules
    from mcloud.alerts.watch import WatcherAbout, WatcherState
    from mcloud.alerts.watch import watch as run_watch
    from mcloud.notify.channels import channels
    from mcloud.notify.open import open_shared
    from mcloud.notify.silences import Silences
    from mcloud.observing.alert_readings import repeated_reader
    from mcloud.run_states import previous_state

    run = runs.run_of(session.config.state / "alerts", name)
    chosen = rules(session.config)
    if interval is not None:
        chosen = replace(chosen, settings=replace(chosen.settings, interval=interval))
    there = channels(session.config)
    if not there:
        session.warn("mcloud.toml has no channels, so alerts are only shown here")
    if detach:
        background.detach(session, run)
        return
    sites = session.sites()
    stop = threading.Event()
    with background.alone(run), background.stopping(stop):
        before, log = previous_state(run, WatcherState, session.warn), run.logger()
        quiet = Silences(sites, not_before=before.at if before else 0.0)
        run_watch(
            chosen,
            repeated_reader(session.config, sites, chosen.settings.interval),
            open_shared(session.config, sites, run.folder / "told.json", quiet, log),
            _states_of(session, before),
            stop=stop,
            silences=quiet,
            tell=lambda event: _tell(session, event),
            keep=run.write,
            about=WatcherAbout(name, session.config.profile, tuple(there)),
            log=log,
        )
    raise typer.Exit(INTERRUPTED)


def silence(
    session: Session,
    target: Annotated[str, typer.Argument(help="Name of a rule, a site or a symbol.")],
    of: Annotated[
        str | None,
        typer.Argument(
            help="The site, symbol, producer or guard to silence, if the target is a rule."
            " Default: all of them."
        ),
    ] = None,
    why: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Reason. It is required, and shown to all who list the silences."
        ),
    ] = "",
    lasts: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Length, such as 90m, 2h or 7d. Maximum: 30d."
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="End as an ISO time, instead of --for. UTC unless it has a zone.",
        ),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Start of a planned window, as an ISO time. Default: now.",
        ),
    ] = None,
) -> None:
    """Silence a rule, a site or a symbol for a while.

    Every watcher and guard honours it. An alert that still fires at the end is sent then. If an
    alert was sent before, its resolution is sent during the silence too. Producers, guards and
    budgets are silenced by the name of their rule only.

    Examples:
    mcloud alerts silence aws --for 2h --why "upgrade of the queue"
    mcloud alerts silence dead-letters gcp --for 90m --why "known poison"
    """
    import os
    import time

    from mcloud.alerts.rules import rules
    from mcloud.alerts.silence_target import target_of
    from mcloud.drawing.alerts import target as words
    from mcloud.durations import utc
    from mcloud.failover.audit import operator
    from mcloud.notify import silences as quiet

    if not why.strip():
        raise UsageError('a silence needs a reason; add --why "..."')
    if len(why) > quiet.TEXT:
        raise UsageError(f"--why has {len(why)} characters; at most {quiet.TEXT} are kept")
    now = time.time()
    first, last = _window(now, lasts, until, begin)
    sites = session.sites()
    what, name = target_of(target, of, rules(session.config), sites)
    made = quiet.Silence(
        what, name, of or "", why.strip(), operator(), now, first, last, id=os.urandom(3).hex()
    )
    _store(session, sites, made, "silence", now, made.why)
    if session.output == "json":
        session.print_json(made.listed(now))
    when = f"from {utc(first)} " if first > now else ""
    session.say(
        f"{words(made)} is silenced {when}until {utc(last)};"
        f" `mcloud alerts unsilence {made.id}` ends it"
    )


def silences(session: Session, wait: WAIT = False) -> None:
    """List the silences that are active or planned.

    Examples:
    mcloud alerts silences
    mcloud alerts silences -o json
    """
    import time

    from mcloud.cli.reading import opened

    now = time.time()
    told = _told_silences(session, opened(session, None, wait=wait))
    found = [
        each.listed(now)
        for each in sorted(told.silences.values(), key=lambda each: each.end)
        if each.is_active(now) or each.is_planned(now)
    ]
    if session.output == "json":
        session.print_json(found)
    elif not found:
        session.say("no silence is active or planned")
    else:
        from mcloud.drawing.alerts import silences as table

        session.print(table(found))
    for id_, broken in told.unreadable.items():
        if broken.is_newer:
            what, remedy = "written by a newer version of mcloud", "upgrade mcloud here"
        else:
            what, remedy = "damaged", f"`mcloud alerts unsilence {id_}` removes it"
        session.warn(f"the silence {id_} is {what} and has no effect; {remedy}")


def unsilence(
    session: Session,
    silence: Annotated[str, typer.Argument(help="Id of the silence (`mcloud alerts silences`).")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="Reason, for the audit log.")] = "",
) -> None:
    """End an active silence, or cancel a planned one.

    Examples:
    mcloud alerts unsilence 5f0c2a
    mcloud alerts unsilence 5f0c2a --why "the upgrade is done"
    """
    import time
    from dataclasses import replace

    from mcloud.config import did_you_mean
    from mcloud.drawing.alerts import target as words
    from mcloud.notify import silences as quiet

    now, sites = time.time(), session.sites()
    told = _told_silences(session, sites)
    broken = told.unreadable.get(silence)
    if broken is not None and not broken.is_newer:
        away = quiet.forget(sites, [silence])
        for name, reason in away.items():
            session.warn(f"{name} could not be asked to remove it: {reason}")
        session.say(f"the damaged silence {silence} is removed")
        return
    there = {i: s for i, s in told.silences.items() if s.is_active(now) or s.is_planned(now)}
    if silence not in there:
        hint = did_you_mean(silence, there) or "; see `mcloud alerts silences`"
        raise UsageError(f"no silence {silence!r} is active or planned{hint}")
    ended = replace(there[silence], over=True)
    _store(session, sites, ended, "unsilence", now, why or ended.why)
    if session.output == "json":
        session.print_json(ended.listed(now))
    session.say(f"{words(ended)} is no longer silenced")


def send_test(
    session: Session,
    channel: Annotated[
        str | None, typer.Argument(help="Name of a channel. Default: all channels.")
    ] = None,
) -> None:
    """Send a test message through each channel; exit 3 if one fails.

    Examples:
    mcloud alerts test
    mcloud alerts test -o json
    """
    import time

    from mcloud.cli.progress import waiting
    from mcloud.config import unknown
    from mcloud.notify.channels import channels
    from mcloud.notify.check import check

    there = channels(session.config)
    if not there:
        raise ConfigError(
            "no channels are configured", remedy="add one as [channels.NAME] to mcloud.toml"
        )
    if channel is not None and channel not in there:
        raise unknown("channel", channel, there)
    chosen: dict[str, Channel] = there if channel is None else {channel: there[channel]}
    with waiting(session, "sending"):
        found = check(chosen, time.time())
    if session.output == "json":
        session.print_json(found)
    else:
        from mcloud.drawing.alerts import answers

        session.print(answers(found))
    if not all(each.ok for each in found):
        raise typer.Exit(3)


def _window(
    now: float, lasts: str | None, until: str | None, begin: str | None
) -> tuple[float, float]:
    """Return start and end in seconds since 1970. Raise UsageError if they are invalid."""
    from mcloud.notify.silences import check_window

    if (lasts is None) == (until is None):
        raise UsageError("the silence needs an end: use either --for, such as --for 2h, or --until")
    first = now if begin is None else moment("--from", begin) / 1000
    if lasts is not None:
        last = first + length_of_time("--for", lasts)
    else:
        last = moment("--until", until or "") / 1000
    check_window(first, last, now)
    return first, last


def _told_silences(session: Session, sites: "Mapping[str, Site]") -> "MergedSilences":
    from mcloud.notify.silences import read_any

    told, away = read_any(sites)
    for name, reason in away.items():
        session.warn(f"{name} could not report its silences: {reason}")
    return told


def _store(
    session: Session,
    sites: "dict[str, Site]",
    made: "Silence",
    step: "AuditStep",
    now: float,
    why: str,
) -> None:
    from mcloud.documents import encode
    from mcloud.failover.audit import audit_log, own_entry
    from mcloud.notify.silences import keep_any

    away = keep_any(sites, made, now)
    for name, reason in away.items():
        session.warn(
            f"{name} could not store the silence; the next watcher that reaches it will: {reason}"
        )
    entry = own_entry(step, why, now, after=encode(made.listed(now)))
    audit_log(session.config.state, sites).note(entry, away=away)


def _watching(session: Session) -> "AlertStates | None":
    """Return the states of a running watcher of this profile, or None."""
    for each in session.runs().alerts:
        if each.runs and each.state and each.state.profile == session.config.profile:
            return each.state.state
    return None


def _states_of(session: Session, before: "WatcherState | None") -> "AlertStates":
    """Return the states of an earlier watcher, if it was one of this profile."""
    from mcloud.alerts.engine import AlertStates

    is_ours = before is not None and before.profile == session.config.profile
    return before.state if before is not None and is_ours else AlertStates()


def _tell(session: Session, event: "Event") -> None:
    if session.output == "json":
        from mcloud.notify.origin import origin
        from mcloud.notify.payload import document

        session.print_line(document(event, origin(session.config)))
        return
    from mcloud.drawing.alerts import news

    session.print(news(event))
