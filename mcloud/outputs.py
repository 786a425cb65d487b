"""Terraform's outputs of each deployed site, in ``.mcloud/outputs``.

Each is a flat JSON object of names and endpoints, as in ``mcloud.clouds.resources``, without
secrets.
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
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if text.strip() else None
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unreadable(config, site, str(error)) from error
    if values is None:
        raise _unreadable(config, site, "it is empty")
    if not isinstance(values, dict) or not all(type(each) is str for each in values.values()):
        raise _unreadable(config, site, "it is not an object of texts")
    return values


def write(config: "Config", site: str, values: Mapping[str, str]) -> None:
    """Keep the outputs of a site, in place of those before."""
    file = path(config, site)
    files.make_private(file.parent)
    files.write(file, json.dumps(dict(values), indent=2) + "\n")


def _unreadable(config: "Config", site: str, why: str) -> McloudError:
    from mcloud.config.schema import LOCAL

    # In that profile only Terraform leaves outputs here, and it is not what deploys by default.
    how = " --provisioner terraform" if config.profile == LOCAL else ""
    return McloudError(
        f"{path(config, site)} cannot be read: {why}",
        remedy=f"run `mcloud deploy {site}{how}`, which writes it again",
    )
