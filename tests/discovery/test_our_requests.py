"""Every REST request that mcloud writes by hand, sent to Google's own hosts, which this server is.

The last tests read the source: a request, an API or a path that ``KINDS`` does not send fails them.
"""

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Event
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from mcloud.clouds.access import COMPONENTS, OK, Target
from mcloud.clouds.gcp import database
from mcloud.clouds.gcp.access import GcpAccess
from mcloud.clouds.gcp.alert_policies import metric_conditions
from mcloud.clouds.gcp.billing import BillingExport
from mcloud.clouds.gcp.bucket import GcsBucket
from mcloud.clouds.gcp.client import check_credentials, make_session, make_storage
from mcloud.clouds.gcp.logs import CloudLogging
from mcloud.clouds.gcp.metrics import CloudMonitoring
from mcloud.clouds.gcp.permissions import NEEDS
from mcloud.clouds.gcp.probe import GcpProbe
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.clouds.gcp.transfer import StorageTransfer
from mcloud.clouds.gcp.usage import MonitoringUsage
from mcloud.clouds.ports import FunctionCode
from mcloud.clouds.resources import GcpResources
from mcloud.clouds.spans import Span
from mcloud.clouds.transfer import DONE, GONE, Transferred
from mcloud.errors import Refused
from mcloud.infra.emptying import empty

from .cloud import PROJECT
from .failures import Failure
from .google import Google, Request
from .sent import Sent, calls, modules, paths, recording

NOW = 1_723_161_300.0
TABLE = "bills.export.gcp_billing_export_v1_0123AB_4567CD_89EF01"
TO = GcpResources(
    project=PROJECT,
    region="us-central1",
    topic="mcloud-trades",
    subscription="mcloud-processor",
    dlq_topic="mcloud-dlq",
    dlq_subscription="mcloud-dlq",
    database="mcloud",
    candles_collection="candles",
    control_collection="control",
    raw_bucket="mcloud-raw",
    function="mcloud-processor",
    staging_bucket="mcloud-staging",
)
REGION = f"projects/{PROJECT}/locations/us-central1"


@pytest.fixture
def stack(google: Google) -> Google:
    """A cloud with the resources of ``TO``."""
    put(google, "pubsub", "PUT", f"topics/{TO.topic}")
    put(google, "pubsub", "PUT", f"topics/{TO.dlq_topic}")
    for name, topic in ((TO.subscription, TO.topic), (TO.dlq_subscription, TO.dlq_topic)):
        full = f"projects/{PROJECT}/topics/{topic}"
        put(google, "pubsub", "PUT", f"subscriptions/{name}", topic=full)
    given = {"databaseId": TO.database}
    kind = "FIRESTORE_NATIVE"
    put(google, "firestore", "POST", "databases", given, locationId="us-central1", type=kind)
    build = {"environmentVariables": {"BUNDLE_SHA256": "0123"}}
    function, at = {"functionId": TO.function}, "locations/us-central1/functions"
    put(google, "cloudfunctions", "POST", at, function, "v2", buildConfig=build)
    for name in (TO.raw_bucket, TO.staging_bucket):
        bucket = Request("POST", "storage", "storage/v1/b", {"project": PROJECT}, {"name": name})
        assert google.answer(bucket)[0] == 200
    return google


def put(
    google: Google,
    api: str,
    http: str,
    path: str,
    query: dict[str, str] | None = None,
    version: str = "v1",
    **body: Any,
) -> None:
    request = Request(http, api, f"{version}/projects/{PROJECT}/{path}", query or {}, body)
    assert google.answer(request)[0] == 200


def access(
    resources: GcpResources | None = TO, variables: Mapping[str, str] | None = None
) -> GcpAccess:
    return GcpAccess(Target("mcloud", "us-central1", PROJECT, resources, variables or {}))


def send_identity(google: Google) -> None:
    assert access().identity()
    assert access().clock()[1] < 60
    for service in ("queue", "function", "candles", "archive"):
        assert access().reach(service) >= 0


def send_permissions(google: Google) -> None:
    for component in COMPONENTS:
        finding = access().permissions(component)
        assert finding.state == OK, (component, finding)
        lacking = next(iter(NEEDS[component].values()))[-1]
        google.settings.denied = {lacking}
        assert lacking in access().permissions(component).text
        google.settings.denied = set()


def send_permissions_for_billing(google: Google) -> None:
    billing = {"billing_account": "012345-6789AB-CDEF01", "billing_dataset": f"{PROJECT}.billing"}
    assert access(variables=billing).permissions("deployer").state == OK


def send_database_facts(google: Google) -> None:
    name = f"projects/{PROJECT}/locations/us-central1/backups/b1"
    google.cloud.store["firestore", name] = {
        "name": name,
        "expireTime": "2026-12-01T03:00:00Z",
        "database": f"projects/{PROJECT}/databases/{TO.database}",
    }
    assert database.has_free_tier(make_session(), PROJECT, TO.database)
    (backup,) = database.backups(make_session(), PROJECT, TO.database)
    assert backup == database.DatabaseBackup(name, "2026-12-01T03:00:00Z")
    database.delete_backup(make_session(), backup)
    assert list(database.backups(make_session(), PROJECT, TO.database)) == []


def send_quotas(google: Google) -> None:
    for resources in (TO, None):
        for name, look in access(resources).quotas().items():
            assert look().state in (OK, "fault"), name
    google.settings.billing_enabled = False
    assert "no billing account" in access().quotas()["billing"]().text


def send_request_of_an_agent(google: Google) -> None:
    access().request_agent("pubsub")
    assert google.cloud.agents == {"service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"}


def send_bill(google: Google) -> None:
    google.settings.polls = 1  # the rows come with the second request
    row = {"day": "2026-11-01", "service": "Firestore", "labelled": "true"}
    google.cloud.query_rows = [{**row, "usd": "1.5", "credits": "0", "exported": "1793500000"}]
    bill = BillingExport(PROJECT, "mcloud", TABLE).bill("2026-11-01", "2026-11-26")
    assert [str(line.usd) for line in bill.lines] == ["1.5"]
    google.settings.polls = 0


def send_transfer(google: Google) -> None:
    role = "arn:aws:iam::123456789012:role/copier"
    transfer = StorageTransfer("from-s3", TO.raw_bucket, PROJECT, role)
    assert transfer.find("7f3a") == ""
    run = transfer.start(["raw/symbol=BTCUSDT/"], "7f3a")
    assert transfer.find("7f3a") == run
    assert transfer.look(run) == Transferred(DONE, 3, 1024, 0, "")
    transfer.end(run)
    assert transfer.find("7f3a") == ""
    assert transfer.look("transferOperations/none").state == GONE
    with pytest.raises(Refused, match="leading slash"):
        transfer.start(["/raw/"], "8e2b")


def send_interrupted_transfer(google: Google) -> None:
    """A job that was created and never run is run when it is found again."""
    transfer = StorageTransfer("from-s3", TO.raw_bucket, PROJECT, "role")
    transfer.start(["raw/"], "5b1c")
    del google.cloud.store["storagetransfer", "transferJobs/mcloud-5b1c"]["latestOperationName"]
    assert transfer.look(transfer.find("5b1c")).state == DONE


def send_failing_transfer(google: Google) -> None:
    """A job that was created and does not run is deleted again."""
    google.failures = [Failure("storagetransfer.transferJobs.run", status=400)]
    with pytest.raises(Refused, match="Injected"):
        StorageTransfer("from-s3", TO.raw_bucket, PROJECT, "role").start(["raw/"], "9c1d")
    assert google.cloud.store["storagetransfer", "transferJobs/mcloud-9c1d"]["status"] == "DELETED"
    google.failures = []


def send_spans(google: Google) -> None:
    attributes: dict[str, str | int] = {"symbol": "BTCUSDT", "first_id": 3735683259}
    span = Span("queue", "a" * 32, "1" * 16, "b" * 16, NOW, NOW + 0.75, attributes)
    CloudTrace(PROJECT).export([span])


def send_log_search(google: Google) -> None:
    logs = CloudLogging(make_session(), PROJECT, TO.function)
    assert logs.find("BTCUSDT", 7, NOW, NOW + 60) == []
    assert logs.lines(NOW, NOW + 60, 10) == []


def send_emptying(google: Google) -> None:
    upload = f"upload/storage/v1/b/{TO.raw_bucket}/o"
    for number in range(70):
        body = {"name": f"raw/{number}"}
        request = Request("POST", "storage", upload, {"uploadType": "multipart"}, body, b"x")
        assert google.answer(request)[0] == 200
    bucket = GcsBucket(make_storage(PROJECT), TO.raw_bucket)
    assert bucket.soft_delete_days() == 7
    assert empty(bucket, Event(), lambda deleted: None) == 70
    assert not [name for _, name in google.cloud.store if "/o/" in name]


def send_alert_policies(google: Google) -> None:
    assert metric_conditions(make_session(), PROJECT, "mcloud") == 0


def send_probe(google: Google) -> None:
    probe = GcpProbe(None, None, None, TO)
    probe.check("function", 10)
    assert probe.code(10) == [FunctionCode(TO.function, "0123")]
    check_credentials(make_session, 10)


def send_with_an_expired_token(google: Google) -> None:
    session = make_session()
    session.credentials.token = "old"
    google.settings.tokens = {"token"}
    url = f"https://pubsub.googleapis.com/v1/projects/{PROJECT}/topics/{TO.topic}"
    session.credentials.expiry = None
    assert session.ask("GET", url).ok
    google.settings.tokens = set()


KINDS: Sequence[Callable[[Google], None]] = (
    send_identity,
    send_permissions,
    send_permissions_for_billing,
    send_database_facts,
    send_quotas,
    send_request_of_an_agent,
    send_bill,
    send_transfer,
    send_interrupted_transfer,
    send_failing_transfer,
    send_spans,
    send_emptying,
    send_alert_policies,
    send_log_search,
    send_probe,
    send_with_an_expired_token,
)


@pytest.mark.parametrize("send", KINDS)
def test_every_request_is_accepted(send: Callable[[Google], None], stack: Google) -> None:
    stack.log.clear()
    send(stack)
    malformed = [entry for entry in stack.log if "Invalid request for" in str(entry)]
    unknown = [entry for entry in stack.log if not entry.method and entry.request.path]
    assert malformed == unknown == []


@pytest.mark.slow
def test_every_request_of_the_source_is_sent(stack: Google) -> None:
    with recording() as sent:
        for send in KINDS:
            send(stack)
    sources = list(modules())
    assert len(sources) > 5
    missing = [
        place
        for module, tree in sources
        for place in calls(module, tree)
        if not sent.has_reached(place)
    ]
    missing += [
        place
        for module, tree in sources
        for place in paths(module, tree)
        if not sent.has_sent(place)
    ]
    assert not missing, "no test sends:\n" + "\n".join(map(str, sorted(missing)))


class RestClient:
    """The part of Google's ``MetricServiceClient`` that mcloud uses, over REST instead of gRPC.

    https://google.aip.dev/127 says how the fields of a message become query parameters.
    """

    def list_time_series(self, request: Any, **_: object) -> list[object]:
        fields = MessageToDict(request._pb)
        url = f"https://monitoring.googleapis.com/v3/{fields.pop('name')}/timeSeries"
        answer = make_session().ask("GET", url, query=dict(flat(fields)))
        assert answer.ok, answer.text
        return []


def flat(fields: dict[str, Any], parent: str = "") -> Iterator[tuple[str, object]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{parent}{name}.")
        else:
            yield f"{parent}{name}", value


def test_queries_of_figures_name_one_metric_and_a_time(stack: Google) -> None:
    stack.log.clear()
    CloudMonitoring(RestClient(), TO).figures(900)
    MonitoringUsage(RestClient(), TO).metered(NOW, NOW + 86_400)
    assert {entry.method for entry in stack.log} == {"monitoring.projects.timeSeries.list"}
    assert len(stack.log) > 20
    assert stack.refused() == []


SOURCE = '''
from mcloud.clouds.gcp.client import make_session

def topics(project: str) -> object:
    """The text projects/p/v1/topics of a description is no path."""
    return make_session().ask("GET", f"https://pubsub.googleapis.com/v1/projects/{project}/topics")

def restored(name: str) -> object:
    return _post(f"{name}:undelete")

def _post(path: str) -> object:
    return make_session().ask("POST", path)
'''


def test_a_request_that_no_test_sends_is_found() -> None:
    tree = ast.parse(SOURCE)
    found = [*calls("module.py", tree), *paths("module.py", tree)]
    assert sorted((place.line, place.text) for place in found) == [
        (6, "ask(…)"),
        (6, "https://pubsub.googleapis.com/v1/projects/*/topics"),
        (9, "*:undelete"),
        (9, "_post(…)"),
        (12, "ask(…)"),
    ]
    assert not any(Sent().has_reached(place) or Sent().has_sent(place) for place in found)
