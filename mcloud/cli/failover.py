"""``mcloud failover``"""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import YES
from mcloud.cli.session import Session, command
from mcloud.errors import McloudError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcloud.clouds.ports import ControlRecord, Site
    from mcloud.failover.execution import MoveOutcome, Tools
    from mcloud.failover.journal import MoveOrder

TELLING = 5.0  # seconds that a channel may take
MOVES = 20  # of the history, that a person sees

_OTHER = "Instead of a failover"


def register(app: typer.Typer) -> None:
    command(app)(failover)


def failover(
    session: Session,
    site: Annotated[str | None, typer.Argument(help="Site that becomes the primary.")] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait until the former primary is caught up and verified."),
    ] = False,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Reason, for the control record and the audit log.")
    ] = "",
    force: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKS",
            help="Checks to override, comma-separated: health, canary, lag, backlog, quotas, debt.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run the checks only; exit with 3 if one fails."),
    ] = False,
    yes: YES = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Show who moved the traffic, when and why. With -v, every step.",
            rich_help_panel=_OTHER,
        ),
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(
            metavar="SITE",
            help="Forget the catch-up that is due for a site that no longer exists.",
            rich_help_panel=_OTHER,
        ),
    ] = None,
) -> None:
    """Make another site the primary.

    It checks the site, and writes the control record on all sites. Producers with `--mode primary`
    follow within seconds. Data that only the former primary has is copied.

    Examples:
    mcloud failover gcp --dry-run
    mcloud failover gcp --reason "maintenance of aws" --wait
    mcloud failover --history
    """
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.config import unknown
    from mcloud.documents import encode
    from mcloud.drawing.failover import outcome, preflight
    from mcloud.failover.execution import tools
    from mcloud.failover.manual_move import leading, new_order, prepare
    from mcloud.failover.preflight import parse_forced
    from mcloud.failover.settings import guard_settings
    from mcloud.producer.router import PERIOD
    from mcloud.sites.resources import quota_checks

    if history:
        _history(session)
        return
    if forget is not None:
        _forget(session, forget, reason, yes=yes, dry_run=dry_run)
        return
    if site is None:
        raise UsageError(
            "the name of the site is missing", remedy="`mcloud status` lists the sites"
        )
    forced = parse_forced(force)
    sites = session.sites()
    if site not in sites:
        raise unknown("site", site, sites)
    if len(sites) < 2:
        raise UsageError(f"{site} is the only site; there is nothing to move")
    config = session.config
    use = tools(
        *(config.state, config.profile, "manual", sites), routes=lambda: session.runs().routes
    )
    if not (wait or dry_run):
        with waiting(session, "reading the control record"):
            leads = leading(sites, site, use)
        if leads is not None:
            _tell_that_it_leads(session, leads)
            return
    with waiting(session, f"checking {site}"):
        found = prepare(
            *(sites, site, use, guard_settings(config)),
            forced=forced,
            quotas=quota_checks(config, site),
            following=PERIOD,
        )
    if found.journal_damage:
        session.warn(f"{found.journal_damage}; a move that it records is not resumed")
    if found.ineffective:
        earlier = found.ineffective
        session.say(
            f"an earlier move to {earlier.target} has changed nothing ({earlier.id});"
            " starting again"
        )
    if found.unfinished:
        session.say(f"resuming the move that {found.unfinished.by} began: {found.unfinished.id}")
    before = found.preflight
    failed = before.failed(forced)
    if session.output != "json":
        session.print(preflight(before))
    elif dry_run:
        session.print_json(before.with_verdict(forced))
    if dry_run:
        if failed:
            raise typer.Exit(3)
        return
    if failed:
        names = sorted({each.subject for each in failed})
        raise McloudError(
            f"{site} should not become the primary now: {failed[0].check}: {failed[0].text}",
            remedy=f"fix this, or override it with --force {','.join(names)}",
        )
    only_settles = wait and site == before.primary
    agree(
        session,
        "run the catch-up that is due?" if only_settles else f"make {site} the primary?",
        yes=yes,
    )
    order = found.unfinished or new_order(before, reason, wait=wait, forced=forced, at=time.time())
    came = _move(session, found.sites, use, order, wait)
    _tell(session, came)
    if session.output == "json":
        session.print_json({"preflight": before, **encode(came.report)})
    else:
        session.print(outcome(came.report))
    if not came.is_moved or came.problem or (wait and came.owed):
        raise typer.Exit(1)


def _tell_that_it_leads(session: Session, record: "ControlRecord") -> None:
    from mcloud.durations import utc

    if session.output == "json":
        session.print_json({"moved": False, **vars(record)})
    since = f"since {utc(record.at)}, in epoch {record.epoch}"
    session.say(f"{record.primary} is the primary already, {since}; nothing was changed")


def _move(
    session: Session, there: "Mapping[str, Site]", use: "Tools", order: "MoveOrder", wait: bool
) -> "MoveOutcome":
    from dataclasses import replace

    from mcloud.cli import background
    from mcloud.cli.progress import waiting
    from mcloud.failover.execution import carry_out

    order = replace(order, wait=wait or order.wait)
    with waiting(session, f"moving to {order.target}") as tell, background.stopping(use.stop):
        return carry_out(order, there, replace(use, tell=tell))


def _tell(session: Session, came: "MoveOutcome") -> None:
    """Notify the channels. A channel that fails is reported, and delays nothing."""
    from mcloud.failover.events import moved
    from mcloud.notify.open import send_once

    if came.is_moved:
        for failure in send_once(session.config, moved(came, came.order.reason), TELLING):
            session.warn(f"not notified: {failure}")


def _forget(session: Session, site: str, reason: str, *, yes: bool, dry_run: bool) -> None:
    """Forget the catch-up of a site that no longer exists, and explain what happens to its data."""
    from mcloud.cli.ask import agree
    from mcloud.drawing.failover import consequences
    from mcloud.failover import debts
    from mcloud.failover.execution import DEADLINE

    config, sites = session.config, session.sites()
    debt = debts.abandoned(sites, site, config.profile, DEADLINE)
    for line in consequences(debt, list(sites)):
        session.say(line)
    if dry_run:
        return
    agree(session, f"forget the catch-up of {site}?", yes=yes)
    away = debts.forget_and_record(
        sites, config.state, debt, why=reason, at=round(time.time(), 3), seconds=DEADLINE
    )
    for name, why in away.items():
        session.warn(
            f"{name} still records the catch-up; a guard corrects it when the site is back: {why}"
        )
    if session.output == "json":
        session.print_json({"forgotten": site, "epoch": debt.epoch, "away": away})
    session.say(f"the catch-up of {site} is forgotten")


def _history(session: Session) -> None:
    from mcloud.documents import damaged, sound
    from mcloud.failover.audit import KEPT, audit_log

    log = audit_log(session.config.state, {}).found(KEPT)
    for each in damaged(log):
        session.warn(f"{each.where} is left out: {each.what}")
    found = sound(log)
    if session.output == "json":
        session.print_json(found)
    elif not found:
        session.say("no failover has been run from here")
    else:
        from mcloud.drawing.failover import moves, steps
        from mcloud.failover.moves import logged_moves

        last = logged_moves(found)[-MOVES:]
        session.print(steps(last) if session.verbose else moves(last))
