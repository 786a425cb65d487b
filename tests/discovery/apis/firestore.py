"""Firestore's databases, indexes, fields and backup schedules."""

import copy

from ..call import Call
from ..cloud import Cloud, changed_fields
from ..hooks import Change, after_delete, answer, before_delete, check, complete, new_id
from ..limits import check_duration, check_name
from ..names import Json, last, new_index_id, new_uuid
from ..refusal import Refusal, invalid, missing, precondition

REUSE = 300.0
"""Seconds until the id of a deleted database can be used again.

https://docs.cloud.google.com/firestore/native/docs/manage-databases#delete_a_database
"""

DATABASES = "firestore.projects.databases"
INDEXES = f"{DATABASES}.collectionGroups.indexes"
FIELDS = f"{DATABASES}.collectionGroups.fields"
SCHEDULES = f"{DATABASES}.backupSchedules"
WEEK = 7 * 24 * 3600
OFF = "POINT_IN_TIME_RECOVERY_DISABLED"

new_id(SCHEDULES)(new_uuid)
new_id(INDEXES)(new_index_id)


@check(DATABASES)
def check_database(cloud: Cloud, change: Change) -> None:
    database, before, short = change.resource, change.before, last(change.name)
    if before is None:
        if short != "(default)":
            check_name("database", short, r"[a-z][a-z0-9-]{2,61}[a-z0-9]")
        _check_reuse(cloud, change.name)
        kind = database.get("type", "DATABASE_TYPE_UNSPECIFIED")
        if not database.get("locationId") or kind == "DATABASE_TYPE_UNSPECIFIED":
            raise invalid("A database has a location and a type.")
    # https://docs.cloud.google.com/firestore/native/docs/locations
    elif before["locationId"] != database["locationId"]:
        raise invalid("The location of a database cannot be changed.")


def _check_reuse(cloud: Cloud, name: str) -> None:
    left = cloud.deleted.get(("firestore", name), float("-inf")) + REUSE - cloud.settings.clock()
    if left > 0:
        raise precondition(
            f"Database ID '{last(name)}' is not available in project '{name.split('/')[1]}'."
            f" Please retry in {left:.0f} seconds."
        )


@complete(DATABASES)
def complete_database(cloud: Cloud, change: Change) -> None:
    database, parent = change.resource, change.name.rpartition("/")[0]
    recovery = database.setdefault("pointInTimeRecoveryEnablement", OFF)
    for field, value in {
        "concurrencyMode": "PESSIMISTIC",
        "appEngineIntegrationMode": "DISABLED",
        "deleteProtectionState": "DELETE_PROTECTION_DISABLED",
        "databaseEdition": "STANDARD",
        "realtimeUpdatesMode": "REALTIME_UPDATES_MODE_ENABLED",
        "firestoreDataAccessMode": "DATA_ACCESS_MODE_ENABLED",
    }.items():
        database.setdefault(field, value)
    database["versionRetentionPeriod"] = "3600s" if recovery == OFF else f"{WEEK}s"
    database["earliestVersionTime"] = database["createTime"]
    if change.is_new:
        database["freeTier"] = not any(
            api == "firestore" and name.startswith(f"{parent}/") and other.get("freeTier")
            for (api, name), other in cloud.store.items()
        )


@before_delete(DATABASES)
def keep_protected(cloud: Cloud, call: Call, database: Json) -> None:
    if database["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED":
        raise precondition(
            "Cannot delete Firestore database: Delete Protection is enabled. Disable it first."
        )


@after_delete(DATABASES)
def reserve(cloud: Cloud, call: Call, database: Json) -> None:
    cloud.deleted["firestore", call.name] = cloud.settings.clock()


@check(SCHEDULES)
def check_schedule(cloud: Cloud, change: Change) -> None:
    database, schedule = _database(cloud, change.name), change.resource
    kinds = [each for each in ("dailyRecurrence", "weeklyRecurrence") if each in schedule]
    if not kinds:
        raise invalid("A backup schedule has a recurrence.")
    check_duration("retention", schedule.get("retention"), 1, 14 * WEEK)
    # https://docs.cloud.google.com/firestore/native/docs/backups: one daily and one weekly
    for (api, name), other in cloud.store.items():
        inside = api == "firestore" and name.startswith(f"{database}/backupSchedules/")
        if inside and name != change.name and kinds[0] in other:
            raise Refusal(409, f"The database has a schedule with {kinds[0]} already.")


@check(INDEXES)
def check_index(cloud: Cloud, change: Change) -> None:
    _database(cloud, change.name)
    fields = _named(change.resource["fields"])
    if len(change.resource["fields"]) < 2:
        raise invalid("An index has at least 2 fields; single-field indexes are fields' own.")
    scope = change.resource.get("queryScope", "COLLECTION")
    group = change.name.rpartition("/")[0]
    for (api, name), other in cloud.store.items():
        same = (other.get("fields"), other.get("queryScope")) == (fields, scope)
        if api == "firestore" and name.rpartition("/")[0] == group and same:
            raise Refusal(409, "index already exists")


@complete(INDEXES)
def complete_index(cloud: Cloud, change: Change) -> None:
    index = change.resource
    index["state"] = "READY"
    index.setdefault("queryScope", "COLLECTION")
    index.setdefault("apiScope", "ANY_API")
    index.setdefault("density", "SPARSE_ALL")
    index["fields"] = _named(index["fields"])


def _named(fields: list[Json]) -> list[Json]:
    """Return the fields of an index with ``__name__`` at the end."""
    if fields[-1]["fieldPath"] == "__name__":
        return fields
    name = {"fieldPath": "__name__", "order": fields[-1].get("order", "ASCENDING")}
    return [*fields, name]


@answer(f"{FIELDS}.get")
def get_field(cloud: Cloud, call: Call) -> Json:
    """Return a field; one that nobody has changed takes its indexes from the database's default."""
    _database(cloud, call.name)
    return cloud.store.get(("firestore", call.name)) or _default_field(call.name)


@answer(f"{FIELDS}.patch")
def patch_field(cloud: Cloud, call: Call) -> Json:
    field = copy.deepcopy(get_field(cloud, call))
    body, mask = changed_fields(call)
    if mask is None or ["indexConfig"] in mask:
        default = _default_field(call.name)["indexConfig"]
        if "indexConfig" in body:
            path = last(call.name)
            indexes = [
                {
                    "queryScope": "COLLECTION",
                    "state": "READY",
                    **index,
                    "fields": [{"fieldPath": path, **part} for part in index["fields"]],
                }
                for index in body["indexConfig"].get("indexes", [])
            ]
            if any(len(index["fields"]) != 1 for index in indexes):
                raise invalid("The indexes of a field have this field only.")
            field["indexConfig"] = {"indexes": indexes, "ancestorField": default["ancestorField"]}
        else:
            field["indexConfig"] = default
    if mask is None or ["ttlConfig"] in mask:
        field.pop("ttlConfig", None)
        if "ttlConfig" in body:
            _check_ttl(cloud, call.name)
            field["ttlConfig"] = {"state": "ACTIVE"}
    cloud.store["firestore", call.name] = field
    return cloud.start_operation(call, call.name, {"response": field})


def _check_ttl(cloud: Cloud, field: str) -> None:
    """Refuse a second field with a TTL in a collection group.

    https://docs.cloud.google.com/firestore/native/docs/ttl: "You can have only one TTL policy per
    collection group."
    """
    group = field.rpartition("/")[0]
    for (api, name), other in cloud.store.items():
        beside = api == "firestore" and name.rpartition("/")[0] == group and name != field
        if beside and "ttlConfig" in other:
            raise precondition(f"{group} has a TTL policy already, for the field {last(name)}.")


def _database(cloud: Cloud, name: str) -> str:
    """Return the name of the database that a resource is in; refuse one that does not exist."""
    database = "/".join(name.split("/")[:4])
    if not cloud.exists("firestore", database):
        raise missing(f"The database {database} does not exist.")
    return database


def _default_field(name: str) -> Json:
    database, path = "/".join(name.split("/")[:4]), last(name)
    kinds = ({"order": "ASCENDING"}, {"order": "DESCENDING"}, {"arrayConfig": "CONTAINS"})
    single = [
        {"queryScope": "COLLECTION", "fields": [{"fieldPath": path, **kind}], "state": "READY"}
        for kind in kinds
    ]
    ancestor = f"{database}/collectionGroups/__default__/fields/*"
    config = {"indexes": single, "usesAncestorConfig": True, "ancestorField": ancestor}
    return {"name": name, "indexConfig": config}
