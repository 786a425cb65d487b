"""Credentials, permissions, billing and services of Google Cloud."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from mcloud.clouds.access import (
    FAULT,
    OK,
    AccessFinding,
    Target,
    ask,
    ask_time,
    not_told,
    verdict,
)
from mcloud.clouds.causes import explain
from mcloud.clouds.gcp.causes import CAUSES
from mcloud.clouds.gcp.client import (
    GcpSession,
    make_session,
    refused,
    translated,
    understood,
)
from mcloud.clouds.gcp.permissions import CONDITIONAL, NEEDS
from mcloud.errors import Refused

APIS = (
    *("artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudtrace"),
    *("firestore", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "storage"),
)
"""APIs that every site needs."""

TESTED_AT_ONCE = 100
"""Maximum number of permissions in one request. The Cloud Console does not test more at once
either."""

SERVICES = {
    "queue": "pubsub",
    "function": "cloudfunctions",
    "candles": "firestore",
    "archive": "storage",
}


def needed_apis(variables: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the APIs that a site needs, as in ``terraform/gcp/services.tf``.

    Args:
        variables: the site's variables of the Terraform module.
    """
    schedules = [variables.get(each, True) for each in ("anomalies", "compaction")]
    conditions = {
        "cloudscheduler": any(schedules),
        "billingbudgets": variables.get("billing_account") is not None,
        "bigquery": variables.get("billing_dataset") is not None,
    }
    return *APIS, *(api for api, is_needed in conditions.items() if is_needed)


BUCKETS = {
    "bucket": "raw_bucket",
    "raw": "raw_bucket",
    "staging": "staging_bucket",
    "staged": "staging_bucket",
}
"""Names of the buckets in the outputs, by their names in NEEDS."""


class _Misunderstood(Refused):
    """The request itself is wrong (HTTP 400)."""


class _NotSetUp(Refused):
    """The project or the credentials lack something other than a permission."""


class GcpAccess:
    """Implementation of ``access.Access`` for Google Cloud. ``root`` returns the address of an
    API.
    """

    def __init__(
        self,
        target: Target,
        root: Callable[[str], str] = lambda api: f"https://{api}.googleapis.com",
    ) -> None:
        self._target = target
        self._root = root

    def prepare(self) -> None:
        pass  # they need no library of Google

    def identity(self) -> str:
        with translated("Google"):
            self._session.refresh()
        for name in ("service_account_email", "account"):
            if found := getattr(self._session.credentials, name, ""):
                return str(found)
        return "an account with an unknown name"

    def clock(self) -> tuple[float, float]:
        # All embedded Google services use gRPC, except for Cloud Storage.
        to = self._target.resources
        return ask_time((to.storage_endpoint if to else "") or self._root("storage"))

    def reach(self, service: str) -> float:
        return ask(self._root(SERVICES[service])).seconds

    def permissions(self, component: str) -> AccessFinding:
        denied: dict[str, list[str]] = {}
        unclear: dict[str, list[str]] = {}
        for key, wanted in NEEDS[component].items():
            if key.startswith("billing") and key.replace(" ", "_") not in self._target.variables:
                continue
            to = self._target.resources
            if key in BUCKETS and to is not None and not getattr(to, BUCKETS[key]):
                continue  # a site of an earlier release has no staging bucket
            try:
                held = self._held(key, wanted)
            except _Misunderstood as error:
                # Google does not recognise a permission in the request. That is an error of mcloud,
                # and says nothing about the credentials.
                return not_told(error)
            lacking = [each for each in wanted if each not in held]
            if lacking:
                (unclear if key in CONDITIONAL else denied)[key] = lacking
        account = f"{self._target.stack}-{component}@{self._project}.iam.gserviceaccount.com"
        login = "gcloud auth application-default login --impersonate-service-account"
        run = "" if component == "deployer" else f"run `{login}={account}`, or "
        return verdict(denied, unclear, f"{run}have them granted on {self._project}")

    def quotas(self) -> dict[str, Callable[[], AccessFinding]]:
        last = {"database": self._database} if self._target.resources else {"region": self._region}
        return {"billing": self._billing, "APIs": self._apis, **last}

    @understood("Google Cloud")
    def _billing(self) -> AccessFinding:
        try:
            info = self._get("cloudbilling", f"v1/projects/{self._project}/billingInfo")
        except Refused as error:
            return not_told(error)
        if info.get("billingEnabled"):
            return AccessFinding(OK, "enabled")
        return AccessFinding(
            FAULT,
            f"the project {self._project} has no billing account: Google refuses what costs money",
            f"run `gcloud billing projects link {self._project} --billing-account=ACCOUNT`",
        )

    def _apis(self) -> AccessFinding:
        try:
            off = self.disabled_apis()
        except _NotSetUp as error:
            return AccessFinding(FAULT, error.message, error.remedy)
        except Refused as error:
            return not_told(error)
        count = len(needed_apis(self._target.variables))
        # Terraform enables the missing services, for which one of them has to be enabled already.
        needed = off if self._target.resources else [each for each in off if "resource" in each]
        if needed:
            return AccessFinding(FAULT, f"switched off: {', '.join(needed)}", self._enable(needed))
        if off:
            return AccessFinding(OK, f"`mcloud deploy` switches on {len(off)} of {count}")
        return AccessFinding(OK, f"all {count} are on")

    @understood("Google Cloud")
    def disabled_apis(self) -> list[str]:
        """Return the APIs that the site needs and that are disabled in its project, by name.

        Raises:
            Refused: the project's services cannot be listed.
        """
        apis = needed_apis(self._target.variables)
        names = [f"projects/{self._project}/services/{api}.googleapis.com" for api in apis]
        answer = self._get(
            "serviceusage", f"v1/projects/{self._project}/services:batchGet", {"names": names}
        )
        states = {each["name"].rpartition("/")[2]: each["state"] for each in answer["services"]}
        return sorted(name for name, state in states.items() if state != "ENABLED")

    def request_agent(self, api: str) -> None:
        """Request the service agent of an API, the account with which Google's service itself acts.

        Google creates it at the first use otherwise, and refuses to grant it anything before. It
        may still take a moment after this. No permission is needed:
        https://cloud.google.com/iam/docs/create-service-agents.

        Raises:
            Refused: Google does not create it.
        """
        name = f"projects/{self._project}/services/{api}.googleapis.com"
        self._ask("POST", "serviceusage", f"v1beta1/{name}:generateServiceIdentity")

    @understood("Google Cloud")
    def _database(self) -> AccessFinding:
        name = self._target.resources.database
        try:
            found = self._get("firestore", f"v1/projects/{self._project}/databases/{name}")
        except Refused as error:
            return not_told(error)
        kind = found.get("type")
        if kind != "FIRESTORE_NATIVE":
            return AccessFinding(
                FAULT,
                f"the Firestore database {name} is {kind}, not FIRESTORE_NATIVE",
                "name another `database` in the site's variables in mcloud.toml",
            )
        return AccessFinding(OK, f"{name} in {found.get('locationId')}")

    def _region(self) -> AccessFinding:
        region, project = self._target.region, f"projects/{self._project}"
        wanted = {"Cloud Functions": "cloudfunctions/v2", "Firestore": "firestore/v1"}
        if "cloudscheduler" in needed_apis(self._target.variables):
            wanted["Cloud Scheduler"] = "cloudscheduler/v1"
        places: dict[str, set[str]] = {}
        for name, api in wanted.items():
            api, _, version = api.partition("/")
            try:
                places[name] = set(self._locations(api, f"{version}/{project}/locations"))
            except Refused as error:
                return not_told(error)
        lacking = [name for name, regions in places.items() if region not in regions]
        if lacking:
            return AccessFinding(
                FAULT,
                f"{region} has no {' and no '.join(lacking)}",
                "choose a `region` in mcloud.toml:"
                f" {', '.join(sorted(set.intersection(*places.values())))}",
            )
        return AccessFinding(OK, f"{region} has {', '.join(places)}")

    @understood("Google Cloud")
    def _locations(self, api: str, path: str) -> list[str]:
        """Return the ids of all locations of an API, page by page."""
        found: list[str] = []
        query: dict[str, Any] = {"pageSize": 100}
        while True:
            answer = self._get(api, path, query)
            found += [each["locationId"] for each in answer.get("locations", ())]
            if not answer.get("nextPageToken"):
                return found
            query = {**query, "pageToken": answer["nextPageToken"]}

    def _held(self, key: str, permissions: tuple[str, ...]) -> set[str]:
        """Return the permissions that the credentials have on the resource of ``key`` in NEEDS."""
        parts = range(0, len(permissions), TESTED_AT_ONCE)
        return {
            each
            for first in parts
            for each in self._held_of(key, permissions[first : first + TESTED_AT_ONCE])
        }

    @understood("Google Cloud")
    def _held_of(self, key: str, permissions: tuple[str, ...]) -> list[str]:
        to, project = self._target.resources, f"projects/{self._project}"
        body = {"permissions": list(permissions)}
        if key in BUCKETS:
            path = f"storage/v1/b/{getattr(to, BUCKETS[key])}/iam/testPermissions"
            answer = self._get("storage", path, body)
        else:
            account = self._target.variables.get("billing_account")
            dataset = str(self._target.variables.get("billing_dataset"))
            api, name = {
                "project": ("cloudresourcemanager", f"v1/{project}"),
                "database": ("cloudresourcemanager", f"v1/{project}"),
                "billing account": ("cloudbilling", f"v1/billingAccounts/{account}"),
                # The API tests permissions on a project and not on a dataset. The project of the
                # dataset may be another one than that of the site.
                "billing dataset": (
                    "cloudresourcemanager",
                    f"v1/projects/{dataset.rpartition('.')[0]}",
                ),
                "topic": ("pubsub", f"v1/{project}/topics/{to and to.topic}"),
                "subscription": ("pubsub", f"v1/{project}/subscriptions/{to and to.subscription}"),
                "dlq_subscription": (
                    "pubsub",
                    f"v1/{project}/subscriptions/{to and to.dlq_subscription}",
                ),
                "function": (
                    "cloudfunctions",
                    f"v2/{project}/locations/{self._target.region}/functions/{to and to.function}",
                ),
            }[key]
            answer = self._ask("POST", api, f"{name}:testIamPermissions", document=body)
        return list(answer.get("permissions", ()))

    def _get(self, api: str, path: str, parameters: dict[str, Any] | None = None) -> Any:
        return self._ask("GET", api, path, query=parameters)

    @understood("Google Cloud")
    def _ask(self, method: str, api: str, path: str, **what: Any) -> Any:
        with translated(api):
            answer = self._session.ask(method, f"{self._root(api)}/{path}", **what)
        if answer.ok:
            return answer.document()
        error = refused(
            api,
            answer,
            lacks="check `project` in mcloud.toml, and have the permission granted",
            missing="run `mcloud deploy`, or correct `project` and names in mcloud.toml",
            known={"api": f"{api}.googleapis.com", "project": self._project},
        )
        if answer.status == 400:
            raise _Misunderstood(error.message, remedy=error.remedy)
        if isinstance(error, Refused) and explain(answer.text, CAUSES) is not None:
            raise _NotSetUp(error.message, remedy=error.remedy)
        raise error

    def _enable(self, apis: list[str]) -> str:
        return f"run `gcloud services enable {' '.join(apis)} --project {self._project}`"

    @property
    def _project(self) -> str:
        return self._target.project

    @cached_property
    def _session(self) -> GcpSession:
        with translated("Google"):
            return make_session()
