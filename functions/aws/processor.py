"""The processor on Lambda: a batch of SQS messages into the raw archive and the candles.

Environment: RAW_BUCKET, CANDLES_TABLE, CONTROL_TABLE, HEARTBEAT_SECONDS (10); from the platform
AWS_REGION, AWS_LAMBDA_FUNCTION_NAME, AWS_XRAY_DAEMON_ADDRESS and, embedded, AWS_ENDPOINT_URL. Spans
go to OTEL_EXPORTER_OTLP_ENDPOINT where there is one. The event source mapping must ask for
ReportBatchItemFailures.
"""

import os
from functools import cache
from typing import Any, NamedTuple

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.aws.spans import XRay
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.spans import Exporter
from mcloud.errors import Contention, McloudError, Refused
from mcloud.market.envelope import Envelope, Malformed, decode
from mcloud.market.trace import xray_id
from mcloud.processor.arrival import Arrival, fields, in_rows
from mcloud.processor.ingest import ingest
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse
from mcloud.processor.spans import Recorder

AT_ONCE = 100_000
"""Trades stored together, or a message more: less than 100 MB. A batch of the largest messages
that there can be holds twenty times as many."""


class Site(NamedTuple):
    archive: S3Archive
    candles: DynamoCandles
    pulse: Pulse
    recorder: Recorder


class Delivered(NamedTuple):
    envelope: Envelope
    arrival: Arrival


@cache
def site() -> Site:
    """The stores, made once an instance."""
    region, endpoint = os.environ["AWS_REGION"], os.environ.get("AWS_ENDPOINT_URL", "")
    dynamodb = make_client("dynamodb", region, endpoint)
    return Site(
        S3Archive(make_client("s3", region, endpoint), os.environ["RAW_BUCKET"]),
        DynamoCandles(dynamodb, os.environ["CANDLES_TABLE"]),
        Pulse(
            DynamoControl(dynamodb, os.environ["CONTROL_TABLE"]),
            interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL)),
        ),
        Recorder(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "processor"), exporter()),
    )


def exporter() -> Exporter | None:
    """To a collector if one is named, or else to X-Ray; None where there is neither."""
    collector = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if collector:
        resource = {
            "service.name": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "processor"),
            "cloud.provider": "aws",
            "cloud.region": os.environ["AWS_REGION"],
        }
        return Otlp(collector, os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), resource)
    daemon = os.environ.get("AWS_XRAY_DAEMON_ADDRESS")
    return XRay(daemon) if daemon else None


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch; the messages named in the answer are delivered again, then dead-lettered.

    An error that passes is raised: SQS then delivers the whole batch again, which does no harm.
    """
    messages: dict[str, Delivered] = {}
    waiting = 0
    failed: list[str] = []
    for record in event["Records"]:
        try:
            attributes = record.get("messageAttributes", {})
            values = {name: each.get("stringValue", "") for name, each in attributes.items()}
            envelope = decode(record["body"], values)
        except Malformed as error:
            failed.append(record["messageId"])
            log("ERROR", "refused a message", message_id=record["messageId"], reason=str(error))
            continue
        sent = record.get("attributes", {}).get("SentTimestamp")
        arrival = Arrival.of(envelope, values, int(sent) if sent else None)
        messages[record["messageId"]] = Delivered(envelope, arrival)
        waiting += arrival.trades
        if waiting >= AT_ONCE:
            failed += store_all(messages)
            messages, waiting = {}, 0
    failed += store_all(messages)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def store_all(messages: dict[str, Delivered]) -> list[str]:
    """Store messages, and name those that cannot be."""
    try:
        store(list(messages.values()))
    except (ArithmeticError, Refused, Contention):
        return store_each(messages)
    return []


def store(messages: list[Delivered]) -> None:
    trades = [trade for message in messages for trade in message.envelope.trades]
    done = ingest(trades, site().archive, site().candles)
    for disagreement in done.disagreements:
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    for message in messages:
        try:
            site().pulse.add(message.envelope.trades)
        except McloudError as error:
            log("WARNING", "no heartbeat", reason=str(error))
    rows = in_rows(message.arrival for message in messages)
    site().recorder.record(rows, done)
    for row in rows:
        log("INFO", "stored", **fields(row, done), **traced(row))


def store_each(messages: dict[str, Delivered]) -> list[str]:
    """Store message by message, and find those that cannot be; the others are kept."""
    failed = []
    for id_, message in messages.items():
        try:
            store([message])
        except (ArithmeticError, Refused, Contention) as error:
            failed.append(id_)
            reason = str(error) if isinstance(error, McloudError) else "volumes beyond 38 digits"
            about = message.arrival.ids
            log("ERROR", "refused a message", message_id=id_, reason=reason, **about)
    return failed


def traced(arrival: Arrival) -> dict[str, str]:
    """The trace of a sampled message, as X-Ray has it."""
    parent = arrival.sampled
    return {} if parent is None else {"xray_trace_id": xray_id(parent.trace_id)}
