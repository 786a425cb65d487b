"""Calls of the REST interfaces that the embedded Google Cloud does not have, each by its holder."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from clouds.web import Answer, anonymous, google_error, serve
from google.auth.impersonated_credentials import Credentials as Impersonated
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials

from mcloud.clouds.access import Target
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.alert_policies import metric_conditions
from mcloud.clouds.gcp.billing import BillingExport
from mcloud.clouds.gcp.client import GcpSession
from mcloud.clouds.gcp.logs import CloudLogging
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.clouds.resources import functions_of
from mcloud.errors import Refused
from mcloud.http import HttpAnswer
from mcloud.local.deployment import gcp_resources

from .google_operations import rest
from .google_roles import TRUSTED
from .proxies import GoogleCall

BILL = "billing-project.billing.gcp_billing_export_v1_0123AB_4567CD_89EF01"

RESOURCES = {
    "bigquery.tables.getData": "billing dataset",
    "datastore.databases.getMetadata": "database",
}
"""Kind of the resource on which a permission is needed; otherwise the project."""

BUILDS = frozenset(
    GoogleCall("builder", "a build of a function", resource, permission)
    for resource, permission in (
        ("copied sources", "storage.objects.get"),
        ("source bucket", "storage.objects.get"),
        ("repository", "artifactregistry.repositories.downloadArtifacts"),
        ("repository", "artifactregistry.repositories.uploadArtifacts"),
        ("repository", "artifactregistry.tags.create"),
        ("repository", "artifactregistry.tags.update"),
        ("project", "logging.logEntries.create"),
    )
)
"""Calls of Cloud Build with the builder's account: it reads the source, takes layers from the
earlier image, pushes the new image with its tags, and writes the log. See
https://docs.cloud.google.com/functions/docs/securing/build-custom-sa and
https://docs.cloud.google.com/artifact-registry/docs/access-control."""


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
        calls.update(
            GoogleCall(holder, f"{method} {target}", _resource(permission, target), permission)
            for permission in rest(method, target)
        )
        return google_error(403, "refused")

    to = gcp_resources(pubsub="", firestore="", monitoring="", storage="", function_url="")
    to = replace(to, scheduled_functions=",".join(functions_of(to.function)[1:]))
    with serve(answer) as url:
        session = Redirected(url)
        probe = GcpProbe(None, None, None, to)
        access = GcpAccess(Target("mcloud", to.region, to.project, to))
        probe._session = access._session = session
        logs = CloudLogging(session, to.project, to.function)
        export = BillingExport(to.project, "mcloud", BILL, session)
        now = time.time()
        attempts: list[tuple[str, Callable[[], object]]] = [
            ("processor", lambda: CloudTrace(to.project, session).export([])),
            ("replicator", lambda: probe._check_function(5)),
            ("operator", lambda: probe._check_function(5)),
            ("replicator", lambda: probe.code(5)),
            ("operator", lambda: probe.code(5)),
            ("operator", lambda: logs.find("BTCUSDT", 1, now - 60, now)),
            ("operator", lambda: logs.lines(now - 60, now, 10)),
            ("operator", lambda: metric_conditions(session, to.project, "mcloud")),
            *(("operator", check) for check in access.quotas().values()),
            ("operator", lambda: access.permissions("operator")),
            ("operator", lambda: export.bill("2026-11-01", "2026-11-30")),
        ]
        for component, attempt in attempts:
            holder = component
            with suppress(Refused):
                attempt()
    return calls


def _resource(permission: str, target: str) -> str:
    if permission == "cloudfunctions.functions.get":
        return f"function {target.rpartition('/')[2]}"
    return RESOURCES.get(permission, "project")


def impersonations() -> set[GoogleCall]:
    """Let Google's library ask for a token of each account that others may use, and return what
    that needs."""
    calls: set[GoogleCall] = set()

    def answer(method: str, path: str) -> Answer:
        target = path.partition(" ")[0]
        found = re.search(r"/serviceAccounts/(\w+)@", target)
        assert found, target
        calls.update(
            GoogleCall(TRUSTED, f"{method} {target}", f"account {found[1]}", permission)
            for permission in rest(method, target)
        )
        return 200, {"accessToken": "token", "expireTime": "2100-01-01T00:00:00Z"}

    with serve(answer) as url:
        for account in ("operator", "producer", "replicator"):
            Impersonated(
                source_credentials=Credentials(token="person"),
                target_principal=f"{account}@stub.iam.gserviceaccount.com",
                target_scopes=["https://www.googleapis.com/auth/cloud-platform"],
                iam_endpoint_override=f"{url}/v1/projects/-/serviceAccounts/"
                f"{account}@stub.iam.gserviceaccount.com:generateAccessToken",
            ).refresh(Request())
    return calls
