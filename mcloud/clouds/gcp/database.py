"""Facts about a Firestore database, and its backups, from Firestore's administration API.

https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mcloud.clouds.gcp.client import GcpSession, refused, translated, understood
from mcloud.errors import McloudError

URL = "https://firestore.googleapis.com"


@dataclass(frozen=True)
class DatabaseBackup:
    """A backup of a database. It outlives the database, and is billed until it expires."""

    name: str
    """Full name, which contains the location."""
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


def delete_backup(session: GcpSession, backup: DatabaseBackup, url: str = URL) -> None:
    """Delete a backup. It may have expired in the meantime.

    Raises:
        Refused: the credentials may not delete it.
    """
    with translated("Firestore"):
        answer = session.ask("DELETE", f"{url}/v1/{backup.name}")
    if not answer.ok and answer.status != 404:
        raise refused("Firestore", answer)


def counted(number: int) -> str:
    return "a backup" if number == 1 else f"{number} backups"


def described(found: Sequence[DatabaseBackup], name: str) -> str:
    """Return a sentence about the backups of the database ``name``."""
    return (
        f"{counted(len(found))} of the database {name} can still be restored, and you pay for"
        f" storage until {found[-1].expires[:10]}"
    )


def not_listed(error: McloudError, project: str, name: str) -> str:
    """Return a sentence about backups that may exist."""
    return (
        f"backups of the database {name} may be left, and are billed until they expire:"
        f" they cannot be listed ({error.message}); see"
        f" `{shlex.join(('gcloud', 'firestore', 'backups', 'list', f'--project={project}'))}`"
    )


def deletion(project: str, backup: DatabaseBackup) -> str:
    """Return the command that deletes a backup."""
    _, _, _, location, _, name = backup.name.split("/")
    command = ("gcloud", "firestore", "backups", "delete", f"--project={project}")
    return shlex.join((*command, f"--location={location}", f"--backup={name}"))


def _get(session: GcpSession, url: str) -> dict[str, Any]:
    with translated("Firestore"):
        answer = session.ask("GET", url)
    if not answer.ok:
        raise refused("Firestore", answer)
    return answer.document()
