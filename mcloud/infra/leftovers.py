"""Backups that a destroyed site leaves on Google Cloud, and the commands that delete them."""

import shlex
from collections.abc import Iterator

from mcloud.clouds.gcp import database
from mcloud.clouds.gcp.client import GcpSession
from mcloud.errors import McloudError


def backups_left(
    session: GcpSession, project: str, name: str, url: str = database.URL
) -> Iterator[str]:
    """Yield sentences about the backups of the deleted database ``name``, which are still billed.

    They are the last resort after a mistaken destroy, so nothing here deletes them.
    """
    try:
        found = list(database.backups(session, project, name, url))
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
