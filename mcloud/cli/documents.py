"""``mcloud documents``: stored documents of the sites and this machine that cannot be read."""

import time
from typing import TYPE_CHECKING

import typer

from mcloud.cli.help import group
from mcloud.cli.options import DRY_RUN, WAIT, YES
from mcloud.cli.reading import opened
from mcloud.cli.session import Session, command
from mcloud.errors import McloudError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcloud.clouds.ports import Site
    from mcloud.damage import FoundDamage


HELP = """List and repair stored documents that are damaged.

Documents are the control records, silences, states and notes of the sites and of this machine.

Examples:
mcloud documents list
mcloud documents repair --dry-run
"""


def register(app: typer.Typer) -> None:
    documents = group(app, "documents", HELP)
    command(documents, "list")(list_)
    command(documents)(repair)


def list_(session: Session, wait: WAIT = False) -> None:
    """List damaged documents; exit 3 if there are any.

    Examples:
    mcloud documents list
    mcloud documents list -o json
    """
    found, away = _find(session, opened(session, None, wait=wait))
    if session.output == "json":
        session.print_json({"documents": [each.document for each in found], "unavailable": away})
    else:
        _draw(session, found)
    if found or away:
        raise typer.Exit(3)


def repair(session: Session, dry_run: DRY_RUN = False, yes: YES = False) -> None:
    """Replace or remove damaged documents; exit 3 if any are left.

    A copy of each is kept under .mcloud/damaged, or beside its file. Documents of a newer version
    of mcloud stay as they are.

    Examples:
    mcloud documents repair --dry-run
    mcloud documents repair --yes
    """
    from mcloud.cli.ask import agree
    from mcloud.failover.audit import audit_log

    found, away = _find(session, session.sites())
    chosen = [each for each in found if each.repair]
    if session.output != "json":
        _draw(session, found)
    if dry_run or not chosen:
        if session.output == "json":
            session.print_json({"repaired": [], "left": [each.document for each in found]})
        if found or away:
            raise typer.Exit(3)
        return
    count = f"{len(chosen)} document{'s' * (len(chosen) != 1)}"
    agree(session, f"repair {count}?", yes=yes)
    at, audit = time.time(), audit_log(session.config.state, session.sites())
    done, failed = [], []
    for each in chosen:
        try:
            each.repair_and_record(audit, at, away)
        except McloudError as error:
            session.warn(f"{each.where} is not repaired: {error}")
            failed.append(each)
            continue
        done.append(each)
        session.say(f"{each.where}: {each.plan}")
    left = [each for each in found if each not in done]
    if session.output == "json":
        session.print_json(
            {
                "repaired": [each.document for each in done],
                "left": [each.document for each in left],
            }
        )
    if failed:
        raise typer.Exit(1)
    if left or away:
        raise typer.Exit(3)


def _find(
    session: Session, sites: "Mapping[str, Site]"
) -> "tuple[list[FoundDamage], dict[str, str]]":
    from mcloud.cli.progress import waiting
    from mcloud.damage import on_disk, on_sites

    with waiting(session, "reading all documents"):
        found, away = on_sites(sites, session.config.state)
    for name, why in away.items():
        session.warn(f"the documents of {name} cannot be read: {why}")
    return [*found, *on_disk(session.config.state)], away


def _draw(session: Session, found: "list[FoundDamage]") -> None:
    from mcloud.drawing.documents import table

    if not found:
        session.say("all documents that could be read are valid")
        return
    session.print(table(found))
