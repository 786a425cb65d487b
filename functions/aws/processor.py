"""The processor on Lambda: a batch of SQS messages into the raw archive and the candles.

Environment: RAW_BUCKET, CANDLES_TABLE, CONTROL_TABLE, HEARTBEAT_SECONDS (10); from the
platform AWS_REGION, AWS_LAMBDA_FUNCTION_NAME, AWS_XRAY_DAEMON_ADDRESS and, embedded,
AWS_ENDPOINT_URL. Spans go to OTEL_EXPORTER_OTLP_ENDPOINT where there is one. The event source
mapping must ask for ReportBatchItemFailures.
"""

import os
from collections.abc import Callable, Iterator, Set
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import make_client, translated
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.aws.queue import SqsQueue
from mcloud.clouds.aws.spans import XRay
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.spans import Exporter
from mcloud.errors import McloudError
from mcloud.market.candle import by_minute
from mcloud.market.envelope import Envelope, Malformed, decode, encode_all
from mcloud.market.trace import xray_id
from mcloud.processor.arrival import Arrival, fields, in_rows
from mcloud.processor.ingest import Key, Partly, ingest_while
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse
from mcloud.processor.spans import Recorder

AT_ONCE = 100_000
"""Trades stored together, or a message more: less than 100 MB. A batch of the largest messages
that there can be holds twenty times as many."""


LAST_SECONDS = 10.0
"""Before its end, in which a function begins nothing: as long as a request that hangs may take."""


class LambdaSite(NamedTuple):
    archive: S3Archive
    candles: DynamoCandles
    pulse: Pulse
    recorder: Recorder


class Delivered(NamedTuple):
    """A message, or what is left of one."""

    envelope: Envelope
    attributes: dict[str, str]
    queued: int | None

    @property
    def arrivals(self) -> list[Arrival]:
        return Arrival.all_of(self.envelope, self.attributes, self.queued)

    def only(self, keys: Set[Key]) -> "Delivered | None":
        """The part of it that belongs to some candles; None where there is none."""
        groups = by_minute(self.envelope.trades)
        if groups.keys() <= keys:
            return self
        trades = tuple(trade for key in groups if key in keys for trade in groups[key])
        if not trades:
            return None
        ordered = tuple(sorted(trades, key=attrgetter("symbol", "id")))
        return self._replace(envelope=Envelope(ordered))


@cache
def site() -> LambdaSite:
    """The stores, made once an instance."""
    region, endpoint = os.environ["AWS_REGION"], os.environ.get("AWS_ENDPOINT_URL", "")
    dynamodb = make_client("dynamodb", region, endpoint)
    return LambdaSite(
        S3Archive(make_client("s3", region, endpoint), os.environ["RAW_BUCKET"]),
        DynamoCandles(dynamodb, os.environ["CANDLES_TABLE"]),
        Pulse(
            DynamoControl(dynamodb, os.environ["CONTROL_TABLE"]),
            interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL)),
        ),
        Recorder(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "processor"), exporter()),
    )


@cache
def queue(arn: str) -> SqsQueue:
    """The queue that messages came from."""
    client = make_client("sqs", os.environ["AWS_REGION"], os.environ.get("AWS_ENDPOINT_URL", ""))
    name = arn.rpartition(":")[2]
    with translated(f"SQS {name}"):
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
    return SqsQueue(client, url, "")


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

    Where the time runs out, or a store stops answering, the trades that are not stored yet go back
    to the queue as new messages, as long as some of the batch was stored: a message that is only
    given back would come closer to the dead letters with each call, however much was done. Every
    such message is smaller than the one before, so that this comes to an end.

    Raises:
        McloudError: a store does not answer, and nothing was stored. SQS then delivers the whole
            batch again, which does no harm.
    """
    is_time_left = timer(context)
    failed: list[str] = []
    halves: dict[str, Delivered] = {}
    progress, problem = False, None
    for messages in in_parts(event["Records"], failed):
        partly = store(list(messages.values()), is_time_left)
        progress |= bool(partly.done)
        problem = problem or partly.problem
        for id_, message in messages.items():
            left = message.only(partly.left)
            if alone := message.only(partly.failed.keys()):
                # Perhaps it is only another message of the batch that spoils the candle.
                again = store([alone], is_time_left)
                progress |= bool(again.done)
                if again.failed:
                    failed.append(id_)
                    refuse(id_, message, next(iter(again.failed.values())))
                    continue
                left = message.only(partly.left | again.left)
            if left:
                halves[id_] = left
    if halves and not progress:
        if problem is not None:
            for id_, message in halves.items():
                refuse(id_, message, problem)
            raise problem
        log("WARNING", "no time to store anything", messages=len(halves))
    if progress:
        failed += send_back(event["Records"][0]["eventSourceARN"], halves)
    else:
        failed += list(halves)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def timer(context: Any) -> Callable[[], bool]:
    """Tell, whenever asked, whether there is time for more; always, without a context."""
    if context is None:
        return lambda: True
    remaining: Callable[[], int] = context.get_remaining_time_in_millis
    reserve = min(LAST_SECONDS * 1000, remaining() / 3)
    return lambda: remaining() > reserve


def in_parts(records: list[dict[str, Any]], failed: list[str]) -> Iterator[dict[str, Delivered]]:
    """Decode messages, as many at a time as fit the memory; ids of those that are none go to
    ``failed``."""
    messages: dict[str, Delivered] = {}
    waiting = 0
    for record in records:
        try:
            attributes = record.get("messageAttributes", {})
            values = {name: each.get("stringValue", "") for name, each in attributes.items()}
            envelope = decode(record["body"], values)
        except Malformed as error:
            failed.append(record["messageId"])
            log("ERROR", "refused a message", message_id=record["messageId"], reason=str(error))
            continue
        sent = record.get("attributes", {}).get("SentTimestamp")
        messages[record["messageId"]] = Delivered(envelope, values, int(sent) if sent else None)
        waiting += len(envelope.trades)
        if waiting >= AT_ONCE:
            yield messages
            messages, waiting = {}, 0
    if messages:
        yield messages


def store(messages: list[Delivered], is_time_left: Callable[[], bool]) -> Partly:
    """Store messages as far as there is time, and log what was stored."""
    trades = [trade for message in messages for trade in message.envelope.trades]
    partly = ingest_while(is_time_left, trades, site().archive, site().candles)
    for disagreement in partly.disagreements:
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    stored = [part for message in messages if (part := message.only(partly.done))]
    for message in stored:
        try:
            site().pulse.add(message.envelope.trades)
        except McloudError as error:
            log("WARNING", "no heartbeat", reason=str(error))
    rows = in_rows(arrival for message in stored for arrival in message.arrivals)
    site().recorder.record(rows, partly.ingested)
    for row in rows:
        log("INFO", "stored", **fields(row, partly.ingested), **traced(row))
    return partly


def refuse(id_: str, message: Delivered, error: Exception) -> None:
    """Log why a message comes again, or becomes a dead letter."""
    reason = str(error) if isinstance(error, McloudError) else "volumes beyond 38 digits"
    for arrival in message.arrivals:
        log("ERROR", "refused a message", message_id=id_, reason=reason, **arrival.ids)


def send_back(arn: str, halves: dict[str, Delivered]) -> list[str]:
    """Send what is left of messages to their queue; returns ids of those that it did not take."""
    if not halves:
        return []
    try:
        parts = [(id_, encode_all(each.envelope.trades)) for id_, each in halves.items()]
        messages = [message for _, each in parts for message in each]
        owners = [id_ for id_, each in parts for _ in each]
        unsent = {owners[each.index] for each in queue(arn).send(messages)}
    except McloudError as error:
        log("WARNING", "what is left of messages cannot be sent back", reason=str(error))
        unsent = set(halves)
    log("INFO", "sent back what is left", messages=len(halves) - len(unsent))
    return sorted(unsent)


def traced(arrival: Arrival) -> dict[str, str]:
    """The trace of a sampled message, as X-Ray has it."""
    parent = arrival.sampled
    return {} if parent is None else {"xray_trace_id": xray_id(parent.trace_id)}
