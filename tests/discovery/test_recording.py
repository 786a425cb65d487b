"""The requests that Terraform's Google provider sends for the module, recorded and sent again.

``google-7.45.0-requests.jsonl.gz`` has every request of hashicorp/google 7.45.0 in an apply, a
plan, changes in place and a destroy of the module with all its options, and the status of each
answer. ``tests/terraform/test_recording.py`` writes it. ``GIVEN`` was recorded from an earlier
version of the module on another server, so it also shows that this server does not just agree with
itself. Ids that a server makes differ from run to run: the first new id of a collection in the
recording stands for the first one that was made here, and so on.
"""

import gzip
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .cloud import PROJECT, Settings
from .google import Google, Request
from .names import Json

VERSION = "7.45.0"
NAME = f"google-{VERSION}-requests.jsonl"
RECORDING = Path(__file__).parent / f"{NAME}.gz"
GIVEN = Path(__file__).resolve().parents[3] / "shared" / "terraform" / NAME
MADE_IDS = re.compile(
    r"(alertPolicies|backupSchedules|budgets|dashboards|indexes|notificationChannels|operations)"
    r"/([\w-]+)"
)
BILLING = "billing-project-1"


def read(recording: Path) -> list[Json]:
    """Return the recorded requests of a file, in their order."""
    content = recording.read_bytes()
    text = gzip.decompress(content) if recording.suffix == ".gz" else content
    return [json.loads(line) for line in text.splitlines()]


class Recording:
    """The recorded requests, with the ids of this run in place of the recorded ones."""

    def __init__(self, rows: list[Json]) -> None:
        self._rows = rows
        self._made: dict[str, list[str]] = defaultdict(list)
        """Ids that were made here and stand for no recorded one yet, by collection."""
        self._ids: dict[tuple[str, str], str] = {}
        self._etags: dict[str, str] = {}

    def requests(self) -> Iterator[tuple[Request, int]]:
        """Yield each request with the status of its answer."""
        for row in self._rows:
            yield self._request(row), row["status"]

    def learn(self, request: Request, answer: Json) -> None:
        """Note the ids and the etag in an answer."""
        if request.http in ("POST", "PUT", "PATCH", "DELETE"):
            for collection, made in MADE_IDS.findall(json.dumps(answer)):
                collection = _kind(request.api, collection)
                if made not in (*self._ids.values(), *self._made[collection]):
                    self._made[collection].append(made)
        if "etag" in answer:
            self._etags[_resource(request.path)] = answer["etag"]

    def _request(self, row: Json) -> Request:
        api = row["api"]
        # The API comes first, except in the path of an upload of the given recording.
        path = row["path"].removeprefix(f"/{api}/").lstrip("/")
        body, media = row["body"] or {}, None
        if "media_bytes" in body:
            body, media = body["metadata"], bytes(body["media_bytes"])
        present = partial(self._present, api)
        path, body = json.loads(MADE_IDS.sub(present, json.dumps([path, body])))
        holder = body.get("policy", body)
        if "etag" in holder:
            holder["etag"] = self._etags[_resource(path)]
        return Request(row["http"], api, path, row["query"], body, media)

    def _present(self, api: str, found: re.Match[str]) -> str:
        """Return the text of a recorded id with the id of this run."""
        key = _kind(api, found[1]), found[2]
        if key not in self._ids:
            self._ids[key] = self._made[key[0]].pop(0)
        return f"{found[1]}/{self._ids[key]}"


def _kind(api: str, collection: str) -> str:
    """Return what has ids of its own: a collection, or the operations of an API."""
    return f"{api}/{collection}" if collection == "operations" else collection


def _resource(path: str) -> str:
    """Return what has one etag: a resource, or its policy."""
    return re.sub(r":[gs]etIamPolicy$", ":policy", path)


def cloud_to_record() -> Google:
    """Return the cloud before the first request: it has a billing export in another project."""
    google = Google(Settings(projects={PROJECT: "123456789012", BILLING: "210987654321"}, polls=1))
    google.cloud.store["bigquery", f"projects/{BILLING}/datasets/billing"] = {
        "id": f"{BILLING}:billing",
        "etag": "first",
        "access": [{"role": "OWNER", "specialGroup": "projectOwners"}],
    }
    return google


@pytest.mark.parametrize("path", [RECORDING, GIVEN], ids=["own", "given"])
def test_every_recorded_request_is_answered_with_the_recorded_status(path: Path) -> None:
    if not path.exists():
        pytest.skip(f"no given recording: {path} is missing")
    google = cloud_to_record()
    recording, differing, count = Recording(read(path)), [], 0
    for request, status in recording.requests():
        answered, answer = google.answer(request)
        recording.learn(request, answer)
        count += 1
        if answered != status:
            differing.append(f"{status} before: {google.log[-1]}")
    assert differing == []
    assert count > 700
    # What the destroy leaves: the table of another project, and roles that can be restored.
    left = {f"{api}/{name.split('/')[-2]}" for api, name in google.cloud.store}
    assert left == {"bigquery/datasets", "iam/roles"}
