"""The resources of the stand-in provider as requests to the server of ``tests/discovery``.

Google's provider sends the same requests. Only those kinds are here whose creation, change or
deletion Google may refuse for a reason that Terraform does not know, and what they refer to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-not-found,import-untyped,unused-ignore]
from discovery.documents import read
from discovery.google import Google, Request
from discovery.names import Json, camel


class Refused(Exception):
    """An error of the cloud, in the words of the provider."""


@dataclass(frozen=True)
class Kind:
    """How the resources of a type are created."""

    api: str
    version: str
    schema: str
    parent: str
    """Path of the collection; ``{name}`` stands for an attribute."""
    id: str = ""
    """Attribute with the resource's id; empty if the server makes it."""
    parameter: str = ""
    """Query parameter with the id."""
    wrapped: str = ""
    """Field of a request for a change that holds the resource and stands beside an update mask."""


PROJECT = "projects/{project}"
KINDS = {
    "google_pubsub_topic": Kind(
        "pubsub", "v1", "Topic", f"{PROJECT}/topics", "name", wrapped="topic"
    ),
    "google_pubsub_subscription": Kind(
        "pubsub", "v1", "Subscription", f"{PROJECT}/subscriptions", "name", wrapped="subscription"
    ),
    "google_project_iam_custom_role": Kind("iam", "v1", "Role", f"{PROJECT}/roles", "role_id"),
    "google_firestore_database": Kind(
        "firestore",
        "v1",
        "GoogleFirestoreAdminV1Database",
        f"{PROJECT}/databases",
        "name",
        "databaseId",
    ),
    "google_firestore_backup_schedule": Kind(
        "firestore",
        "v1",
        "GoogleFirestoreAdminV1BackupSchedule",
        f"{PROJECT}/databases/{{database}}/backupSchedules",
    ),
    "google_firestore_index": Kind(
        "firestore",
        "v1",
        "GoogleFirestoreAdminV1Index",
        f"{PROJECT}/databases/{{database}}/collectionGroups/{{collection}}/indexes",
    ),
    "google_monitoring_notification_channel": Kind(
        "monitoring", "v3", "NotificationChannel", f"{PROJECT}/notificationChannels"
    ),
    "google_monitoring_alert_policy": Kind(
        "monitoring", "v3", "AlertPolicy", f"{PROJECT}/alertPolicies"
    ),
    "google_monitoring_dashboard": Kind("monitoring", "v1", "Dashboard", f"{PROJECT}/dashboards"),
    "google_logging_metric": Kind("logging", "v2", "LogMetric", f"{PROJECT}/metrics", "name"),
    "google_logging_project_exclusion": Kind(
        "logging", "v2", "LogExclusion", f"{PROJECT}/exclusions", "name"
    ),
}

RENAMED = {"google_project_iam_custom_role": {"permissions": "includedPermissions"}}
"""Fields that have another name in Terraform."""


REPLACES = ("locationId",)
"""Fields whose change makes the real provider replace a resource, which a test asks for itself."""


class Resources:
    """The resources of one project."""

    def __init__(self, google: Google, project: str) -> None:
        self._google = google
        self._project = project

    def create(self, kind: str, values: Json) -> Json:
        """Create a resource; return the attributes that only the cloud knows.

        Raises:
            Refused: the cloud does not create it.
        """
        how = KINDS[kind]
        body, query, path = self._body(kind, values), {}, self._parent(how, values)
        http = "POST"
        if kind == "google_project_iam_custom_role":
            return self._create_role(path, values, body)
        if how.parameter:
            query = {how.parameter: values[how.id]}
        elif how.id and how.wrapped:
            http, path = "PUT", f"{path}/{values[how.id]}"
        elif how.id:
            body["name"] = values[how.id]
        answer = self._send(kind, "creating", http, how, path, body, query)
        if how.id and not how.wrapped:
            name = f"{path}/{values[how.id]}"
        elif "metadata" in answer:  # an operation, which names what it makes
            name = answer["metadata"]["index"]
        else:
            name = answer["name"]
        known = {"id": name, "project": self._project}
        return known if how.id else {**known, "name": name}

    def change(self, kind: str, before: Json, after: Json) -> None:
        """Change the attributes that differ.

        Raises:
            Refused: the cloud does not change it.
        """
        how, old, body = KINDS[kind], self._body(kind, before), self._body(kind, after)
        changed = [name for name in {**old, **body} if old.get(name) != body.get(name)]
        changed = [name for name in changed if name not in REPLACES]
        if not changed:
            return
        mask, query, http = ",".join(changed), {}, "PATCH"
        part = {name: value for name, value in body.items() if name in changed}
        if kind == "google_logging_metric":
            http, body = "PUT", {**body, "name": after["name"]}
        elif how.wrapped:
            body = {how.wrapped: part, "updateMask": mask}
        elif kind != "google_monitoring_dashboard":
            body, query = part, {"updateMask": mask}
        self._send(kind, "updating", http, how, before["id"], body, query)

    def delete(self, kind: str, values: Json) -> None:
        """Delete a resource, unless it is gone already.

        Raises:
            Refused: the cloud does not delete it.
        """
        if self.exists(kind, values):
            query = {"force": "true"} if values.get("force_delete") else {}
            self._send(kind, "deleting", "DELETE", KINDS[kind], values["id"], {}, query)

    def exists(self, kind: str, values: Json) -> bool:
        """Return whether the cloud has a resource of the state."""
        return self._stored(kind, values) is not None

    def dashboard(self, values: Json) -> str:
        """Return the cloud's dashboard as JSON. If it equals that of the state, return the text of
        the state, so that Terraform sees no difference."""
        stored = self._stored("google_monitoring_dashboard", values) or {}
        shown = {name: value for name, value in stored.items() if name not in ("name", "etag")}
        text: str = values["dashboard_json"]
        return text if json.loads(text) == shown else json.dumps(shown)

    def _stored(self, kind: str, values: Json) -> Json | None:
        how = KINDS[kind]
        request = Request("GET", how.api, f"{how.version}/{values['id']}")
        status, answer = self._google.answer(request)
        return answer if status == 200 and not answer.get("deleted") else None

    def _create_role(self, path: str, values: Json, body: Json) -> Json:
        """Create a role, or restore and change the deleted one of the same id."""
        kind, how = "google_project_iam_custom_role", KINDS["google_project_iam_custom_role"]
        name = f"{path}/{values['role_id']}"
        status, found = self._google.answer(Request("GET", "iam", f"v1/{name}"))
        if status == 200 and found.get("deleted"):
            self._send(kind, "undeleting", "POST", how, f"{name}:undelete", {}, {})
            self._send(kind, "updating", "PATCH", how, name, body, {})
        else:
            new = {"roleId": values["role_id"], "role": body}
            self._send(kind, "creating", "POST", how, path, new, {})
        return {"id": name, "name": name, "project": self._project}

    def _parent(self, how: Kind, values: Json) -> str:
        return how.parent.format_map({**values, "project": self._project})

    def _body(self, kind: str, values: Json) -> Json:
        how = KINDS[kind]
        if kind == "google_monitoring_dashboard":
            body: Json = json.loads(values["dashboard_json"])
            return body
        renamed = RENAMED.get(kind, {})
        given = {renamed.get(name, name): value for name, value in values.items()}
        return _message(f"{how.api}.{how.version}", {"$ref": how.schema}, given, {"name"})

    def _send(
        self,
        kind: str,
        what: str,
        http: str,
        how: Kind,
        path: str,
        body: Json,
        query: dict[str, str],
    ) -> Json:
        request = Request(http, how.api, f"{how.version}/{path}", query, body)
        status, answer = self._google.answer(request)
        if status != 200:
            title = kind.removeprefix("google_").title().replace("_", "")
            raise Refused(
                f"Error {what} {title}: googleapi: Error {status}: {answer['error']['message']}"
            )
        return answer


def _message(document: str, schema: Json, values: Mapping[str, Any], without: set[str]) -> Json:
    """Return the attributes of a block as the fields of a message; others are left out."""
    api, _, version = document.partition(".")
    found = read(api, version)
    assert found
    properties = found.properties(schema["$ref"])
    body = {}
    for name, value in values.items():
        field = name if name in properties else camel(name)
        if field in properties and name not in without and _is_set(value):
            body[field] = _field(document, properties[field], value)
    return body


def _is_set(value: Any) -> bool:
    """Return whether an attribute has a value, which may still be unknown in a plan."""
    return value not in (None, "", []) and not isinstance(value, msgpack.ExtType)


def _field(document: str, schema: Json, value: Any) -> Any:
    if schema.get("type") == "array" and isinstance(value, list):
        return [_field(document, schema["items"], item) for item in value]
    if isinstance(value, list):  # a block that occurs once
        (value,) = value
    if "$ref" in schema:
        return _message(document, schema, value or {}, set())
    return value
