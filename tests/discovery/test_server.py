"""The server for clients that know nothing of it."""

import json
from dataclasses import replace

import pytest
from google import auth
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage

from mcloud import http
from mcloud.clouds.gcp.client import make_session
from mcloud.errors import Unavailable

from .cloud import PROJECT
from .failures import Failure
from .google import Google, Request
from .server import Server

TOPIC = f"https://pubsub.googleapis.com/v1/projects/{PROJECT}/topics/trades"


def test_our_client_creates_and_reads_a_resource(google: Google) -> None:
    session = make_session()
    made = session.ask("PUT", TOPIC, document={"labels": {"stack": "mcloud"}})
    assert (made.status, made.document()["state"]) == (200, "ACTIVE")
    assert session.ask("GET", TOPIC).document()["labels"] == {"stack": "mcloud"}
    assert session.ask("PUT", TOPIC, document={}).status == 409
    methods = ["pubsub.projects.topics.create", "pubsub.projects.topics.get"]
    assert [entry.method for entry in google.log] == [*methods, methods[0]]


def test_googles_own_clients_reach_the_server(google: Google) -> None:
    credentials, _ = google_credentials()
    assert AuthorizedSession(credentials).get(TOPIC).status_code == 404
    client = storage.Client(project=PROJECT, credentials=credentials)
    bucket = client.create_bucket("mcloud-raw", location="us-central1")
    bucket.blob("raw/a.json").upload_from_string(b"[]")
    assert [blob.name for blob in client.list_blobs("mcloud-raw")] == ["raw/a.json"]
    assert google.cloud.exists("storage", "b/mcloud-raw/o/raw/a.json")


def google_credentials() -> tuple[object, str]:
    found: tuple[object, str] = auth.default(["https://www.googleapis.com/auth/cloud-platform"])
    return found


def test_without_tls_the_api_is_the_first_part_of_the_path(running: Server, google: Google) -> None:
    url = f"{running.address}/pubsub/v1/projects/{PROJECT}/topics"
    assert http.ask("GET", url, http.GOOGLE).document() == {}


def test_nothing_else_leaves_the_machine(google: Google) -> None:
    with pytest.raises(Unavailable, match="403 Forbidden"):
        http.ask("GET", "https://example.com/", http.GOOGLE)


@pytest.mark.parametrize(
    ("path", "document", "fault"),
    [
        ("?validate=1", {}, "query parameter validate is unknown"),
        ("", {"labels": {"a": 1}}, "labels.a has to be a string: 1"),
        ("", {"retention": "60s"}, "retention is unknown"),
        ("", {"messageRetentionDuration": "1 day"}, "messageRetentionDuration is no duration"),
        ("", {"schemaSettings": {"encoding": "XML"}}, "schemaSettings.encoding is none of"),
    ],
)
def test_a_request_that_violates_the_document_is_refused(
    google: Google, path: str, document: object, fault: str
) -> None:
    answer = make_session().ask("PUT", TOPIC + path, document=document)
    assert answer.status == 400
    assert fault in json.dumps(answer.document())


def test_a_path_that_no_method_has_is_not_found(google: Google) -> None:
    assert make_session().ask("GET", TOPIC.replace("/v1/", "/v7/")).status == 404


def test_calls_fail_on_request(google: Google) -> None:
    google.failures = [Failure("pubsub.projects.topics.*", after=1, times=1, status=429)]
    session = make_session()
    statuses = [session.ask("PUT", f"{TOPIC}-{n}", document={}).status for n in range(3)]
    assert statuses == [200, 429, 200]


def test_an_api_answers_once_it_is_enabled_for_long_enough(google: Google) -> None:
    now = 0.0
    google.settings.clock = lambda: now
    google.settings.enforce_services, google.settings.activation_lag = True, 60
    session = make_session()
    off = session.ask("GET", TOPIC)
    assert off.document()["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
    usage = f"https://serviceusage.googleapis.com/v1/projects/{PROJECT}/services"
    session.ask("POST", f"{usage}/pubsub.googleapis.com:enable", document={})
    assert session.ask("GET", TOPIC).status == 403
    now = 61
    assert session.ask("GET", TOPIC).status == 404


def test_an_operation_that_fails_leaves_the_resource_failed_or_as_it_was(google: Google) -> None:
    functions = f"projects/{PROJECT}/locations/us-central1/functions"
    name = f"{functions}/f01"
    create = Request("POST", "cloudfunctions", f"v2/{functions}", {"functionId": "f01"})
    patch = Request("PATCH", "cloudfunctions", f"v2/{name}", body={"description": "changed"})
    error = {"code": 3, "message": "Build failed"}
    failure = Failure("cloudfunctions.*.create", operation=error, keeps=False)
    google.failures = [failure, Failure("cloudfunctions.*.patch", operation=error)]
    google.settings.polls = 1
    status, operation = google.answer(create)
    assert (status, "error" in operation) == (200, False)
    poll = Request("GET", "cloudfunctions", f"v2/{operation['name']}")
    assert google.answer(poll)[1]["error"] == error
    assert not google.cloud.exists("cloudfunctions", name)
    failure.times = failure.used
    assert google.answer(create)[0] == google.answer(patch)[0] == 200
    stored = google.cloud.store["cloudfunctions", name]
    assert (stored["description"], stored["state"]) == ("changed", "FAILED")


def test_an_api_may_need_a_quota_project(google: Google) -> None:
    google.settings.quota_project_apis = ("pubsub",)
    request = Request("GET", "pubsub", f"v1/projects/{PROJECT}/topics")
    assert google.answer(request)[0] == 403
    assert google.answer(replace(request, quota_project=PROJECT))[0] == 200
