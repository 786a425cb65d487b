"""Both handlers, called like by their platforms, with the embedded stores."""

import base64
import importlib.util
import json
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from cloudevents.http import CloudEvent
from patience import eventually

from mcloud.clouds.factory import open_site
from mcloud.clouds.ports import Site, Unsent
from mcloud.errors import McloudError, Unavailable
from mcloud.infra.bundle import shipped
from mcloud.local.state import State
from mcloud.market.archive import prefix
from mcloud.market.envelope import Message, encode
from mcloud.market.trade import Trade
from mcloud.rehearsal.demo import archived_ids, stored_rows
from mcloud.rehearsal.oracle import expected_rows

START = 1_723_161_240_000
QUEUED = START + 1_123
POISON = Message("this is not an envelope")


@dataclass
class Processor:
    """A handler with its site. ``deliver`` returns the messages to redeliver."""

    site: Site
    deliver: Callable[[list[Message]], list[int]]
    module: ModuleType


@pytest.fixture(params=["aws", "gcp"])
def processor(
    request: pytest.FixtureRequest, embedded: State, monkeypatch: pytest.MonkeyPatch
) -> Processor:
    cloud: str = request.param
    to = embedded.outputs[cloud]
    monkeypatch.setenv("HEARTBEAT_SECONDS", "0")
    site = open_site(cloud, embedded.resources()[cloud])
    if cloud == "aws":
        monkeypatch.setenv("AWS_REGION", to["region"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", to["endpoint_url"])
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")  # as Lambda gives credentials to a function
        monkeypatch.setenv("DELIVERY_STREAM", to["delivery_stream"])
        monkeypatch.setenv("CANDLES_TABLE", to["candles_table"])
        monkeypatch.setenv("CONTROL_TABLE", to["control_table"])
        module = load("aws/processor.py")
        return Processor(site, lambda messages: deliver_aws(module, messages), module)
    monkeypatch.setenv("RAW_BUCKET", to["raw_bucket"])
    monkeypatch.setenv("EXPORTED_SINCE", "2025-01-01T00:00:00Z")  # later than the messages
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", to["project"])
    monkeypatch.setenv("FIRESTORE_DATABASE", to["database"])
    monkeypatch.setenv("CANDLES_COLLECTION", to["candles_collection"])
    monkeypatch.setenv("CONTROL_COLLECTION", to["control_collection"])
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", to["firestore_endpoint"])
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", to["storage_endpoint"])
    module = load("gcp/main.py")
    return Processor(site, lambda messages: deliver_gcp(module, messages), module)


def test_messages_are_stored_and_poison_is_refused(
    processor: Processor, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = trades("FNGOODUSDT", 900)
    messages = [encode(batch[:400]), POISON, encode(batch[400:])]
    assert processor.deliver(messages) == [1]
    assert stored_rows(processor.site, ["FNGOODUSDT"]) == expected_rows(batch)
    await_archived(processor.site, batch)
    refused = [line for line in logged(capsys) if line["message"] == "refused a message"]
    assert [line["reason"] for line in refused] == ["neither JSON nor base64 of zlib"]
    beat = {b.symbol: b for b in processor.site.control.heartbeats()}["FNGOODUSDT"]
    assert beat.trades == 900
    assert beat.last_trade_time == batch[-1].time


def test_a_batch_of_very_many_trades_is_stored_in_parts(
    processor: Processor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All at once would exceed the memory of a function, and it would never get past them."""
    if processor.site.cloud == "gcp":
        pytest.skip("it gets one message at a time")
    monkeypatch.setattr(processor.module, "AT_ONCE", 250)
    batch = trades("FNMANYUSDT", 900)
    messages = [encode(batch[n : n + 100]) for n in range(0, 900, 100)]
    assert processor.deliver([*messages[:4], POISON, *messages[4:]]) == [4]
    assert stored_rows(processor.site, ["FNMANYUSDT"]) == expected_rows(batch)
    await_archived(processor.site, batch)
    lines = [each["trades"] for each in logged(capsys) if each["message"] == "stored"]
    assert lines == [300, 300, 300]


class Context:
    """The context of a call that has time for a given number of requests."""

    def __init__(self, requests: int) -> None:
        self._left = iter([60_000] * (1 + requests))

    def get_remaining_time_in_millis(self) -> int:
        return next(self._left, 1_000)


class Sent:
    """A queue that accepts all messages, or refuses all."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.messages: list[Message] = []
        self._refuses = refuses

    def send(self, messages: list[Message]) -> list[Unsent]:
        if self._refuses:
            return [Unsent(index, "full", permanent=False) for index in range(len(messages))]
        self.messages += messages
        return []


def minutely(symbol: str, count: int) -> list[Trade]:
    """Return one trade per minute, each of which makes a candle."""
    return [each._replace(time=START + n * 60_000) for n, each in enumerate(trades(symbol, count))]


def test_trades_that_are_not_stored_in_time_return_to_the_queue(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor.site.cloud == "gcp":
        pytest.skip("it gets one message at a time, of a bounded number of candles")
    sent = Sent()
    monkeypatch.setattr(processor.module, "queue", lambda arn: sent)
    batch = minutely("FNTIMEUSDT", 400)
    waiting = [encode(batch[n : n + 100]) for n in range(0, 400, 100)]
    left = [len(batch)]
    while waiting:
        assert processor.module.handler(event(waiting), Context(90)) == {"batchItemFailures": []}
        waiting, sent.messages = sent.messages, []
        left.append(sum(int(each.attributes["count"]) for each in waiting))
    assert len(left) > 3
    assert sorted(set(left), reverse=True) == left
    assert stored_rows(processor.site, ["FNTIMEUSDT"]) == expected_rows(batch)
    await_archived(processor.site, batch)


def test_no_heartbeat_is_written_in_the_last_seconds(
    processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor.site.cloud == "gcp":
        pytest.skip("it gets one message at a time, of a bounded number of candles")
    monkeypatch.setattr(processor.module, "queue", lambda arn: Sent())
    messages = [encode(minutely("FNLASTUSDT", 100))]
    assert processor.module.handler(event(messages), Context(60)) == {"batchItemFailures": []}
    assert "FNLASTUSDT" not in [each.symbol for each in processor.site.control.heartbeats()]


@pytest.mark.parametrize(("requests", "refuses"), [(50, True), (0, False)])
def test_messages_are_redelivered_if_nothing_was_stored_or_sent_back(
    processor: Processor, monkeypatch: pytest.MonkeyPatch, requests: int, refuses: bool
) -> None:
    if processor.site.cloud == "gcp":
        pytest.skip("it gets one message at a time, of a bounded number of candles")
    monkeypatch.setattr(processor.module, "queue", lambda arn: Sent(refuses=refuses))
    batch = minutely(f"FNBACK{requests}USDT", 200)
    messages = [encode(batch[:100]), encode(batch[100:])]
    answer = processor.module.handler(event(messages), Context(requests))
    given_back = [each["itemIdentifier"] for each in answer["batchItemFailures"]]
    assert given_back == ["0", "1"]
    assert processor.deliver(messages) == []
    assert stored_rows(processor.site, [batch[0].symbol]) == expected_rows(batch)


def test_a_repeat_changes_nothing(processor: Processor) -> None:
    batch = trades("FNAGAINUSDT", 300)
    for _ in range(3):
        assert processor.deliver([encode(batch)]) == []
    assert stored_rows(processor.site, ["FNAGAINUSDT"]) == expected_rows(batch)
    await_archived(processor.site, batch)
    assert len(list(processor.site.archive.list(prefix("FNAGAINUSDT")))) == 1


def test_archives_before_it_folds(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash in between, the trades are in the archive, and the retry completes them."""
    batch = trades("FNCRASHUSDT", 50)
    candles = type(processor.module.site().candles)

    def crash(*_: Any) -> None:
        raise McloudError("the power went")

    with monkeypatch.context() as broken:
        broken.setattr(candles, "update", crash)
        with pytest.raises(McloudError):
            processor.deliver([encode(batch)])
    assert stored_rows(processor.site, ["FNCRASHUSDT"]) == []
    await_archived(processor.site, batch)
    assert processor.deliver([encode(batch)]) == []
    assert stored_rows(processor.site, ["FNCRASHUSDT"]) == expected_rows(batch)


class Delivery:
    """Data Firehose, which does not accept some lines."""

    def __init__(
        self, refused: Callable[[str], bool], *, fails: bool = False, permanent: bool = False
    ) -> None:
        self.lines: list[str] = []
        self._refused = refused
        self._fails = fails
        self._permanent = permanent

    def deliver(self, lines: Sequence[str], is_time_left: Callable[[], bool]) -> list[Unsent]:
        if self._fails:
            raise Unavailable("away")
        self.lines += [line for line in lines if not self._refused(line)]
        return [
            Unsent(index, "slow down", self._permanent)
            for index, line in enumerate(lines)
            if self._refused(line)
        ]


def on_aws(processor: Processor) -> Any:
    """Return the stores of the processor on AWS, which hands messages over itself."""
    if processor.site.cloud == "gcp":
        pytest.skip("Pub/Sub exports the messages, and not the function")
    return processor.module.site()


@pytest.mark.parametrize("permanent", [False, True])
def test_a_message_that_is_not_handed_over_is_not_stored_and_returns(
    processor: Processor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    permanent: bool,
) -> None:
    stores = on_aws(processor)
    sent = Sent()
    monkeypatch.setattr(processor.module, "queue", lambda arn: sent)
    batch = trades(f"FNPART{permanent:d}USDT", 90)
    messages = [encode(batch[:30]), encode(batch[30:60]), encode(batch[60:])]
    delivery = Delivery(lambda line: line == messages[1].body, permanent=permanent)
    monkeypatch.setattr(
        processor.module, "site", lambda: stores._replace(delivery=cast(Any, delivery))
    )
    # A message that is refused permanently is a failed one, and ends as a dead letter.
    assert len(processor.deliver(messages)) == permanent
    assert delivery.lines == [messages[0].body, messages[2].body]
    assert stored_rows(processor.site, [batch[0].symbol]) == expected_rows(batch[:30] + batch[60:])
    returned = [] if permanent else [messages[1].body]
    assert [message.body for message in sent.messages] == returned
    assert "slow down" in [line.get("reason") for line in logged(capsys)]


@pytest.mark.parametrize("fails", [True, False])
def test_nothing_is_stored_if_nothing_can_be_handed_over(
    processor: Processor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fails: bool,
) -> None:
    stores = on_aws(processor)
    batch = trades(f"FNNONE{fails:d}USDT", 20)
    delivery = Delivery(lambda line: True, fails=fails)
    with monkeypatch.context() as broken:
        broken.setattr(
            processor.module, "site", lambda: stores._replace(delivery=cast(Any, delivery))
        )
        with pytest.raises(Unavailable):
            processor.deliver([encode(batch[:10]), encode(batch[10:])])
    assert stored_rows(processor.site, [batch[0].symbol]) == []
    assert [line["first_id"] for line in logged(capsys)] == [batch[0].id, batch[10].id]
    assert processor.deliver([encode(batch)]) == []
    await_archived(processor.site, batch)


def test_a_message_that_is_no_line_is_handed_over_in_other_messages(processor: Processor) -> None:
    """mcloud does not send messages with line breaks, but it reads them."""
    batch = trades("FNBREAKUSDT", 300)
    body = json.dumps(json.loads(plain(batch)), indent=1)
    assert processor.deliver([Message(body)]) == []
    assert stored_rows(processor.site, ["FNBREAKUSDT"]) == expected_rows(batch)
    await_archived(processor.site, batch)


def plain(trades: list[Trade]) -> str:
    """Return a message as JSON, even if it is longer than its compressed form."""
    body = encode(trades).body
    return body if body.startswith("{") else zlib.decompress(base64.b64decode(body)).decode()


@pytest.mark.parametrize(
    ("symbol", "since", "is_archived"),
    [
        ("FNSINCEAUSDT", None, True),  # the function is deployed without an export
        ("FNSINCEBUSDT", "", False),
        ("FNSINCECUSDT", "2024-08-08T23:53:55Z", True),  # within the margin
        ("FNSINCEDUSDT", "2024-08-08T23:48:00Z", False),
        ("FNSINCEEUSDT", "2024-08-08T23:54:02Z", True),
    ],
)
def test_the_function_archives_what_was_published_before_the_export(
    processor: Processor,
    monkeypatch: pytest.MonkeyPatch,
    symbol: str,
    since: str | None,
    is_archived: bool,
) -> None:
    if processor.site.cloud == "aws":
        pytest.skip("it hands over everything")
    if since is None:
        monkeypatch.delenv("EXPORTED_SINCE")
    else:
        monkeypatch.setenv("EXPORTED_SINCE", since)
    batch = trades(symbol, 5)
    assert processor.deliver([encode(batch)]) == []
    assert stored_rows(processor.site, [symbol]) == expected_rows(batch)
    keys = list(processor.site.archive.list(prefix(symbol)))
    assert len(keys) == is_archived


def test_volumes_too_large_for_a_candle_are_dead_lettered_and_the_rest_is_stored(
    processor: Processor,
) -> None:
    good = trades("FNHUGEUSDT", 20)
    huge = Trade("FNHUGEUSDT", 7, Decimal("9" * 16 + ".123456789012"), Decimal("0.1"), START, True)
    messages = [encode(good), encode([huge._replace(quantity=huge.price)])]
    assert processor.deliver(messages) == [1]
    assert stored_rows(processor.site, ["FNHUGEUSDT"]) == expected_rows(good)


def test_a_second_trade_with_the_same_id_is_reported_and_the_first_kept(
    processor: Processor, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = trades("FNTWICEUSDT", 64, first=64)
    other = [t._replace(price=Decimal(5)) for t in batch]
    assert processor.deliver([encode(batch)]) == []
    assert processor.deliver([encode(other)]) == []
    assert stored_rows(processor.site, ["FNTWICEUSDT"]) == expected_rows(batch)
    assert [line for line in logged(capsys) if line["message"] == "two trades under one id"]


def test_a_failing_heartbeat_does_not_fail_the_message(
    processor: Processor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise McloudError("no table")

    monkeypatch.setattr(processor.module.site().pulse._control, "beat", fail)
    assert processor.deliver([encode(trades("FNBEATUSDT", 5))]) == []
    assert [line["severity"] for line in logged(capsys)] == ["WARNING", "INFO"]


def test_a_log_line_has_the_times_of_arrival_and_storage(
    processor: Processor, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = trades("FNLINEUSDT", 90)
    assert processor.deliver([encode(batch[:40], one_in=0), encode(batch[40:], one_in=0)]) == []
    lines = [line for line in logged(capsys) if line["message"] == "stored"]
    # One line for each run of ids that a call stored. Pub/Sub delivers one message per call.
    assert len(lines) == (1 if processor.site.cloud == "aws" else 2)
    assert (lines[0]["first_id"], lines[-1]["last_id"]) == (batch[0].id, batch[-1].id)
    assert sum(line["trades"] for line in lines) == 90
    for line in lines:
        assert line["queued"] == QUEUED
        assert QUEUED < line["began"] <= line["stored"]
        # The processor on AWS only hands messages over to be archived.
        assert ("archived" in line) == (processor.site.cloud == "gcp")
        assert not [name for name in line if "trace" in name]


def test_a_sampled_message_has_its_trace_in_the_log_and_spans_at_the_collector(
    processor: Processor,
    collector: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    batch = trades("FNTRACEUSDT", 60)
    sampled, plain = encode(batch[:30], one_in=1), encode(batch[30:], one_in=0)
    assert processor.deliver([sampled, plain]) == []
    _, trace_id, span_id, _ = sampled.attributes["traceparent"].split("-")
    first, second = [line for line in logged(capsys) if line["message"] == "stored"]
    if processor.site.cloud == "aws":
        assert first["xray_trace_id"] == f"1-{trace_id[:8]}-{trace_id[8:]}"
    else:
        # https://cloud.google.com/logging/docs/structured-logging#special-payload-fields
        assert first["logging.googleapis.com/trace"].endswith(f"/traces/{trace_id}")
        assert first["logging.googleapis.com/trace_sampled"] is True
    assert not [name for name in second if "trace" in name]
    (request,) = collector
    spans = request["resourceSpans"][0]["scopeSpans"][0]["spans"]
    # The processor on AWS only hands messages over to be archived.
    archive = ["archive"] if processor.site.cloud == "gcp" else []
    assert [span["name"] for span in spans] == ["queue", "processor", *archive, "candles"]
    assert {span["traceId"] for span in spans} == {trace_id}
    assert [span["parentSpanId"] for span in spans[:2]] == [span_id] * 2
    assert {span["parentSpanId"] for span in spans[2:]} == {spans[1]["spanId"]}


def test_an_unavailable_collector_does_not_fail_the_message(
    processor: Processor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    batch = trades("FNAWAYUSDT", 60)
    messages = [encode(batch[:30], one_in=1), encode(batch[30:], one_in=1)]
    assert processor.deliver(messages) == []
    assert stored_rows(processor.site, ["FNAWAYUSDT"]) == expected_rows(batch)
    assert [line["message"] for line in logged(capsys)].count("no spans") == 1


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """An OpenTelemetry collector that records the spans it receives."""
    came: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    yield came
    server.shutdown()
    server.server_close()


def await_archived(site: Site, trades: list[Trade]) -> None:
    """Wait until exactly these trades of their symbol are in the raw archive, or staged."""
    expected = {(trade.symbol, trade.id) for trade in trades}
    eventually(lambda: archived_ids(site, [trades[0].symbol]) == expected)


def trades(symbol: str, count: int, first: int = 1000) -> list[Trade]:
    return [
        Trade(symbol, first + n, Decimal(f"7.{n % 80 + 1}"), Decimal("0.5"), START + n * 90, True)
        for n in range(count)
    ]


def deliver_aws(module: ModuleType, messages: list[Message]) -> list[int]:
    answer = module.handler(event(messages), None)
    return [int(each["itemIdentifier"]) for each in answer["batchItemFailures"]]


def event(messages: list[Message]) -> dict[str, Any]:
    """Return the event of one batch, as an event source mapping delivers it."""
    records = [
        {
            "messageId": str(index),
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:trades",
            "body": message.body,
            "attributes": {"SentTimestamp": str(QUEUED), "ApproximateReceiveCount": "1"},
            "messageAttributes": {
                name: {"stringValue": value, "dataType": "String"}
                for name, value in message.attributes.items()
            },
        }
        for index, message in enumerate(messages)
    ]
    return {"Records": records}


def deliver_gcp(module: ModuleType, messages: list[Message]) -> list[int]:
    """Send one request per message. The framework answers 500 if the function raises."""
    failed = []
    for index, message in enumerate(messages):
        body = base64.b64encode(message.body.encode()).decode()
        data = {
            "data": body,
            "attributes": message.attributes,
            "messageId": str(index),
            "publishTime": "2024-08-08T23:54:01.123456789Z",
        }
        event = CloudEvent({"type": "t", "source": "s"}, {"message": data})
        try:
            module.process(event)
        except (ValueError, ArithmeticError):
            failed.append(index)
    return failed


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def load(name: str) -> ModuleType:
    """Load a new copy of a handler's module, without the site of an earlier test."""
    path: Path = shipped("functions") / name
    spec = importlib.util.spec_from_file_location(f"handler_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
