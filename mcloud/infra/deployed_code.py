"""Comparison of the code that functions run with the bundle that this mcloud deploys."""

import hashlib
from dataclasses import dataclass
from functools import cache

from mcloud.clouds.ports import Site
from mcloud.infra.bundle import build


@dataclass(frozen=True)
class DeployedCode:
    function: str
    """Name of the function."""
    is_current: bool | None
    """Whether the deployed bundle is the one that this mcloud builds. None if the function does
    not say which bundle it has.
    """
    failure: str
    """Reason why the last update failed and the earlier code still runs; empty if it succeeded."""


def deployed_code(site: Site, timeout: float) -> list[DeployedCode]:
    """Ask the cloud for the code of each function, within ``timeout`` seconds, and compare it.

    Raises:
        McloudError: the cloud did not answer, or refused.
    """
    return [
        DeployedCode(
            found.function,
            found.digest == _digest(site.cloud) if found.digest else None,
            found.failure,
        )
        for found in site.probe.code(timeout)
    ]


@cache  # what this process deploys does not change while it runs, and a dashboard asks often
def _digest(cloud: str) -> str:
    return hashlib.sha256(build(cloud)).hexdigest()
