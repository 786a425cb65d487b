"""Comparison of the code that a function runs with the bundle that this mcloud deploys."""

import hashlib
from dataclasses import dataclass
from functools import cache

from mcloud.clouds.ports import Site
from mcloud.infra.bundle import build


@dataclass(frozen=True)
class DeployedCode:
    is_current: bool | None
    """Whether the deployed bundle is the one that this mcloud builds. None if the function does
    not say which bundle it has.
    """
    failure: str
    """Reason why the last update failed and the earlier code still runs; empty if it succeeded."""


def deployed_code(site: Site, timeout: float) -> DeployedCode:
    """Ask the cloud for the function's code, within ``timeout`` seconds, and compare it.

    Raises:
        McloudError: the cloud did not answer, or refused.
    """
    found = site.probe.code(timeout)
    is_current = found.digest == _digest(site.cloud) if found.digest else None
    return DeployedCode(is_current, found.failure)


@cache  # what this process deploys does not change while it runs, and a dashboard asks often
def _digest(cloud: str) -> str:
    return hashlib.sha256(build(cloud)).hexdigest()
