"""``mcloud resolve``"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.options import YES, moment, window_of
from mcloud.cli.session import Session, command
from mcloud.errors import UsageError
from mcloud.market.trade import capitals

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcloud.clouds.ports import Site
    from mcloud.replication.backup import Backup
    from mcloud.replication.hour_digest import HourWindow
    from mcloud.replication.resolve import Question


def register(app: typer.Typer) -> None:
    command(app)(resolve)


def resolve(
    session: Session,
    symbol: Annotated[str, typer.Argument(help="Symbol, such as BTCUSDT.")],
    what: Annotated[
        str,
        typer.Argument(
            help="A trade id, a range of ids (FIRST-LAST), a minute in UTC, or the key of a raw"
            " object."
        ),
    ],
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="CONTENT",
            help="Content to keep: the name of a site, the eight digits in front of a content,"
            " `archive` for a candle made from the raw trades, or `nothing`. Without it the"
            " contents are only shown.",
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="First hour to search for ids, UTC. Default: no limit."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="End of the search, UTC, exclusive. Default: no limit."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be kept, and change nothing.")
    ] = False,
    yes: YES = False,
) -> None:
    """Choose between two contents that `verify` found.

    The content that you keep is written to all sites. All other contents are removed, after a copy
    of them is written to .mcloud/removed on this machine.

    Examples:
    mcloud resolve BTCUSDT 3735684300
    mcloud resolve BTCUSDT 3735684300-3735684399 --keep aws
    mcloud resolve BTCUSDT 2024-08-08T23:54 --keep archive
    """
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.config import did_you_mean
    from mcloud.drawing.resolve import contents
    from mcloud.replication.backup import Backup
    from mcloud.replication.settle import Settlement

    window = window_of(start, end)
    symbol = capitals(symbol)
    sites = session.sites()
    with waiting(session, "reading the contents") as tell:
        question = _ask(sites, symbol, what, window, tell)
    if keep is not None and keep not in question.options:
        known = ", ".join(question.options) or "none"
        raise UsageError(
            f"cannot keep {keep!r} of {question.subject}; the choices are"
            f" {known}{did_you_mean(keep, list(question.options))}"
        )
    if keep is None or dry_run:
        _show(session, question, keep)
        if question.is_open:
            raise typer.Exit(3)
        return
    if session.output != "json":
        session.print(contents(question))
    agree(session, f"keep {keep} of {question.subject} on {', '.join(sites)}?", yes=yes)
    backup = Backup(session.config.state / "removed")
    with waiting(session, "resolving"):
        problems = question.options[keep](Settlement(sites, backup))
    _note(session, sites, question, keep, backup, problems)
    if session.output == "json":
        session.print_json(
            replace(
                question.document,
                kept=keep,
                backup=str(backup.path) if backup.count else None,
                problems=tuple(problems),
            )
        )
    for problem in problems:
        session.warn(problem)
    if backup.count:
        session.say(f"the removed contents are in {backup.path}")
    if problems:
        raise typer.Exit(1)
    session.say(f"{question.subject}: kept {keep}; run `mcloud verify --deep` to check the result")


def _ask(
    sites: "dict[str, Site]",
    symbol: str,
    what: str,
    window: "HourWindow",
    tell: "Callable[[str], None]",
) -> "Question":
    import re

    from mcloud.market.candle import MINUTE
    from mcloud.market.ids import Ids
    from mcloud.replication.resolve import of_candle, of_ids, of_object

    if what.startswith("raw/"):
        return of_object(sites, symbol, what)
    if match := re.fullmatch(r"([0-9]{1,19})(?:-([0-9]{1,19}))?", what):
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"the range {what} ends before it begins")
        return of_ids(sites, symbol, Ids([(first, last)]), window, tell)
    return of_candle(sites, symbol, moment("WHAT", what) // MINUTE * MINUTE)


def _show(session: Session, question: "Question", keep: str | None) -> None:
    from mcloud.drawing.resolve import contents

    if session.output == "json":
        session.print_json(question.document)
        return
    session.print(contents(question))
    if keep is not None:
        session.say(f"would keep {keep}; nothing was changed")
    elif question.is_open:
        session.say(f"choose with --keep {' or --keep '.join(question.options)}")


def _note(
    session: Session,
    sites: "dict[str, Site]",
    question: "Question",
    keep: str,
    backup: "Backup",
    problems: list[str],
) -> None:
    """Record the choice in the audit log, with the path of the removed contents."""
    import time

    from mcloud.failover.audit import audit_log, own_entry

    entry = own_entry(
        "resolve",
        f"{question.subject}: keep {keep}",
        time.time(),
        before={"contents": list(question.lines)},
        after={
            "kept": keep,
            "removed": str(backup.path) if backup.count else "",
            "problems": problems,
        },
    )
    for name, why in audit_log(session.config.state, sites).note(entry).items():
        session.warn(f"{name} does not have the audit entry: {why}")
