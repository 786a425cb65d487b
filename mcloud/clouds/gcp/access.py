"""Credentials, permissions, billing and services of Google Cloud."""

from collections.abc import Callable, Iterable
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
from mcloud.clouds.gcp.client import (
    GcpSession,
    make_session,
    refused,
    translated,
    understood,
)
from mcloud.errors import Refused

NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "deployer": {
        "project": (
            *("pubsub.topics.create", "pubsub.topics.setIamPolicy", "pubsub.topics.delete"),
            *("pubsub.subscriptions.create", "pubsub.subscriptions.setIamPolicy"),
            *("pubsub.subscriptions.delete", "cloudfunctions.functions.create"),
            *("cloudfunctions.functions.update", "cloudfunctions.functions.delete"),
            *("cloudfunctions.functions.setIamPolicy", "run.services.setIamPolicy"),
            *("datastore.databases.create", "datastore.databases.delete"),
            *("datastore.indexes.create", "datastore.backupSchedules.create"),
            *("storage.buckets.create", "storage.buckets.setIamPolicy", "storage.buckets.delete"),
            *("storage.objects.create", "artifactregistry.repositories.create"),
            *("artifactregistry.repositories.setIamPolicy", "iam.roles.create", "iam.roles.delete"),
            *("iam.serviceAccounts.create", "iam.serviceAccounts.actAs"),
            *("iam.serviceAccounts.setIamPolicy", "iam.serviceAccounts.delete"),
            *("resourcemanager.projects.setIamPolicy", "serviceusage.services.enable"),
            *("monitoring.alertPolicies.create", "monitoring.dashboards.create"),
        ),
    },
    "operator": {
        "subscription": ("pubsub.subscriptions.get",),
        "dlq_subscription": ("pubsub.subscriptions.get", "pubsub.subscriptions.consume"),
        "function": ("cloudfunctions.functions.get",),
        "database": ("datastore.entities.get", "datastore.entities.list"),
        "bucket": ("storage.objects.get", "storage.objects.list"),
        "project": (
            *("logging.logEntries.list", "monitoring.timeSeries.list"),
            *("resourcemanager.projects.get", "serviceusage.services.get"),
        ),
    },
    "producer": {
        "topic": ("pubsub.topics.publish",),
        "database": ("datastore.entities.get", "datastore.entities.list"),
    },
    "replicator": {
        "topic": ("pubsub.topics.publish",),
        "subscription": ("pubsub.subscriptions.get",),
        "function": ("cloudfunctions.functions.get",),
        "dlq_subscription": ("pubsub.subscriptions.consume",),
        "database": (
            *("datastore.entities.create", "datastore.entities.get"),
            *("datastore.entities.list", "datastore.entities.update"),
            "datastore.entities.delete",
        ),
        "bucket": ("storage.objects.get", "storage.objects.list"),
        "raw": ("storage.objects.create", "storage.objects.delete"),
    },
}
"""Permissions that a component needs, by what they are about; as the roles in
``terraform/gcp/iam.tf``, and for the deployer what makes and removes the greater part of that
module."""

CONDITIONAL = ("database", "raw")
"""Granted by the module under a condition, which a test of the project or bucket does not meet."""

APIS = (
    *("artifactregistry", "cloudbuild", "cloudfunctions", "cloudresourcemanager", "cloudtrace"),
    *("firestore", "iam", "iamcredentials", "logging", "monitoring", "pubsub", "run", "storage"),
)
"""APIs that a site needs, as in ``terraform/gcp/services.tf``."""

SERVICES = {
    "queue": "pubsub",
    "function": "cloudfunctions",
    "candles": "firestore",
    "archive": "storage",
}


class _Misunderstood(Refused):
    """The request itself is wrong (HTTP 400)."""


class GcpAccess:
    """See ``access.Access``. ``root`` gives the address of an API."""

    def __init__(
        self,
        target: Target,
        root: Callable[[str], str] = lambda api: f"https://{api}.googleapis.com",
    ) -> None:
        self._target = target
        self._root = root

    def identity(self) -> str:
        with translated("Google"):
            self._session.refresh()
        for name in ("service_account_email", "account"):
            if found := getattr(self._session.credentials, name, ""):
                return str(found)
        return "an account that does not tell its name"

    def clock(self) -> tuple[float, float]:
        # The embedded one is gRPC but for Cloud Storage.
        to = self._target.resources
        return ask_time((to.storage_endpoint if to else "") or self._root("storage"))

    def reach(self, service: str) -> float:
        return ask(self._root(SERVICES[service])).seconds

    def permissions(self, component: str) -> AccessFinding:
        denied: dict[str, list[str]] = {}
        unclear: dict[str, list[str]] = {}
        for key, wanted in NEEDS[component].items():
            try:
                held = self._held(key, wanted)
            except _Misunderstood as error:
                # Google does not know one of the names there: our fault, and no lack of a right.
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

    @understood("Google Cloud")
    def _apis(self) -> AccessFinding:
        names = [f"projects/{self._project}/services/{api}.googleapis.com" for api in APIS]
        try:
            answer = self._get(
                "serviceusage", f"v1/projects/{self._project}/services:batchGet", {"names": names}
            )
        except Refused as error:
            return not_told(error)
        states = {each["name"].rpartition("/")[2]: each["state"] for each in answer["services"]}
        off = sorted(name for name, state in states.items() if state != "ENABLED")
        # Terraform switches on what is missing, by way of one of them.
        needed = off if self._target.resources else [each for each in off if "resource" in each]
        if needed:
            return AccessFinding(FAULT, f"switched off: {', '.join(needed)}", self._enable(needed))
        if off:
            return AccessFinding(OK, f"`mcloud deploy` switches on {len(off)} of {len(states)}")
        return AccessFinding(OK, f"all {len(states)} are on")

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

    @understood("Google Cloud")
    def _region(self) -> AccessFinding:
        try:
            answer = self._get("cloudfunctions", f"v2/projects/{self._project}/locations")
        except Refused as error:
            return not_told(error)
        regions = sorted(each["locationId"] for each in answer.get("locations", ()))
        if self._target.region not in regions:
            return AccessFinding(
                FAULT,
                f"Cloud Functions are not in {self._target.region}",
                f"choose a `region` in mcloud.toml: {', '.join(regions)}",
            )
        return AccessFinding(OK, f"{self._target.region} has Cloud Functions")

    @understood("Google Cloud")
    def _held(self, key: str, permissions: Iterable[str]) -> set[str]:
        """Return the permissions that the credentials have on the resource of ``key`` in NEEDS."""
        to, project = self._target.resources, f"projects/{self._project}"
        body = {"permissions": list(permissions)}
        if key in ("bucket", "raw"):
            path = f"storage/v1/b/{to.raw_bucket}/iam/testPermissions"
            answer = self._get("storage", path, body)
        else:
            api, name = {
                "project": ("cloudresourcemanager", f"v1/{project}"),
                "database": ("cloudresourcemanager", f"v1/{project}"),
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
        return set(answer.get("permissions", ()))

    def _get(self, api: str, path: str, parameters: dict[str, list[str]] | None = None) -> Any:
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
