"""``mcloud failover``"""

import socket
import time
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.session import Session, command
from mcloud.errors import McloudError, UsageError

if TYPE_CHECKING:
    from mcloud.clouds.ports import Site
    from mcloud.failover.execution import MoveOutcome, Routes, Tools
    from mcloud.failover.journal import MoveOrder
    from mcloud.failover.preflight import Preflight, Quotas

TELLING = 5.0  # seconds that a channel may take


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
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")] = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Show who moved the traffic, when and why.",
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
    from mcloud.config import unknown
    from mcloud.documents import encode
    from mcloud.failover.execution import tools
    from mcloud.failover.preflight import parse_forced

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
    use = tools(config.state, config.profile, "manual", sites, routes=lambda: routes(session))
    before, there, order = _look(session, sites, site, use, forced)
    failed = before.failed(forced)
    if dry_run:
        if session.output == "json":
            session.print_json(before.with_verdict(forced))
        else:
            _draw(session, before)
        if failed:
            raise typer.Exit(3)
        return
    if session.output != "json":
        _draw(session, before)
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
    came = _move(session, there, use, order or _order(before, reason, wait, forced), wait)
    _tell(session, came)
    if session.output == "json":
        session.print_json({"preflight": before, **encode(came.report)})
    else:
        from mcloud.drawing.failover import outcome

        session.print(outcome(came.report))
    if not came.is_moved or came.problem or (wait and came.owed):
        raise typer.Exit(1)


def who() -> str:
    """Return the user and the machine, for the audit log."""
    import getpass

    return f"{getpass.getuser()}@{socket.gethostname()}"


def routes(session: Session) -> "Routes":
    """Return the routes of the running producers of this folder that follow the control record."""
    return {
        each.name: each.state.route.sites
        for each in session.runs().producers
        if each.runs and each.state and each.state.mode == "primary"
    }


def _look(
    session: Session,
    sites: "dict[str, Site]",
    target: str,
    use: "Tools",
    forced: tuple[str, ...],
) -> "tuple[Preflight, dict[str, Site], MoveOrder | None]":
    """Return the checks, the sites that answer, and an unfinished move."""
    from mcloud.cli.progress import waiting
    from mcloud.documents import Damaged
    from mcloud.failover import debts, record
    from mcloud.failover.execution import DEADLINE, is_effective, unfinished
    from mcloud.failover.preflight import preflight
    from mcloud.failover.settings import guard_settings
    from mcloud.producer.router import PERIOD

    settings = guard_settings(session.config)
    with waiting(session, f"checking {target}"):
        view = record.read(sites, record.DEADLINE)
        there = {name: sites[name] for name in view.answered}
        away = {n: str(told) for n, told in view.by_site.items() if isinstance(told, Exception)}
        if target not in there and "health" not in forced:
            raise McloudError(
                f"{target} does not answer: {away[target]}",
                remedy="a site that does not answer cannot become the primary",
            )
        owed = debts.read(there, DEADLINE) if there else {}
        looked_at = {**there, target: sites[target]}
        before = preflight(
            *(looked_at, target, view.record, away, owed, settings),
            *(_quotas(session, target), PERIOD),
        )
    journal = use.journal.found()
    if isinstance(journal, Damaged):
        session.warn(f"{journal}; a move that it records is not resumed")
    order = unfinished(use)
    if order is None:
        return before, there, None
    if not is_effective(use, view.record):
        session.say(
            f"an earlier move to {order.target} has changed nothing ({order.id}); starting again"
        )
        return before, there, None
    if order.target != target or before.primary != target:
        return before, there, None  # a different move, or the traffic has been moved since
    session.say(f"resuming the move that {order.by} began: {order.id}")
    return before, there, order


def _order(before: "Preflight", reason: str, wait: bool, forced: tuple[str, ...]) -> "MoveOrder":
    from mcloud.failover.audit import new_id
    from mcloud.failover.journal import MoveOrder

    at = round(time.time(), 3)
    overridden = {c.subject for c in before.failed(())} & set(forced)
    return MoveOrder(
        id=new_id(at),
        target=before.target,
        mode="manual",
        reason=reason or "by hand",
        by=who(),
        at=at,
        epoch=before.epoch,
        leads=before.primary,
        recover="debt" not in forced,
        wait=wait,
        forced=tuple(sorted(overridden)),
    )


def _move(
    session: Session, there: "dict[str, Site]", use: "Tools", order: "MoveOrder", wait: bool
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
    from mcloud.notify.open import open_notifier

    if not came.is_moved:
        return
    notifier = open_notifier(session.config)
    notifier.send(moved(came, came.order.reason))
    notifier.close(TELLING)
    for failure in notifier.failures():
        session.warn(f"not notified: {failure}")


def _quotas(session: Session, site: str) -> "Quotas":
    """Return the checks of the account's quotas; none for embedded clouds."""
    from mcloud.clouds.access import Target
    from mcloud.clouds.factory import open_access
    from mcloud.sites.resources import known_settings, site_resources

    config = session.config
    if site not in config.sites:
        return {}
    mine = config.sites[site]
    resources = site_resources(config)[site]
    known = known_settings(config, mine)
    if any(known[name].value for name in ("endpoint_url", "pubsub_endpoint") if name in known):
        return {}
    project = known["project"].value if "project" in known else ""
    target = Target(mine.stack, known["region"].value, project, resources, mine.variables)
    return open_access(mine.cloud, target).quotas()


def _draw(session: Session, before: "Preflight") -> None:
    from mcloud.drawing.failover import preflight

    session.print(preflight(before))


def _forget(session: Session, site: str, reason: str, *, yes: bool, dry_run: bool) -> None:
    """Forget the catch-up of a site that no longer exists, and explain what happens to its data."""
    from datetime import UTC, datetime

    from mcloud.cli.ask import agree
    from mcloud.failover import debts
    from mcloud.failover.audit import Audit, AuditEntry, new_id
    from mcloud.failover.execution import DEADLINE

    sites = session.sites()
    owed = debts.read(sites, DEADLINE)
    if site not in owed:
        known = ", ".join(owed) or "no site"
        raise UsageError(f"no catch-up is due for {site!r}; one is due for {known}")
    if site in sites:
        raise UsageError(
            f"{site} is a site of the profile {session.config.profile}, and can still be caught up",
            remedy="run `mcloud failover SITE --wait` with the current primary, or remove"
            f" {site} from the configuration first",
        )
    debt = owed[site]
    since = datetime.fromtimestamp(debt.since, UTC)
    session.say(
        f"{site} was replaced as primary in epoch {debt.epoch}, and has not been proven equal to"
        f" the other sites since {since:%Y-%m-%d %H:%M} UTC."
    )
    session.say(
        f"Trades that only {site} received since then, and that were not copied, stay with it:"
        " nothing is copied from it any more, and nothing is deleted there. What still exists of"
        f" its queue, candles and raw trades costs money until it is removed in its cloud."
    )
    session.say(
        f"`mcloud verify` names trade ids that are missing from {', '.join(sites)}, and"
        " `mcloud verify --repair` fetches them from the exchange as far as it still has them."
    )
    if dry_run:
        return
    agree(session, f"forget the catch-up of {site}?", yes=yes)
    at, by = round(time.time(), 3), who()
    before = {"epoch": debt.epoch, "since": debt.since, "paid": debt.paid}
    entry = AuditEntry(
        new_id(at), "forget debt", by, reason or f"{site} no longer exists", at, before
    )
    audit = Audit(session.config.state / "audit.jsonl", sites)
    audit.write(entry)
    away = debts.forget(sites, debt, at=at, seconds=DEADLINE)
    audit.share([entry], [name for name in sites if name not in away])
    for name, why in away.items():
        session.warn(
            f"{name} still records the catch-up; a guard corrects it when the site is back: {why}"
        )
    if session.output == "json":
        session.print_json({"forgotten": site, "epoch": debt.epoch, "away": away})
    session.say(f"the catch-up of {site} is forgotten")


def _history(session: Session) -> None:
    from mcloud.documents import damaged, sound
    from mcloud.failover.audit import Audit

    log = Audit(session.config.state / "audit.jsonl", {}).found(100)
    for each in damaged(log):
        session.warn(f"{each.where} is left out: {each.what}")
    found = sound(log)
    if session.output == "json":
        session.print_json(found)
    elif not found:
        session.say("no failover has been run from here")
    else:
        from mcloud.drawing.failover import entries

        session.print(entries(found))
