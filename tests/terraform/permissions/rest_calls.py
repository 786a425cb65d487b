"""Calls of the REST interfaces that the embedded Google Cloud does not have, each by its holder."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from clouds.web import Answer, anonymous, google_error, serve

from mcloud.clouds.access import Target
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.alert_policies import metric_conditions
from mcloud.clouds.gcp.client import GcpSession
from mcloud.clouds.gcp.logs import CloudLogging
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.errors import Refused
from mcloud.http import HttpAnswer
from mcloud.local.deployment import gcp_resources

from .google_operations import rest
from .proxies import GoogleCall

RESOURCES = {"cloudfunctions": "function", "firestore": "database"}
"""Kind of the resource of a request by its API; otherwise the project."""


class Redirected(GcpSession):
    """Sends what is for Google to a server of the test."""

    def __init__(self, root: str) -> None:
        super().__init__(anonymous().credentials)
        self._root = root

    def ask(self, method: str, url: str, *arguments: Any, **others: Any) -> HttpAnswer:
        host, _, path = url.removeprefix("https://").partition("/")
        api = host.removesuffix(".googleapis.com")
        return super().ask(method, f"{self._root}/{api}/{path}", *arguments, **others)


def rest_calls() -> set[GoogleCall]:
    """Make each call, which is refused, and return what it needs."""
    calls: set[GoogleCall] = set()
    holder = ""

    def answer(method: str, path: str) -> Answer:
        target = path.partition(" ")[0]
        resource = RESOURCES.get(target.split("/")[1], "project")
        calls.update(
            GoogleCall(holder, f"{method} {target}", resource, permission)
            for permission in rest(method, target)
        )
        return google_error(403, "refused")

    to = gcp_resources(pubsub="", firestore="", monitoring="", storage="", function_url="")
    with serve(answer) as url:
        session = Redirected(url)
        probe = GcpProbe(None, None, None, to)
        access = GcpAccess(Target("mcloud", to.region, to.project, to))
        probe._session = access._session = session
        logs = CloudLogging(session, to.project, to.function)
        now = time.time()
        attempts: list[tuple[str, Callable[[], object]]] = [
            ("processor", lambda: CloudTrace(to.project, session).export([])),
            ("replicator", lambda: probe._check_function(5)),
            ("operator", lambda: probe._check_function(5)),
            ("operator", lambda: logs.find("BTCUSDT", 1, now - 60, now)),
            ("operator", lambda: metric_conditions(session, to.project, "mcloud")),
            *(("operator", check) for check in access.quotas().values()),
            ("operator", lambda: access.permissions("operator")),
        ]
        for component, attempt in attempts:
            holder = component
            with suppress(Refused):
                attempt()
    return calls
