"""The functions on Cloud Functions, in one source.

``process``, the processor, stores a Pub/Sub message in the candles. Another subscription of the
topic writes the messages to the staging bucket. The processor archives what that subscription does
not have: messages from before EXPORTED_SINCE, the time when it was created in the form
``2026-11-30T09:00:00Z``; all messages if the variable is missing, and none if it is empty.
Environment: RAW_BUCKET, FIRESTORE_DATABASE, CANDLES_COLLECTION, CONTROL_COLLECTION,
HEARTBEAT_SECONDS (60) and GOOGLE_CLOUD_PROJECT; from the platform K_SERVICE; embedded also
FIRESTORE_EMULATOR_HOST and STORAGE_EMULATOR_HOST. Spans go to OTEL_EXPORTER_OTLP_ENDPOINT if it is
set. The trigger must retry, and have a dead-letter topic.

``anomaly`` sends the anomalies that producers found, when a schedule calls it: it writes them to
its log, which an alert policy reads. It has the same environment without the bucket and the
candles.

``compact`` compacts the raw archive once, when a schedule calls it. It has the environment of the
processor, STAGING_BUCKET (if the site has one), and TIMEOUT_SECONDS, after which the platform
stops it.
"""

import base64
import binascii
import os
import threading
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import functions_framework

from mcloud.clouds.gcp.archive import GcsArchive
from mcloud.clouds.gcp.candles import FirestoreCandles
from mcloud.clouds.gcp.client import make_firestore, make_storage
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.clouds.gcp.spans import CloudTrace
from mcloud.clouds.otlp import Otlp
from mcloud.clouds.spans import Exporter
from mcloud.errors import McloudError
from mcloud.market.envelope import Malformed, decode
from mcloud.processor.anomalies import AnomalySender
from mcloud.processor.arrival import Arrival, fields
from mcloud.processor.compaction import compact_scheduled
from mcloud.processor.ingest import ingest
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse
from mcloud.processor.spans import Recorder


class CloudFunctionSite(NamedTuple):
    archive: GcsArchive
    candles: FirestoreCandles
    pulse: Pulse
    recorder: Recorder


MARGIN = 300.0
"""Seconds by which the clock of the deployment may differ from that of Pub/Sub. What is published
within them after EXPORTED_SINCE is archived by the processor as well."""

_making = threading.Lock()


def site() -> CloudFunctionSite:
    """Return the stores, which each instance opens once, even if its first calls are concurrent."""
    with _making:
        return make_site()


@cache
def make_site() -> CloudFunctionSite:
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    firestore = make_firestore_client()
    return CloudFunctionSite(
        GcsArchive(make_storage_client(), os.environ["RAW_BUCKET"]),
        FirestoreCandles(firestore, os.environ["CANDLES_COLLECTION"]),
        Pulse(
            make_control(firestore), interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL))
        ),
        Recorder(os.environ.get("K_SERVICE", "processor"), exporter(project)),
    )


def make_storage_client() -> Any:
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    return make_storage(project, os.environ.get("STORAGE_EMULATOR_HOST", ""))


def make_firestore_client() -> Any:
    return make_firestore(
        os.environ["GOOGLE_CLOUD_PROJECT"],
        os.environ["FIRESTORE_DATABASE"],
        os.environ.get("FIRESTORE_EMULATOR_HOST", ""),
    )


def make_control(firestore: Any) -> FirestoreControl:
    return FirestoreControl(firestore, os.environ["CONTROL_COLLECTION"])


def exporter(project: str) -> Exporter | None:
    """Return the exporter to a collector if one is named, otherwise to Cloud Trace, or None."""
    collector = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if collector:
        resource = {
            "service.name": os.environ.get("K_SERVICE", "processor"),
            "cloud.provider": "gcp",
            "cloud.account.id": project,
        }
        return Otlp(collector, os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""), resource)
    return CloudTrace(project) if "K_SERVICE" in os.environ else None


@functions_framework.cloud_event  # type: ignore[untyped-decorator]
def process(event: Any) -> None:
    """Process a message. After an exception it is delivered again, and in the end dead-lettered."""
    message = event.data["message"]
    arrivals: list[Arrival] = []
    try:
        body = base64.b64decode(message.get("data", ""), validate=True)
        attributes = message.get("attributes") or {}
        envelope = decode(body, attributes)
        arrivals = Arrival.all_of(envelope, attributes, published(message))
        archive = None if is_exported(body, published(message)) else site().archive
        done = ingest(envelope.trades, archive, site().candles)
    except (Malformed, binascii.Error, ArithmeticError, McloudError) as error:
        reason = str(error) or "volumes beyond 38 digits"
        for ids in [arrival.ids for arrival in arrivals] or [{}]:
            log(
                "ERROR",
                "refused a message",
                message_id=message.get("messageId"),
                reason=reason,
                **ids,
            )
        raise
    for disagreement in done.disagreements:
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    try:
        site().pulse.add(envelope.trades)
    except McloudError as error:
        log("WARNING", "no heartbeat", reason=str(error))
    site().recorder.record(arrivals, done)
    for arrival in arrivals:
        log("INFO", "stored", **fields(arrival, done), **traced(arrival))


def is_exported(body: bytes, published: int | None) -> bool:
    """Return whether the export subscription writes a message to the staging bucket, in a form that
    can be read.

    Args:
        published: when Pub/Sub accepted it, in ms since 1970; None if unknown.
    """
    since = os.environ.get("EXPORTED_SINCE")
    if since is None or b"\n" in body:  # mcloud's own messages have no line breaks
        return False
    if not since:
        return True
    begin = datetime.fromisoformat(since).timestamp() + MARGIN
    return published is not None and published >= begin * 1000


def published(message: dict[str, Any]) -> int | None:
    """Return the time when Pub/Sub accepted a message, in ms since 1970."""
    try:
        moment = datetime.fromisoformat(message["publishTime"])
    except (KeyError, ValueError):
        return None
    return int(moment.timestamp() * 1000)


def traced(arrival: Arrival) -> dict[str, Any]:
    """Return the trace of a sampled message, in the fields that Cloud Logging extracts."""
    parent = arrival.sampled
    if parent is None:
        return {}
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{parent.trace_id}",
        "logging.googleapis.com/trace_sampled": True,
    }


_sending = threading.Lock()


@cache
def sender() -> AnomalySender:
    """Return the state that an instance keeps between calls."""
    return AnomalySender(make_control(make_firestore_client()))


@functions_framework.http  # type: ignore[untyped-decorator]
def anomaly(request: Any) -> dict[str, int]:
    """Send the anomalies once. An exception is answered with 500, and the schedule calls again."""
    with _sending:
        return {"anomalies": len(sender().send())}


@functions_framework.http  # type: ignore[untyped-decorator]
def compact(request: Any) -> dict[str, int]:
    """Compact until shortly before the timeout. An exception is answered with 500."""
    control = make_control(make_firestore_client())
    storage = make_storage_client()
    staging = os.environ.get("STAGING_BUCKET")
    done = compact_scheduled(
        GcsArchive(storage, os.environ["RAW_BUCKET"]),
        GcsArchive(storage, staging) if staging else None,
        control,
        float(os.environ["TIMEOUT_SECONDS"]),
    )
    return {"objects": done.objects, "blocks": done.blocks}
