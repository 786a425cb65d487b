"""The processor on Lambda: a batch of SQS messages into the raw archive and the candles.

Environment: RAW_BUCKET, CANDLES_TABLE, CONTROL_TABLE, HEARTBEAT_SECONDS (10); from the platform
AWS_REGION and, embedded, AWS_ENDPOINT_URL. The event source mapping must ask for
ReportBatchItemFailures.
"""

import os
from functools import cache
from typing import Any, NamedTuple

from mcloud.clouds.aws.archive import S3Archive
from mcloud.clouds.aws.candles import DynamoCandles
from mcloud.clouds.aws.client import make_client
from mcloud.clouds.aws.control import DynamoControl
from mcloud.errors import Contention, McloudError, Refused
from mcloud.market.envelope import Envelope, Malformed, decode
from mcloud.processor.ingest import ingest
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse


class Site(NamedTuple):
    archive: S3Archive
    candles: DynamoCandles
    pulse: Pulse


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
    )


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Process a batch; the messages named in the answer are delivered again, then dead-lettered.

    An error that passes is raised: SQS then delivers the whole batch again, which does no harm.
    """
    envelopes: dict[str, Envelope] = {}
    failed = []
    for record in event["Records"]:
        try:
            attributes = record.get("messageAttributes", {})
            values = {name: each.get("stringValue", "") for name, each in attributes.items()}
            envelopes[record["messageId"]] = decode(record["body"], values)
        except Malformed as error:
            failed.append(record["messageId"])
            log("ERROR", "refused a message", message_id=record["messageId"], reason=str(error))
    try:
        store(list(envelopes.values()))
    except (ArithmeticError, Refused, Contention):
        failed += store_each(envelopes)
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def store(envelopes: list[Envelope]) -> None:
    trades = [trade for envelope in envelopes for trade in envelope.trades]
    for disagreement in ingest(trades, site().archive, site().candles):
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    for envelope in envelopes:
        try:
            site().pulse.add(envelope.trades)
        except McloudError as error:
            log("WARNING", "no heartbeat", reason=str(error))
    log("INFO", "processed", messages=len(envelopes), trades=len(trades))


def store_each(envelopes: dict[str, Envelope]) -> list[str]:
    """Store message by message, and find those that cannot be; the others are kept."""
    failed = []
    for message, envelope in envelopes.items():
        try:
            store([envelope])
        except (ArithmeticError, Refused, Contention) as error:
            failed.append(message)
            reason = str(error) if isinstance(error, McloudError) else "volumes beyond 38 digits"
            log("ERROR", "refused a message", message_id=message, reason=reason)
    return failed
