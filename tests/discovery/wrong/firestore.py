"""Firestore."""

from typing import Any

from ..google import Request
from .rule import DOCS, Described, P, Wrong, ask


def database(name: str = "other", **body: Any) -> Request:
    kind = {"locationId": "us-central1", "type": "FIRESTORE_NATIVE", **body}
    return ask(f"POST firestore/v1/{P}/databases?databaseId={name}", **kind)


def schedule(**body: Any) -> Request:
    return ask(f"POST firestore/v1/{P}/databases/mcloud/backupSchedules", **body)


def index(*fields: str, database: str = "mcloud") -> Request:
    return ask(
        f"POST firestore/v1/{P}/databases/{database}/collectionGroups/candles/indexes",
        queryScope="COLLECTION",
        fields=[{"fieldPath": field, "order": "ASCENDING"} for field in fields],
    )


def ttl(path: str) -> Request:
    name = f"{P}/databases/mcloud/collectionGroups/candles/fields/{path}"
    return ask(f"PATCH firestore/v1/{name}?updateMask=ttlConfig", ttlConfig={})


DATABASE = f"{P}/databases/mcloud"

PROTECTED = "DELETE_PROTECTION_ENABLED"

PATCH_DATABASE = f"PATCH firestore/v1/{DATABASE}?updateMask=deleteProtectionState"

DELETE_DATABASE = ask(f"DELETE firestore/v1/{DATABASE}")

WRONG = [
    Wrong(
        "The id of a database has at least 4 characters.",
        Described("firestore.v1", "firestore.projects.databases.create:databaseId", "4-63"),
        database("abc"),
        database("abcd"),
        says="Invalid database 'abc'",
    ),
    Wrong(
        "A database has a location.",
        Described("firestore.v1", "GoogleFirestoreAdminV1Database.locationId", "Required."),
        database(locationId=""),
        database(locationId="us-central1"),
        says="location",
    ),
    Wrong(
        "The location of a database cannot be changed.",
        f"{DOCS}/firestore/native/docs/locations",
        ask(f"PATCH firestore/v1/{DATABASE}?updateMask=locationId", locationId="nam5"),
        ask(f"PATCH firestore/v1/{DATABASE}?updateMask=locationId", locationId="us-central1"),
        says="cannot be changed",
    ),
    Wrong(
        "A protected database is not deleted.",
        f"{DOCS}/firestore/native/docs/manage-databases#delete_protection",
        DELETE_DATABASE,
        ask(PATCH_DATABASE, deleteProtectionState="DELETE_PROTECTION_DISABLED"),
        reason="FAILED_PRECONDITION",
        says="Delete Protection is enabled",
        before=(ask(PATCH_DATABASE, deleteProtectionState=PROTECTED),),
    ),
    Wrong(
        "The id of a deleted database is refused for five minutes.",
        f"{DOCS}/firestore/native/docs/manage-databases#delete_a_database",
        database("mcloud"),
        database("mcloud"),
        reason="FAILED_PRECONDITION",
        says="Database ID 'mcloud' is not available",
        before=(DELETE_DATABASE,),
        wait=300,
    ),
    Wrong(
        "An index exists once.",
        f"{DOCS}/firestore/native/docs/query-data/indexing",
        index("symbol", "minute"),
        index("minute", "symbol"),
        409,
        "ALREADY_EXISTS",
        "index already exists",
        before=(index("symbol", "minute"),),
    ),
    Wrong(
        "A composite index has at least two fields.",
        Described("firestore.v1", "GoogleFirestoreAdminV1Index.fields", "At least 2 fields"),
        index("symbol"),
        index("symbol", "minute"),
        says="at least 2 fields",
    ),
    Wrong(
        "An index is in a database that exists.",
        f"{DOCS}/firestore/native/docs/manage-databases",
        index("symbol", "minute", database="none"),
        index("symbol", "minute"),
        404,
        "NOT_FOUND",
        "does not exist",
    ),
    Wrong(
        "Backups are kept for at most 14 weeks.",
        Described("firestore.v1", "GoogleFirestoreAdminV1BackupSchedule.retention", "is 14 weeks"),
        schedule(dailyRecurrence={}, retention="8467201s"),
        schedule(dailyRecurrence={}, retention="8467200s"),
        says="8467201s is not between",
    ),
    Wrong(
        "A database has one daily schedule of backups.",
        Described(
            "firestore.v1",
            "firestore.projects.databases.backupSchedules.create",
            "one daily backup schedule and one weekly",
        ),
        schedule(dailyRecurrence={}, retention="604800s"),
        schedule(weeklyRecurrence={"day": "MONDAY"}, retention="604800s"),
        409,
        "ALREADY_EXISTS",
        "already",
        before=(schedule(dailyRecurrence={}, retention="604800s"),),
    ),
    Wrong(
        "A collection group has one TTL policy.",
        f"{DOCS}/firestore/native/docs/ttl#limitations",
        ttl("deleted"),
        ttl("expires"),
        reason="FAILED_PRECONDITION",
        says="has a TTL policy already",
        before=(ttl("expires"),),
    ),
]
