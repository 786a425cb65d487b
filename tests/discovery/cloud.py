"""Resources, operations and policies in memory, with the methods that all collections share."""

import copy
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from . import hooks, policies
from .call import Call
from .documents import Method, operation_pattern
from .hooks import Change
from .names import Json, new_etag, new_uuid, timestamp
from .refusal import Refusal, error_info, invalid, missing
from .schemas import Checker, is_output_only

NEW_PROJECT_SERVICES = (
    *("bigquery", "cloudtrace", "logging", "monitoring", "servicemanagement", "serviceusage"),
    "storage",
)
"""Services that are enabled in a new project."""

PROJECT = "demo-project-1"


@dataclass
class Settings:
    """Behaviour that a test chooses, and may change at any time."""

    projects: dict[str, str] = field(default_factory=lambda: {PROJECT: "123456789012"})
    """Numbers of the existing projects, by their ids."""
    polls: int = 0
    """Number of requests for an operation that find it unfinished."""
    enforce_services: bool = False
    """Refuse the calls of APIs that are not enabled in the project."""
    enabled: Iterable[str] = NEW_PROJECT_SERVICES
    """Services that are enabled at the start, without ``.googleapis.com``."""
    activation_lag: float = 0
    """Seconds until an API that was enabled answers."""
    requires_agents: bool = False
    """Refuse to grant anything to a service agent that nobody has requested."""
    quota_project_apis: tuple[str, ...] = ()
    """APIs that refuse the user of an application without a quota project in the request.

    https://docs.cloud.google.com/docs/quotas/quota-project#project-client-based
    """
    tokens: set[str] = field(default_factory=set)
    """The only valid access tokens; if empty, all are valid."""
    denied: set[str] = field(default_factory=set)
    """Permissions that the caller lacks, as ``testIamPermissions`` reports them."""
    billing_enabled: bool = True
    regions: tuple[str, ...] = ("europe-west1", "us-central1", "us-east1")
    """Regions of every API with locations."""
    clock: Callable[[], float] = time.monotonic
    """Time in seconds, for everything that ends by itself."""


@dataclass
class Operation:
    """A long-running operation."""

    content: Json
    polls_left: int
    outcome: Json


class Cloud:
    """The resources of all APIs, by API and name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store: dict[tuple[str, str], Json] = {}
        self.policies: dict[tuple[str, str], Json] = {}
        self.operations: dict[tuple[str, str], Operation] = {}
        self.deleted: dict[tuple[str, str], float] = {}
        """When a resource was deleted whose id stays reserved for a while."""
        self.agents: set[str] = set()
        """Email addresses of the service agents that were requested."""
        self.query_rows: list[dict[str, str]] = []
        """Rows that every BigQuery query returns."""
        self.enabled: dict[tuple[str, str], float] = {
            (project, f"{service}.googleapis.com"): float("-inf")
            for project in settings.projects
            for service in settings.enabled
        }
        """When each service was enabled, by project and service."""

    # Projects

    def canonical_name(self, name: str) -> str:
        """Return a name with the project's id, which may have the project's number."""
        ids = {number: project for project, number in self.settings.projects.items()}
        return re.sub(
            r"^projects/(\d+)(?=/|$)",
            lambda found: f"projects/{ids.get(found[1], found[1])}",
            name,
        )

    def project_of(self, call: Call) -> str | None:
        """Return the project that a call is about; None if it is about none."""
        found = re.match(r"projects/([^/]+)", self.canonical_name(call.name))
        if found and found[1] not in ("_", "-"):
            return found[1]
        return call.query.get("project") or call.query.get("projectId")

    def number_of(self, project: str) -> str:
        """Return the number of a project."""
        return self.settings.projects[project]

    def exists(self, api: str, name: str) -> bool:
        return (api, self.canonical_name(name)) in self.store

    def _check_project(self, call: Call) -> None:
        """Refuse an unknown project, and an API that is disabled."""
        project = self.project_of(call)
        if project is None:
            return
        if project not in self.settings.projects:
            raise Refusal(403, "The caller does not have permission")
        if not self.settings.enforce_services or call.api == "serviceusage":
            return
        service = f"{call.api}.googleapis.com"
        since = self.enabled.get((project, service))
        if since is None or self.settings.clock() - since < self.settings.activation_lag:
            number = self.number_of(project)
            raise Refusal(
                403,
                f"{service} has not been used in project {number} before or it is disabled. Enable"
                " it by visiting https://console.developers.google.com/apis/api/"
                f"{service}/overview?project={number} then retry. If you enabled this API"
                " recently, wait a few minutes for the action to propagate to our systems and"
                " retry.",
                details=(error_info("SERVICE_DISABLED", service, number),),
            )

    # The methods that all collections share

    def answer(self, call: Call) -> Json:
        """Return the answer of a call that fits its method."""
        self._check_project(call)
        call.name = self.canonical_name(call.name)
        special = hooks.answer.get(call.method.id)
        if special:
            return special(self, call)
        if call.collection.endswith("operations") and call.method.verb == "get":
            return self._operation(call)
        if call.method.id.endswith("projects.locations.list"):
            return self._locations(call)
        common: dict[str, Callable[[Call], Json]] = {
            "create": self.create,
            "insert": self.create,
            "get": self.get,
            "list": self.list,
            "patch": self.patch,
            "update": self.update,
            "delete": self.delete,
            "getIamPolicy": lambda call: policies.get(self, call),
            "setIamPolicy": lambda call: policies.replace(self, call),
            "testIamPermissions": lambda call: policies.test(self, call),
        }
        if call.method.verb not in common:
            raise Refusal(501, f"This server does not offer {call.method.id}.")
        return common[call.method.verb](call)

    def create(self, call: Call) -> Json:
        """Add a resource."""
        name = self._new_name(call)
        if (call.api, name) in self.store:
            raise Refusal(409, f"Resource '{name}' already exists.")
        return self.put(Change(call, name, copy.deepcopy(call.body), None))

    def get(self, call: Call) -> Json:
        resource = self.store.get((call.api, call.name))
        if resource is None:
            raise missing(f"Resource '{call.name}' was not found.")
        return resource

    def list(self, call: Call) -> Json:
        """Return the resources directly below the name of the call."""
        deep = ".+" if call.collection == "storage.objects" else "[^/]+"
        parent = re.escape(call.name).replace("/\\-/", "/[^/]+/")  # - stands for any location
        items = [
            resource
            for (api, name), resource in sorted(self.store.items())
            if api == call.api and re.fullmatch(f"{parent}/{deep}", name)
        ]
        properties = call.document.properties(call.method.response)
        field = next(
            name
            for name, schema in properties.items()
            if schema.get("type") == "array" and "$ref" in schema["items"]
        )
        return {field: items}

    def patch(self, call: Call) -> Json:
        """Change the fields in the update mask, or those in the body if there is no mask."""
        before = self.get(call)
        body, mask = changed_fields(call)
        check_etag(before, body)
        resource = copy.deepcopy(before)
        if mask is None:
            _merge(resource, body, deep=call.document.keeps_empty_values)
        for path in mask or ():
            set_path(resource, body, path)
        return self.put(Change(call, call.name, resource, before))

    def update(self, call: Call) -> Json:
        """Replace everything except what the server sets."""
        if call.query.get("updateMask"):
            return self.patch(call)
        before = self.get(call)
        check_etag(before, call.body)
        fields = call.document.properties(call.method.request)
        kept = {
            name: value
            for name, value in before.items()
            if is_output_only(fields.get(name, {})) or name in ("name", "createTime")
        }
        return self.put(Change(call, call.name, {**kept, **copy.deepcopy(call.body)}, before))

    def delete(self, call: Call) -> Json:
        """Remove a resource and everything below it."""
        resource = self.get(call)
        if hook := hooks.before_delete.get(call.collection):
            hook(self, call, resource)
        self.remove(call.api, call.name)
        if hook := hooks.after_delete.get(call.collection):
            hook(self, call, resource)
        return self.result(call, call.name, {})

    def put(self, change: Change) -> Json:
        """Store a new or changed resource that breaks no rule; return the answer."""
        call, resource = change.call, change.resource
        if hook := hooks.check.get(call.collection):
            hook(self, change)
        schema = call.method.request if call.method.starts_operation else call.method.response
        fields = call.document.properties(schema)
        own: Json = {"updateTime": timestamp(), "etag": new_etag()}
        if not call.document.keeps_empty_values:
            own["name"] = change.name
        if change.is_new:
            own |= {"createTime": timestamp(), "uid": new_uuid()}
        resource.update({name: value for name, value in own.items() if name in fields})
        if hook := hooks.complete.get(call.collection):
            hook(self, change)
        self.store[call.api, change.name] = resource
        return self.result(call, change.name, resource)

    def remove(self, api: str, name: str) -> None:
        """Remove a resource, its policy, and everything below it."""
        tables: tuple[dict[tuple[str, str], Json], ...] = (self.store, self.policies)
        for table in tables:
            for key in [key for key in table if key[0] == api]:
                if key[1] == name or key[1].startswith(f"{name}/"):
                    del table[key]

    def _new_name(self, call: Call) -> str:
        """Return the name of the resource that a call creates."""
        if call.method.http == "PUT":
            return call.name
        if make := hooks.new_id.get(call.collection):
            return f"{call.name}/{make()}"
        if call.collection == "storage.buckets":
            return f"b/{call.body['name']}"
        ids = [
            str(value)
            for name, value in call.query.items()
            if name.endswith("Id") and name in call.method.parameters
        ]
        if ids:
            return f"{call.name}/{ids[0]}"
        if call.body.get("name"):
            return f"{call.name}/{call.body['name'].rsplit('/', 1)[-1]}"
        raise invalid(f"The request has no id for what {call.method.id} creates.")

    # Operations

    def result(self, call: Call, name: str, resource: Json) -> Json:
        """Return the resource, or the operation that makes it."""
        if call.method.starts_operation:
            return self.start_operation(call, name, {"response": resource})
        return resource

    def start_operation(self, call: Call, name: str, outcome: Json) -> Json:
        """Return a new operation.

        Args:
            name: of the resource that the operation is about.
            outcome: ``response`` or ``error``.
        """
        parts = _fill(operation_pattern(call.method), name)
        parts[-1] = f"operation-{new_uuid()}"
        metadata: Json = {"@type": "type.googleapis.com/Metadata", _target(call.method): name}
        if "response" in outcome:
            outcome = {"response": {"@type": "type.googleapis.com/Response", **outcome["response"]}}
        key = call.api, "/".join(parts)
        content = {"name": key[1], "metadata": metadata}
        self.operations[key] = Operation(content, self.settings.polls, outcome)
        return self._poll(*key)

    def _operation(self, call: Call) -> Json:
        if (call.api, call.name) not in self.operations:
            raise missing(f"Operation '{call.name}' was not found.")
        return self._poll(call.api, call.name)

    def _poll(self, api: str, name: str) -> Json:
        """Return the state of an operation, and bring it on."""
        operation = self.operations[api, name]
        if operation.polls_left <= 0:
            operation.content.update(done=True, **operation.outcome)
        operation.polls_left -= 1
        return copy.deepcopy(operation.content)

    def _locations(self, call: Call) -> Json:
        return {
            "locations": [
                {"name": f"{call.name}/{region}", "locationId": region}
                for region in self.settings.regions
            ]
        }


def changed_fields(call: Call) -> tuple[Json, list[list[str]] | None]:
    """Return the resource in a request that changes one, and the mask; None if there is no mask."""
    body, mask, schema = call.body, call.query.get("updateMask"), call.method.request
    assert schema
    properties = call.document.properties(schema)
    if "updateMask" in properties:
        mask = body.get("updateMask", mask)
        inner = next(name for name, field in properties.items() if "$ref" in field)
        body, schema = body.get(inner, {}), properties[inner]["$ref"]
    if mask is None:
        return body, None
    checker = Checker(call.document)
    paths = checker.mask(schema, mask)
    if checker.faults:
        raise invalid("; ".join(checker.faults))
    return body, paths


def check_etag(before: Json, body: Json) -> None:
    """Refuse the change of a version that is not the newest."""
    etag = body.get("etag")
    if etag and before.get("etag") and etag != before["etag"]:
        raise Refusal(
            409,
            "The etag provided in the request does not match the current etag of the resource.",
            "ABORTED",
        )


def set_path(resource: Json, body: Json, path: list[str]) -> None:
    """Copy one field of a mask; a field that the body lacks is cleared."""
    if path == ["*"]:
        resource.update(copy.deepcopy(body))
        return
    for part in path[:-1]:
        body = body.get(part) or {}
        resource = resource.setdefault(part, {})
    if path[-1] in body:
        resource[path[-1]] = copy.deepcopy(body[path[-1]])
    else:
        resource.pop(path[-1], None)


def _merge(resource: Json, body: Json, *, deep: bool) -> None:
    """Copy the fields of the body; null removes a field."""
    for name, value in body.items():
        if value is None:
            resource.pop(name, None)
        elif deep and isinstance(value, dict) and isinstance(resource.get(name), dict):
            _merge(resource[name], value, deep=deep)
        else:
            resource[name] = copy.deepcopy(value)


def _fill(pattern: str, name: str) -> list[str]:
    """Return the parts of a pattern such as ``projects/[^/]+/operations/[^/]+``, filled in."""
    given = name.split("/")
    wanted = re.sub(r"\[\^/\]\+|\.\*", "*", pattern).split("/")
    return [
        given[at] if part == "*" and at < len(given) else part for at, part in enumerate(wanted)
    ]


def _target(method: Method) -> str:
    """Return the field of an operation's metadata that names the resource.

    The provider reads the name of a new Firestore index or field from there.
    """
    singular = {"indexes": "index", "fields": "field"}
    if method.document.api == "firestore":
        return singular.get(method.collection.rpartition(".")[2], "target")
    return "target"
