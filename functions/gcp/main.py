"""The functions on Cloud Functions, in one source.

``process``, the processor: a Pub/Sub message into the raw archive and the candles. Environment:
RAW_BUCKET, FIRESTORE_DATABASE, CANDLES_COLLECTION, CONTROL_COLLECTION, HEARTBEAT_SECONDS (10) and
GOOGLE_CLOUD_PROJECT; from the platform K_SERVICE; embedded also FIRESTORE_EMULATOR_HOST and
STORAGE_EMULATOR_HOST. Spans go to OTEL_EXPORTER_OTLP_ENDPOINT where there is one. The trigger must
retry, into a dead-letter topic.

``anomaly``, called by a schedule: looks at new candles once. The same environment without the
buckets, and ANOMALY_THRESHOLDS (see ``Thresholds.from_json``). Its log says what it found.
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
from mcloud.market.anomaly import Thresholds
from mcloud.market.envelope import Malformed, decode
from mcloud.processor.anomalies import AnomalyWatch
from mcloud.processor.arrival import Arrival, fields
from mcloud.processor.ingest import ingest
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse
from mcloud.processor.spans import Recorder


class CloudFunctionSite(NamedTuple):
    archive: GcsArchive
    candles: FirestoreCandles
    pulse: Pulse
    recorder: Recorder


_making = threading.Lock()


def site() -> CloudFunctionSite:
    """The stores, made once an instance, also when its first calls come at once."""
    with _making:
        return make_site()


@cache
def make_site() -> CloudFunctionSite:
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    storage = make_storage(project, os.environ.get("STORAGE_EMULATOR_HOST", ""))
    candles, control = make_stores()
    return CloudFunctionSite(
        GcsArchive(storage, os.environ["RAW_BUCKET"]),
        candles,
        Pulse(control, interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL))),
        Recorder(os.environ.get("K_SERVICE", "processor"), exporter(project)),
    )


def make_stores() -> tuple[FirestoreCandles, FirestoreControl]:
    firestore = make_firestore(
        os.environ["GOOGLE_CLOUD_PROJECT"],
        os.environ["FIRESTORE_DATABASE"],
        os.environ.get("FIRESTORE_EMULATOR_HOST", ""),
    )
    return (
        FirestoreCandles(firestore, os.environ["CANDLES_COLLECTION"]),
        FirestoreControl(firestore, os.environ["CONTROL_COLLECTION"]),
    )


def exporter(project: str) -> Exporter | None:
    """To a collector if one is named, or else to Cloud Trace; None where there is neither."""
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
    """Process a message; whatever is raised has it delivered again, and then dead-lettered."""
    message = event.data["message"]
    arrivals: list[Arrival] = []
    try:
        body = base64.b64decode(message.get("data", ""), validate=True)
        attributes = message.get("attributes") or {}
        envelope = decode(body, attributes)
        arrivals = Arrival.all_of(envelope, attributes, published(message))
        done = ingest(envelope.trades, site().archive, site().candles)
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


def published(message: dict[str, Any]) -> int | None:
    """When Pub/Sub took a message, ms since 1970."""
    try:
        moment = datetime.fromisoformat(message["publishTime"])
    except (KeyError, ValueError):
        return None
    return int(moment.timestamp() * 1000)


def traced(arrival: Arrival) -> dict[str, Any]:
    """The trace of a sampled message, in the fields that Cloud Logging takes out of a line."""
    parent = arrival.sampled
    if parent is None:
        return {}
    project = os.environ["GOOGLE_CLOUD_PROJECT"]
    return {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{parent.trace_id}",
        "logging.googleapis.com/trace_sampled": True,
    }


_looking = threading.Lock()


@cache
def watch() -> AnomalyWatch:
    """What an instance remembers from one look to the next."""
    return AnomalyWatch(
        *make_stores(), Thresholds.from_json(os.environ.get("ANOMALY_THRESHOLDS", ""))
    )


@functions_framework.http  # type: ignore[untyped-decorator]
def anomaly(request: Any) -> dict[str, int]:
    """Look once; whatever is raised is answered by 500, and the schedule calls again."""
    with _looking:
        return {"anomalies": len(watch().look())}
