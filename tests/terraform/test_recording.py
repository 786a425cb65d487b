"""The requests of Google's real provider that ``tests/discovery/test_recording.py`` sends again.

With ``MCLOUD_UPDATE=1`` and a mirror with the provider, the recording is written again. Do that
after a change of the module.
"""

import gzip
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from discovery.cloud import PROJECT
from discovery.google import Entry, Google
from discovery.names import Json
from discovery.server import serving
from discovery.test_recording import (
    BILLING,
    MADE_IDS,
    RECORDING,
    VERSION,
    cloud_to_record,
    read,
)

from .module import real_gcp_module

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

CHANGES: dict[str, object] = {
    "labels": {"team": "research"},
    "function_timeout": 90,
    "deliveries": 10,
    "backup_retention": 14,
    "monthly_budget": 50,
    "anomaly_schedule": "*/5 * * * *",
    "deletion_protection": False,
}
BY_HAND = {
    "iam.roles": ("title", "Changed"),
    "iam.serviceAccounts": ("displayName", "Changed"),
    "logging.exclusions": ("description", "Changed"),
    "logging.metrics": ("description", "Changed"),
    "monitoring.dashboards": ("displayName", "Changed"),
    "pubsub.topics": ("labels", {}),
}
"""Changes that somebody makes outside Terraform, by collection; no variable changes these."""


def test_the_recording_has_the_requests_of_the_provider(
    tmp_path: Path, gcp_everything: dict[str, object]
) -> None:
    google = cloud_to_record()
    rows: list[Json] = []
    with serving(tmp_path / "google", google) as server:
        module = real_gcp_module(tmp_path / "gcp", VERSION, server.environment())
        everything = {
            **gcp_everything,
            "project": PROJECT,
            "billing_dataset": f"{BILLING}.billing",
        }
        module.set(**everything)
        module.apply()
        rows += recorded(google, "apply")
        assert module.changes() == {}
        rows += recorded(google, "plan")
        change_by_hand(google)
        module.set(**{**everything, **CHANGES})
        module.apply()
        rows += recorded(google, "change")
        assert module.changes() == {}
        google.log.clear()
        module.run("destroy", "-input=false", "-no-color", "-auto-approve")
        rows += recorded(google, "destroy")
    if os.environ.get("MCLOUD_UPDATE"):
        write(rows)
    before = read(RECORDING)
    assert reads(rows) == reads(before)
    assert writes(rows) == writes(before)
    assert policies(rows) == policies(before)
    assert services(rows) == services(before)
    for first, then in ORDER:
        assert max(places(rows, first)) < min(places(rows, then)), (first, then)


def recorded(google: Google, phase: str) -> Iterator[Json]:
    """Yield the requests since the last phase that belong to a method, and forget them."""
    entries = [entry for entry in google.log if entry.method]
    google.log.clear()
    for entry in entries:
        yield {"phase": phase, **row(entry)}


def row(entry: Entry) -> Json:
    request = entry.request
    body: Json | None = request.body or None
    if request.media is not None:
        body = {"metadata": request.body, "media_bytes": len(request.media)}
    return {
        "api": request.api,
        "method": entry.method,
        "http": request.http,
        "path": f"/{request.api}/{request.path}",
        "query": request.query,
        "body": body,
        "status": entry.status,
    }


def change_by_hand(google: Google) -> None:
    """Change one resource of each collection in ``BY_HAND``."""
    for collection, (field, value) in BY_HAND.items():
        api, _, kind = collection.partition(".")
        found = [
            resource
            for (owner, name), resource in sorted(google.cloud.store.items())
            if owner == api and name.split("/")[-2] == kind
        ]
        found[0][field] = value


VARYING = (
    (MADE_IDS, r"\1/#"),
    (re.compile(r'(?<="etag": )"[^"]*"|(?<="media_bytes": )\d+'), "0"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "#"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "#"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])"), "#"),  # digests of the bundle
    (re.compile(r"(?<!\d)\d{14,21}(?!\d)"), "#"),  # times of roles and builds, ids of accounts
)
"""Texts that differ from run to run, with their replacements."""
ORDER = (
    (r"storage\.objects\.insert", r"cloudfunctions\..*\.functions\.create"),
    (r"artifactregistry\..*\.setIamPolicy", r"cloudfunctions\..*\.functions\.create"),
    (r"serviceusage\..*[eE]nable", r"iam\.projects\.serviceAccounts\.create"),
    (r"firestore\.projects\.databases\.create", r"firestore\..*\.(fields\.patch|indexes\.create)"),
)
"""Methods of which all requests of the apply come before the first request of another one.

Terraform creates other resources at the same time, so their order differs from run to run.
"""


def settled(row: Json, body: Json) -> str:
    """Return a request without what differs from run to run."""
    text = json.dumps([row["method"], row["path"], row["query"], body, row["status"]])
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return f"{row['phase']} {text}"


def reads(rows: list[Json]) -> set[str]:
    """Return what was read in each phase. How often is a matter of time."""
    return {settled(row, row["body"] or {}) for row in rows if is_read(row)}


def writes(rows: list[Json]) -> Counter[str]:
    """Return all other requests with their numbers."""
    return Counter(
        settled(row, row["body"] or {})
        for row in rows
        if not is_read(row) and not is_policy(row) and row["api"] != "serviceusage"
    )


def policies(rows: list[Json]) -> dict[str, list[str]]:
    """Return the last policy of each resource in each phase.

    The policies before depend on which of the grants was first.
    """
    found = {}
    for row in filter(is_policy, rows):
        policy = row["body"].get("policy", row["body"])
        found[settled(row, {})] = sorted(settled(row, each) for each in policy.get("bindings", []))
    return found


def services(rows: list[Json]) -> list[str]:
    """Return the APIs that were enabled. The provider combines requests of the same moment."""
    found = []
    for row in rows:
        if row["method"] == "serviceusage.services.enable":
            found.append(row["path"].rpartition("/")[2].partition(":")[0])
        elif row["method"] == "serviceusage.services.batchEnable":
            found += row["body"]["serviceIds"]
    return sorted(found)


def places(rows: list[Json], method: str) -> list[int]:
    """Return the places of the requests of a method in the first phase."""
    applied = [row["method"] for row in rows if row["phase"] == "apply"]
    found = [place for place, each in enumerate(applied) if re.fullmatch(method, each)]
    assert found, method
    return found


def is_read(row: Json) -> bool:
    return row["http"] == "GET" or str(row["method"]).endswith(".getIamPolicy")


def is_policy(row: Json) -> bool:
    return str(row["method"]).endswith(".setIamPolicy")


def write(rows: list[Json]) -> None:
    text = "".join(
        json.dumps({"n": number, **row}, separators=(",", ":")) + "\n"
        for number, row in enumerate(rows, start=1)
    )
    RECORDING.write_bytes(gzip.compress(text.encode(), mtime=0))
