"""``mcloud verify``"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import END, KINDS, START, SYMBOLS, WAIT, YES, window_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcloud.clouds.ports import Site
    from mcloud.replication.hour_digest import HourWindow
    from mcloud.replication.scope import Scope
    from mcloud.replication.verify_document import RepairDocument
    from mcloud.replication.verify_report import VerifyReport

_REPAIR = "Repair"


def register(app: typer.Typer) -> None:
    command(app, formats=("text", "json", "html"))(verify)


def verify(
    session: Session,
    sites: Annotated[
        str | None, typer.Argument(help="Comma-separated sites. Default: all sites.")
    ] = None,
    symbols: SYMBOLS = None,
    start: START = None,
    end: END = None,
    what: KINDS = "candles,raw",
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Recompute each candle from the raw trades, and compare.",
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Repair what is found, from the other sites, the raw trades and the exchange."
            " It asks first.",
            rich_help_panel=_REPAIR,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what --repair would do, and change nothing.",
            rich_help_panel=_REPAIR,
        ),
    ] = False,
    yes: YES = False,
    wait: WAIT = False,
) -> None:
    """Compare the sites; exit 3 if anything differs or is missing.

    It compares candles and raw trades, and finds missing trade ids. A site that does not answer is
    left out, except with `--repair`; the command then exits with 1.

    Examples:
    mcloud verify
    mcloud verify --symbols BTCUSDT --start 2024-08-08 --deep
    mcloud verify --repair --yes
    """
    from mcloud.cli.reading import read_rest
    from mcloud.drawing.verify import view
    from mcloud.replication.scope import Scope
    from mcloud.replication.verify_document import document

    scope = Scope.parse(what, symbols, None)
    if deep and not (scope.candles and scope.raw):
        raise UsageError("--deep compares candles with raw trades, so it needs --what candles,raw")
    window = window_of(start, end)
    repairs = repair or dry_run

    def look(chosen: "Mapping[str, Site]") -> "VerifyReport":
        return _look(session, chosen, scope, window, deep)

    report, away = read_rest(session, sites, look, wait=wait or repairs)
    repaired = None
    if repairs and not report.ok:
        chosen = session.sites(sites)
        repaired, report = _repair(session, chosen, report, scope, dry_run, yes)
    if session.output == "json":
        session.print_json(document(report, repaired, away))
    elif session.output == "html":
        from mcloud.drawing.html import verify_page

        print(verify_page(document(report, repaired, away)))
    elif repaired is None or repaired.done:
        session.print(view(document(report)))
    if not report.ok:
        if not repairs and not away:
            session.say(
                f"`{session.again('--repair')}` shows how it would fix this, and asks first"
            )
        raise typer.Exit(1 if away else 3)
    if away:
        raise typer.Exit(1)


def _look(
    session: Session, sites: "Mapping[str, Site]", scope: "Scope", window: "HourWindow", deep: bool
) -> "VerifyReport":
    from mcloud.cli.progress import waiting
    from mcloud.replication.verify import verify

    with waiting(session, "verifying") as tell:
        return verify(sites, scope, window, deep=deep, tell=tell)


def _repair(
    session: Session,
    sites: "dict[str, Site]",
    report: "VerifyReport",
    scope: "Scope",
    dry_run: bool,
    yes: bool,
) -> "tuple[RepairDocument, VerifyReport]":
    """Repair the findings. Return the plan with its result, and the report afterwards."""
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.drawing.verify import plan_lines, view
    from mcloud.feed.binance.endpoints import API_KEY
    from mcloud.feed.binance.open import open_history
    from mcloud.replication.backup import Backup
    from mcloud.replication.repair import plan, repair
    from mcloud.replication.verify_document import (
        RepairDocument,
        document,
        finding_documents,
        plan_document,
    )

    exchange = open_history(session.config.exchange, os.environ.get(API_KEY, ""))
    with waiting(session, "planning"):
        made = plan(report, sites, has_exchange=True)
    planned = plan_document(made)
    repaired = RepairDocument(exchange.name, planned.exchange_requests * exchange.pace, planned)
    if session.output == "text":
        session.print(view(document(report)))
        session.print("")
        session.print(plan_lines(repaired))
    if dry_run or made.is_empty:
        return repaired, report
    agree(session, "apply these repairs?", yes=yes)
    with waiting(session, "repairing") as tell:
        backup = Backup(session.config.state / "removed")
        done = repair(made, sites, exchange.fetch, backup=backup, tell=tell)
    if backup.count:
        session.say(f"removed and overwritten contents are in {backup.path}")
    for problem in done.problems:
        session.warn(problem)
    repaired = replace(repaired, done=done, found=finding_documents(report.findings))
    return repaired, _look(session, sites, scope, report.window, report.deep)
