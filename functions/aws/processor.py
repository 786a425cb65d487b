"""The processor on Lambda: it stores a batch of SQS messages in the candles.

Before that it hands them over to Data Firehose, which writes them to the staging bucket.

Environment: DELIVERY_STREAM, CANDLES_TABLE, CONTROL_TABLE, HEARTBEAT_SECONDS (60); RAW_BUCKET in
place of DELIVERY_STREAM if the function has to archive the trades itself; from the platform
AWS_REGION, AWS_LAMBDA_FUNCTION_NAME, AWS_XRAY_DAEMON_ADDRESS and, embedded, AWS_ENDPOINT_URL. Spans
go to OTEL_EXPORTER_OTLP_ENDPOINT if it is set. The event source mapping must ask for
ReportBatchItemFailures.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Set
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import CONNECT_TIMEOUT, make_client, translated
from mcloud.clouds.aws.control import DynamoControl
from mcloud.clouds.aws.delivery import MAX_LINE, Firehose
from mcloud.clouds.aws.queue import SqsQueue
from mcloud.clouds.aws.spans import XRay
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.ports import Unsent
from mcloud.clouds.spans import Exporter
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.market.candle import by_minute
from mcloud.market.envelope import Envelope, Malformed, decode, encode_all
from mcloud.market.trace import xray_id
from mcloud.processor.arrival import Arrival, fields, in_rows
from mcloud.processor.ingest import Key, Partly, ingest_while
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse
from mcloud.processor.spans import Recorder

AT_ONCE = 100_000
"""Number of trades after which the function stores what it has decoded. Together with one more
message, they need less than 100 MB of memory. A batch of the largest possible messages holds twenty
times as many."""


LAST_SECONDS = 10.0
"""Seconds before its timeout in which a function starts no request. A request may take this
long.
"""


class LambdaSite(NamedTuple):
    delivery: Firehose | None
    archive: S3Archive | None
    """Given if there is no delivery stream: the site's resources are of an earlier release."""
    candles: DynamoCandles
    pulse: Pulse
    recorder: Recorder


class Delivered(NamedTuple):
    """A message, or the part of it that is not stored yet."""

    envelope: Envelope
    attributes: dict[str, str]
    queued: int | None
    body: str

    @property
    def lines(self) -> list[str]:
        """Return the message as lines of a staged object."""
        if "\n" not in self.body and len(self.body.encode()) <= MAX_LINE:
            return [self.body]
        # mcloud's own messages are never like this.
        return [message.body for message in encode_all(self.envelope.trades)]

    @property
    def arrivals(self) -> list[Arrival]:
        return Arrival.all_of(self.envelope, self.attributes, self.queued)

    def only(self, keys: Set[Key]) -> "Delivered | None":
        """Return the part that belongs to the given candles, or None if there is none."""
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
    """Return the stores, which each instance opens once."""
    region = os.environ["AWS_REGION"]
    dynamodb = make_client("dynamodb", region)
    stream = os.environ.get("DELIVERY_STREAM")
    return LambdaSite(
        Firehose(firehose_client(region), stream) if stream else None,
        None if stream else S3Archive(make_client("s3", region), os.environ["RAW_BUCKET"]),
        DynamoCandles(dynamodb, os.environ["CANDLES_TABLE"]),
        Pulse(
            DynamoControl(dynamodb, os.environ["CONTROL_TABLE"]),
            interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL)),
        ),
        Recorder(os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "processor"), exporter()),
    )


def firehose_client(region: str) -> Any:
    """Return a client whose requests end before the timeout of the function.

    ``Firehose`` tries again itself, while there is time.
    """
    longest = LAST_SECONDS - CONNECT_TIMEOUT
    return make_client("firehose", region, attempts=1, read_timeout=longest)


@cache
def queue(arn: str) -> SqsQueue:
    """Return the queue that delivered messages."""
    client = make_client("sqs", os.environ["AWS_REGION"])
    name = arn.rpartition(":")[2]
    with translated(f"SQS {name}"):
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
    return SqsQueue(client, url, "")


def exporter() -> Exporter | None:
    """Return the exporter to a collector if one is named, otherwise to X-Ray, or None."""
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
    """Process a batch. The messages named in the answer are delivered again, and in the end become
    dead letters.

    If the time runs out or a store stops answering, and part of the batch was stored, the trades
    that are not stored yet return to the queue as new messages. Otherwise each call would bring the
    original messages closer to being dead letters, although a store that recovers takes them.

    A message that Data Firehose does not accept is not stored either, so that its trades are never
    missing from the raw archive. It returns to the queue in the same way, unless Firehose refuses
    it permanently: it then is a failed message.

    Raises:
        McloudError: a store or Firehose does not answer, and nothing was stored. SQS then delivers
            the whole batch again, which is harmless.
    """
    is_time_left = timer(context)
    failed: list[str] = []
    halves: dict[str, Delivered] = {}
    progress = False
    problem: McloudError | None = None
    for messages in in_parts(event["Records"], failed):
        began = time.time()
        for id_, unsent in hand_over(messages, is_time_left).items():
            message = messages.pop(id_)
            if unsent is not None and unsent.permanent:
                failed.append(id_)
                refuse(id_, message, Refused(unsent.reason))
                continue
            halves[id_] = message
            if unsent is not None:
                problem = problem or Unavailable(unsent.reason)
        partly = store(list(messages.values()), began, is_time_left)
        progress |= bool(partly.done)
        problem = problem or partly.problem
        for id_, message in messages.items():
            left = message.only(partly.left)
            if alone := message.only(partly.failed.keys()):
                # Another message of the batch may be the only one that the candle cannot hold.
                again = store([alone], began, is_time_left)
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
    if progress and problem is not None:
        log("WARNING", "a part of the batch was not stored", reason=str(problem))
    if progress:
        failed += send_back(event["Records"][0]["eventSourceARN"], halves)
    else:
        failed += list(halves)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def timer(context: Any) -> Callable[[], bool]:
    """Return a function that checks whether there is time left. Without a context there always
    is.
    """
    if context is None:
        return lambda: True
    remaining: Callable[[], int] = context.get_remaining_time_in_millis
    reserve = min(LAST_SECONDS * 1000, remaining() / 3)
    return lambda: remaining() > reserve


def in_parts(records: list[dict[str, Any]], failed: list[str]) -> Iterator[dict[str, Delivered]]:
    """Decode messages, as many at a time as fit into memory. Add the ids of invalid ones to
    ``failed``.
    """
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
        messages[record["messageId"]] = Delivered(
            envelope, values, int(sent) if sent else None, record["body"]
        )
        waiting += len(envelope.trades)
        if waiting >= AT_ONCE:
            yield messages
            messages, waiting = {}, 0
    if messages:
        yield messages


def hand_over(
    messages: Mapping[str, Delivered], is_time_left: Callable[[], bool]
) -> dict[str, Unsent | None]:
    """Hand messages over to Data Firehose. Return the ids of those that it did not accept, each
    with the reason, or with None if there was no time.
    """
    delivery = site().delivery
    if delivery is None:
        return {}
    if not is_time_left():
        return dict.fromkeys(messages)
    lines = [(id_, line) for id_, message in messages.items() for line in message.lines]
    try:
        unsent = delivery.deliver([line for _, line in lines], is_time_left)
    except McloudError as error:  # such as a missing stream; it says nothing about the messages
        return dict.fromkeys(messages, Unsent(0, str(error), permanent=False))
    # A message of several lines is refused permanently if one of them is.
    return {lines[each.index][0]: each for each in sorted(unsent, key=attrgetter("permanent"))}


def store(messages: list[Delivered], began: float, is_time_left: Callable[[], bool]) -> Partly:
    """Store as many messages as the time allows, and log the stored ones.

    ``began`` is the time when the work on them began, in seconds since 1970.
    """
    trades = [trade for message in messages for trade in message.envelope.trades]
    partly = ingest_while(is_time_left, trades, site().archive, site().candles)
    done = partly.ingested._replace(began=began)
    for disagreement in partly.disagreements:
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    stored = [part for message in messages if (part := message.only(partly.done))]
    for message in stored:
        try:
            site().pulse.add(message.envelope.trades, is_time_left)
        except McloudError as error:
            log("WARNING", "no heartbeat", reason=str(error))
    rows = in_rows(arrival for message in stored for arrival in message.arrivals)
    site().recorder.record(rows, done)
    for row in rows:
        log("INFO", "stored", **fields(row, done), **traced(row))
    return partly


def refuse(id_: str, message: Delivered, error: Exception) -> None:
    """Log why a message is delivered again, or becomes a dead letter."""
    reason = str(error) if isinstance(error, McloudError) else "volumes beyond 38 digits"
    for arrival in message.arrivals:
        log("ERROR", "refused a message", message_id=id_, reason=reason, **arrival.ids)


def send_back(arn: str, halves: dict[str, Delivered]) -> list[str]:
    """Send the rest of messages to their queue, and return the ids of the messages for which this
    failed.
    """
    if not halves:
        return []
    try:
        parts = [(id_, encode_all(each.envelope.trades)) for id_, each in halves.items()]
        messages = [message for _, each in parts for message in each]
        owners = [id_ for id_, each in parts for _ in each]
        unsent = {owners[each.index] for each in queue(arn).send(messages)}
    except McloudError as error:
        log("WARNING", "the rest of the messages cannot be sent back", reason=str(error))
        unsent = set(halves)
    log("INFO", "sent the rest back to the queue", messages=len(halves) - len(unsent))
    return sorted(unsent)


def traced(arrival: Arrival) -> dict[str, str]:
    """Return the trace of a sampled message, in the form of X-Ray."""
    parent = arrival.sampled
    return {} if parent is None else {"xray_trace_id": xray_id(parent.trace_id)}
