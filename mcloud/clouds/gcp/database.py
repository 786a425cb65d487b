"""Facts about a Firestore database, and its backups, from Firestore's administration API.

https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mcloud.clouds.gcp.client import GcpSession, refused, translated, understood
from mcloud.errors import McloudError

URL = "https://firestore.googleapis.com"


@dataclass(frozen=True)
class DatabaseBackup:
    """A backup of a database. It outlives the database, and is billed until it expires."""

    name: str
    """Full name, in the form that ``gcloud firestore backups delete`` accepts."""
    expires: str
    """Time at which Firestore deletes it, such as ``2026-12-01T03:00:00Z``."""


def has_free_tier(session: GcpSession, project: str, database: str, url: str = URL) -> bool:
    """Return whether this database is the one with the project's free tier."""
    found = _get(session, f"{url}/v1/projects/{project}/databases/{database}")
    return bool(found.get("freeTier", False))


def backups(
    session: GcpSession, project: str, database: str, url: str = URL
) -> Iterator[DatabaseBackup]:
    """Yield the backups of a database, which may no longer exist, by their expiry."""
    found = _get(session, f"{url}/v1/projects/{project}/locations/-/backups")
    wanted = f"projects/{project}/databases/{database}"
    with understood("Firestore"):
        mine = [
            DatabaseBackup(each["name"], each["expireTime"])
            for each in found.get("backups", ())
            if each["database"] == wanted
        ]
    yield from sorted(mine, key=lambda backup: backup.expires)


def backups_left(session: GcpSession, project: str, name: str, url: str = URL) -> Iterator[str]:
    """Yield sentences about the backups of a deleted database, which are still billed.

    They are the last resort after a mistaken destroy, so nothing here deletes them.
    """
    try:
        found = list(backups(session, project, name, url))
    except McloudError as error:
        yield (
            f"backups of the database {name} may be left, and are billed until they expire:"
            f" they cannot be listed ({error.message}); see"
            f" `{shlex.join(('gcloud', 'firestore', 'backups', 'list', f'--project={project}'))}`"
        )
        return
    if not found:
        return
    some = f"{len(found)} backups" if len(found) > 1 else "a backup"
    yield (
        f"{some} of the database {name} can still be restored, and you pay for storage until"
        f" {found[-1].expires[:10]}; delete what you do not need with:"
    )
    for each in found:
        _, _, _, location, _, backup = each.name.split("/")
        command = ("gcloud", "firestore", "backups", "delete", f"--project={project}")
        yield f"`{shlex.join((*command, f'--location={location}', f'--backup={backup}'))}`"


def _get(session: GcpSession, url: str) -> dict[str, Any]:
    with translated("Firestore"):
        answer = session.ask("GET", url)
    if not answer.ok:
        raise refused("Firestore", answer)
    return answer.document()
