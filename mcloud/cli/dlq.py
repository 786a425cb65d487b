"""``mcloud dlq``: dead letters."""

from typing import TYPE_CHECKING, Annotated

import typer

from mcloud.cli.help import group
from mcloud.cli.options import WAIT, YES
from mcloud.cli.session import Session, command
from mcloud.errors import McloudError, UsageError

if TYPE_CHECKING:
    from mcloud.clouds.ports import Queue
    from mcloud.replication.deadletters import Letter

PROBE = 5.0  # seconds; a bounded site waits for less

SITE = Annotated[str, typer.Argument(help="Name of the site.")]


HELP = """List, show, redrive and drop dead letters.

A dead letter is a message that a site could not process.

Examples:
mcloud dlq list aws
mcloud dlq redrive aws --dry-run
mcloud dlq redrive aws
"""


def register(app: typer.Typer) -> None:
    letters = group(app, "dlq", HELP)
    command(letters, "list")(list_)
    for function in (show, redrive, drop):
        command(letters)(function)


def list_(
    session: Session,
    site: SITE,
    limit: Annotated[
        int, typer.Option(min=1, metavar="COUNT", help="Maximum number of dead letters to read.")
    ] = 100,
    wait: WAIT = False,
) -> None:
    """List the dead letters of a site, with the reason for each.

    Examples:
    mcloud dlq list aws
    mcloud dlq list gcp --limit 1000 -o json
    """
    from mcloud.drawing.dlq import table

    letters = _explained(session, site, _look(session, site, limit, wait=wait))
    if session.output == "json":
        session.print_json([letter.document for letter in letters])
        return
    if not letters:
        session.say(f"{site} has no dead letters that can be read now")
        return
    session.print(table(letters, site))
    readable = sum(1 for letter in letters if not letter.reason)
    if readable:
        session.say(
            f"{readable} can be read; once the cause is fixed, run `mcloud dlq redrive {site}`"
        )


def show(
    session: Session,
    site: SITE,
    letter: Annotated[str, typer.Argument(help="Id of the dead letter (`mcloud dlq list SITE`).")],
    wait: WAIT = False,
) -> None:
    """Show one dead letter with its content.

    Examples:
    mcloud dlq show aws 6f1c2f3e-0f57-4a40-9d1d-2f6f0ce2f0aa
    mcloud dlq show gcp 12 -o json
    """
    from mcloud.documents import encode
    from mcloud.drawing.dlq import content

    letters = _look(session, site, 1000, wait=wait)
    found = next((each for each in letters if each.letter.id == letter), None)
    if found is None:
        raise McloudError(
            f"{site} has no visible dead letter {letter!r}",
            remedy=f"see `mcloud dlq list {site}`; a dead letter that was just read is hidden for"
            " two minutes",
        )
    (found,) = _explained(session, site, [found])
    if session.output == "json":
        trades = found.envelope.trades if found.envelope else ()
        session.print_json({**encode(found.document), "content": trades, "body": found.plain_body})
        return
    session.print(content(found, site))


def redrive(
    session: Session,
    site: SITE,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="COUNT", help="Maximum number of dead letters to send. Default: all."
        ),
    ] = None,
    all_: Annotated[
        bool,
        typer.Option(
            "--all", help="Include dead letters that cannot be read. They will come back."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")
    ] = False,
    yes: YES = False,
) -> None:
    """Send dead letters to the queue again, once their cause is fixed.

    Examples:
    mcloud dlq redrive aws --dry-run
    mcloud dlq redrive aws --limit 10 --yes
    """
    from mcloud.cli.ask import agree
    from mcloud.cli.progress import waiting
    from mcloud.replication import deadletters

    letters = _look(session, site, 1000)
    count = sum(1 for letter in letters if all_ or not letter.reason)
    some = f"{min(count, limit or count):,} of {_letters(len(letters))} seen"
    again = sum(1 for letter in letters if letter.has_come_back)
    if again:
        session.warn(f"{again:,} of them were sent again before and came back")
    if dry_run or not count:
        session.say(f"{some} on {site} would be sent again")
        if len(letters) > count:
            session.say("dead letters that cannot be read stay; --all sends them too")
        if session.output == "json":
            session.print_json({"would_send": min(count, limit or count), "seen": len(letters)})
        return
    agree(session, f"send {some} on {site} to its queue again?", yes=yes)
    queue = _queue(session, site)
    with waiting(session, "sending") as tell:
        done = deadletters.redrive(
            queue, limit=limit, unreadable=all_, tell=lambda sent: tell(f"{sent:,}")
        )
    if session.output == "json":
        session.print_json(
            {
                "sent": done.sent,
                "unreadable": done.unreadable,
                "came_back": done.came_back,
                "refused": done.refused,
            }
        )
    session.say(f"{len(done.sent):,} sent again")
    if done.unreadable:
        session.say(f"{len(done.unreadable):,} cannot be read and stay")
    if done.came_back:
        session.warn(f"{len(done.came_back):,} came back at once: their cause is not fixed")
    for id_, reason in done.refused.items():
        session.warn(f"{id_}: {reason}")
    _check_delivered(session, site, min(count, limit or count) - len(done.sent) - len(done.refused))
    if done.came_back or done.refused:
        raise typer.Exit(3)


def drop(
    session: Session,
    site: SITE,
    confirm: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="COUNT",
            help="Number of dead letters to delete, in place of the confirmation prompt.",
        ),
    ] = None,
) -> None:
    """Delete all dead letters of a site.

    It asks you to type their number, and first copies them into .mcloud/dropped on this machine.

    Examples:
    mcloud dlq drop aws
    mcloud dlq drop aws --confirm 3
    """
    import time

    from mcloud.cli.ask import type_in
    from mcloud.cli.progress import waiting
    from mcloud.replication import deadletters

    queue = _queue(session, site)
    seen = len(_look(session, site, 10_000))
    if not seen:
        session.say(f"{site} has no dead letters that can be read now")
        return
    typed = (
        confirm
        if confirm is not None
        else _number(
            type_in(
                session,
                f"{_letters(seen)} of {site} will be deleted; type the number",
                instead="--confirm COUNT",
            )
        )
    )
    if typed != seen:
        raise UsageError(f"{site} has {_letters(seen)}, not {typed}; nothing was deleted")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = session.config.state / "dropped" / f"{site}-{stamp}.jsonl"
    with waiting(session, "deleting"):
        dropped = deadletters.drop(queue, seen, path)
    if session.output == "json":
        session.print_json({"dropped": dropped, "file": str(path)})
    session.say(f"{dropped:,} deleted; their content is in {path}")
    _check_delivered(session, site, seen - dropped)


def _queue(session: Session, site: str) -> "Queue":
    if "," in site:
        raise UsageError("dlq takes a single site")
    return session.sites(site)[site].queue


def _look(session: Session, site: str, limit: int, *, wait: bool = True) -> "list[Letter]":
    import time

    from mcloud.cli.progress import waiting
    from mcloud.durations import duration
    from mcloud.replication.deadletters import read, unseen

    queue = _queue(session, site)
    with waiting(session, f"reading the dead letters of {site}"):
        if not wait:
            _check_that_it_answers(session, site)
        letters = sorted(map(read, queue.dead_letters(limit)), key=lambda each: each.letter.id)
        more = unseen(queue, len(letters)) if len(letters) < limit else None
    if more:
        age = duration(time.time() - more.as_of)
        session.warn(
            f"{site} had {_letters(len(letters) + more.count)} {age} ago, and {len(letters):,} of"
            " them could be read: another reader holds the others, or the queue has not delivered"
            " them; run the same command again in two minutes"
        )
    return letters


def _check_that_it_answers(session: Session, site: str) -> None:
    """Raise McloudError if the queue does not answer: reading dead letters takes longer."""
    from mcloud.errors import Refused, Unavailable

    try:
        session.readable_sites(site)[site].probe.check("queue", PROBE)
    except Refused:
        return  # the account may read dead letters, and not the settings of the queue
    except Unavailable as error:
        raise McloudError(
            f"{site} cannot be read: {error.message}",
            remedy="see `mcloud status`, or add --wait if it is slow",
        ) from error


def _check_delivered(session: Session, site: str, missing: int) -> None:
    """Warn, and exit with 3, if the queue did not deliver letters a second time."""
    if missing > 0:
        session.warn(
            f"{site} did not deliver {_letters(missing)} again in time: they are still there;"
            " run the same command again in two minutes"
        )
        raise typer.Exit(3)


def _explained(session: Session, site: str, letters: "list[Letter]") -> "list[Letter]":
    import time

    from mcloud.cli.progress import waiting
    from mcloud.replication.deadletters import explain

    with waiting(session, f"searching the function's log of {site}"):
        return explain(letters, session.sites(site)[site].logs, now=time.time())


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'s' * (count != 1)}"


def _number(text: str) -> int:
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise UsageError(f"invalid number {text!r}; nothing was deleted") from None
