"""The requests of Google's real provider that ``tests/discovery/test_recording.py`` sends again.

With ``MCLOUD_UPDATE=1`` and a mirror with the provider, the recording is written again. Do that
after a change of the module.
"""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from discovery.cloud import PROJECT
from discovery.google import Entry, Google
from discovery.names import Json
from discovery.server import serving
from discovery.test_recording import BILLING, RECORDING, VERSION, cloud_to_record

from .module import real_gcp_module

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]

CHANGES: dict[str, object] = {
    "labels": {"team": "desk"},
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
        module.set(**everything, **CHANGES)
        module.apply()
        rows += recorded(google, "change")
        assert module.changes() == {}
        google.log.clear()
        module.run("destroy", "-input=false", "-no-color", "-auto-approve")
        rows += recorded(google, "destroy")
    if os.environ.get("MCLOUD_UPDATE"):
        write(rows)
    with gzip.open(RECORDING, "rt") as lines:
        before = [json.loads(line) for line in lines]
    assert kinds(rows) == kinds(before)


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


def kinds(rows: list[Json]) -> set[tuple[str, str, int]]:
    """Return what both recordings have, in whatever order and however often it was sent."""
    return {(row["phase"], row["method"], row["status"]) for row in rows}


def write(rows: list[Json]) -> None:
    text = "".join(
        json.dumps({"n": number, **row}, separators=(",", ":")) + "\n"
        for number, row in enumerate(rows, start=1)
    )
    RECORDING.write_bytes(gzip.compress(text.encode(), mtime=0))
