"""Facts about a Firestore database, and its backups, from Firestore's administration API.

https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mcloud.clouds.gcp.client import GcpSession, refused, translated, understood

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


def _get(session: GcpSession, url: str) -> dict[str, Any]:
    with translated("Firestore"):
        answer = session.ask("GET", url)
    if not answer.ok:
        raise refused("Firestore", answer)
    return answer.document()
