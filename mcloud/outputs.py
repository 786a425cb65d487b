"""What deployments left behind: Terraform's outputs of each site, in ``.mcloud/outputs``.

A flat JSON object of names and addresses, as in ``mcloud.clouds.resources``; nothing secret.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mcloud import files
from mcloud.errors import McloudError

if TYPE_CHECKING:
    from mcloud.config import Config


def path(config: "Config", site: str) -> Path:
    return config.state / "outputs" / config.profile / f"{site}.json"


def read(config: "Config", site: str) -> dict[str, str]:
    """The outputs of a site of the profile; empty where it is not deployed.

    Raises:
        McloudError: the file is there and cannot be read.
    """
    file = path(config, site)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(file, site, str(error)) from error
    if not isinstance(values, dict) or not all(type(each) is str for each in values.values()):
        raise _unreadable(file, site, "it is not an object of texts")
    return values


def write(config: "Config", site: str, values: Mapping[str, str]) -> None:
    """Keep the outputs of a site, in place of those before."""
    file = path(config, site)
    files.make_private(file.parent)
    files.write(file, json.dumps(dict(values), indent=2) + "\n")


def _unreadable(file: Path, site: str, why: str) -> McloudError:
    return McloudError(
        f"{file} cannot be read: {why}", remedy=f"`mcloud deploy {site}` writes it anew"
    )
