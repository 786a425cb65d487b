"""Test of a site that was just deployed: a cheap read of each service, until all have answered."""

import time
from collections.abc import Callable
from functools import partial
from threading import Event

from mcloud.clouds.ports import SERVICES, Site
from mcloud.deadline import gather
from mcloud.errors import reason_of
from mcloud.infra.terraform import Interrupted

PATIENCE = 60.0  # seconds; new names and permissions take up to that long to be known everywhere
TIMEOUT = 15.0  # seconds for one read; the first one also creates a client
PAUSE = 1.0  # seconds between reads of a service that does not answer yet


def probe(site: Site, stop: Event, patience: float = PATIENCE) -> dict[str, str]:
    """Check each service, and return the reason why it does not work, or an empty string."""
    give_up = time.monotonic() + patience
    reasons = dict.fromkeys(SERVICES, "not asked")
    while True:
        calls: dict[str, Callable[[], None]] = {
            service: partial(_check, site, service) for service, reason in reasons.items() if reason
        }
        for service, answer in gather(calls, TIMEOUT).items():
            reasons[service] = reason_of(answer) if isinstance(answer, Exception) else ""
        if not any(reasons.values()) or time.monotonic() > give_up:
            return reasons
        if stop.wait(PAUSE):
            raise Interrupted("interrupted before every service answered")


def _check(site: Site, service: str) -> None:
    site.probe.check(service, TIMEOUT)
