"""Health checks that make one cheap read from each service."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from mcloud import http
from mcloud.clouds.gcp.client import (
    GcpSession,
    check_credentials,
    make_session,
    refused,
    translated,
)
from mcloud.clouds.ports import FunctionCode, SiteService
from mcloud.clouds.resources import GcpResources, deployed_functions
from mcloud.errors import Refused, Unavailable
from mcloud.workers import Workers


class GcpProbe:
    def __init__(
        self,
        subscriber: Any,
        firestore: Any,
        storage: Any,
        to: GcpResources,
        root: str = "https://cloudfunctions.googleapis.com",
    ) -> None:
        self._to = to
        self._root = root
        subscription = f"projects/{to.project}/subscriptions/{to.subscription}"
        # The control collection represents the candles: it is in the same database, and small.
        # Listing one object needs a permission that the operator has anyway, while reading the
        # bucket's settings would need another one.
        self._reads: dict[str, Callable[[float], object]] = {
            "queue": lambda timeout: subscriber.get_subscription(
                subscription=subscription, timeout=timeout, retry=None
            ),
            "function": self._check_function,
            "candles": lambda timeout: (
                firestore.collection(to.control_collection)
                .document("probe")
                .get(timeout=timeout, retry=None)
            ),
            "archive": lambda timeout: list(
                storage.bucket(to.raw_bucket).list_blobs(max_results=1, timeout=timeout, retry=None)
            ),
        }

    def check(self, service: SiteService, timeout: float) -> None:
        # A slow fetch of credentials must not count as a slow service.
        if not self._to.pubsub_endpoint:
            check_credentials(lambda: self._session, timeout / 2)
        with translated(f"the {service}"):
            self._reads[service](timeout)

    def code(self, timeout: float) -> list[FunctionCode]:
        if self._to.function_url:
            return []  # the embedded functions always run the code of this mcloud
        names = deployed_functions(self._to)
        with closing(Workers(len(names))) as workers:
            return workers.map(partial(self._code, timeout), names)

    def _code(self, timeout: float, name: str) -> FunctionCode:
        with translated(f"the function {name}"):
            found = self._function(name, timeout)
        failures = [
            each.get("message", "no reason")
            for each in found.get("stateMessages", ())
            if each.get("severity") == "ERROR"
        ]
        if found.get("state") == "FAILED" and not failures:
            failures = ["its state is FAILED"]
        variables = found.get("buildConfig", {}).get("environmentVariables", {})
        return FunctionCode(name, variables.get("BUNDLE_SHA256", ""), "; ".join(failures))

    @cached_property
    def _session(self) -> GcpSession:
        return make_session()

    def _check_function(self, timeout: float) -> None:
        to = self._to
        if to.function_url:
            # The embedded function refuses a request that is not an event. A refusal shows that it
            # is running.
            limit = replace(http.GOOGLE, seconds=timeout, most=0)
            status = http.ask("GET", to.function_url, limit).status
            if status in (429, 503):
                raise Unavailable(f"{to.function}: HTTP {status}")
            return
        found = self._function(to.function, timeout)
        if found.get("state") != "ACTIVE":
            raise Refused(f"{found['name']} is {found.get('state')}")

    def _function(self, name: str, timeout: float) -> dict[str, Any]:
        to = self._to
        path = f"projects/{to.project}/locations/{to.region}/functions/{name}"
        limit = replace(http.GOOGLE, seconds=timeout)
        answer = self._session.ask("GET", f"{self._root}/v2/{path}", limit)
        if not answer.ok:
            raise refused(path, answer)
        return answer.document()
