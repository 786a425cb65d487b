"""Files that mcloud keeps but no longer uses: ``.mcloud/removed/<profile>/<site>-<UTC time>``.

A state that was removed by mistake can be restored from there. mcloud does not read these files.
"""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from mcloud.errors import McloudError
from mcloud.files import make_private


def set_aside(state: Path, profile: str, site: str, things: Mapping[str, Path]) -> Path | None:
    """Move files and folders of a site into a new folder.

    Args:
        state: ``.mcloud``. things: files and folders to move, by their names in the new folder.
            Missing ones are skipped.

    Returns:
        The new folder, or None if there was nothing to move.

    Raises:
        McloudError: one of them cannot be moved.
    """
    existing = {name: path for name, path in things.items() if path.exists()}
    if not existing:
        return None
    dated = f"{site}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (dated if number == 1 else f"{dated}-{number}" for number in count(1))
    parent = state / "removed" / profile
    folder = next(parent / name for name in names if not (parent / name).exists())
    make_private(folder)
    for name, path in existing.items():
        try:
            shutil.move(path, folder / name)
        except OSError as error:
            raise McloudError(
                f"{path} cannot be moved to {folder}: {error.strerror}",
                remedy="move it there yourself, because mcloud would treat its site as deployed",
            ) from error
    for providers in folder.glob("**/.terraform/providers"):
        # The providers take hundreds of megabytes, and `terraform init` fetches them again.
        shutil.rmtree(providers, ignore_errors=True)
    return folder
