"""The functions on Cloud Functions, in one source.

``process``, the processor: a Pub/Sub message into the raw archive and the candles. Environment:
RAW_BUCKET, FIRESTORE_DATABASE, CANDLES_COLLECTION, CONTROL_COLLECTION, HEARTBEAT_SECONDS (10) and
GOOGLE_CLOUD_PROJECT; embedded also FIRESTORE_EMULATOR_HOST and STORAGE_EMULATOR_HOST. The trigger
must retry, into a dead-letter topic.

``anomaly``, called by a schedule: looks at new candles once. The same environment without the
buckets, and ANOMALY_THRESHOLDS (see ``Thresholds.from_json``). Its log says what it found.
"""

import base64
import binascii
import os
import threading
from functools import cache
from typing import Any, NamedTuple

import functions_framework

from mcloud.clouds.gcp.archive import GcsArchive
from mcloud.clouds.gcp.candles import FirestoreCandles
from mcloud.clouds.gcp.client import make_firestore, make_storage
from mcloud.clouds.gcp.control import FirestoreControl
from mcloud.errors import McloudError
from mcloud.market.anomaly import Thresholds
from mcloud.market.envelope import Malformed, decode
from mcloud.processor.anomalies import Watch
from mcloud.processor.ingest import ingest
from mcloud.processor.log import log
from mcloud.processor.pulse import INTERVAL, Pulse


class Site(NamedTuple):
    archive: GcsArchive
    candles: FirestoreCandles
    pulse: Pulse


_making = threading.Lock()


def site() -> Site:
    """The stores, made once an instance, also when its first calls come at once."""
    with _making:
        return make_site()


@cache
def make_site() -> Site:
    storage = make_storage(
        os.environ["GOOGLE_CLOUD_PROJECT"], os.environ.get("STORAGE_EMULATOR_HOST", "")
    )
    candles, control = make_stores()
    return Site(
        GcsArchive(storage, os.environ["RAW_BUCKET"]),
        candles,
        Pulse(control, interval=float(os.environ.get("HEARTBEAT_SECONDS", INTERVAL))),
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


@functions_framework.cloud_event  # type: ignore[untyped-decorator]
def process(event: Any) -> None:
    """Process a message; whatever is raised has it delivered again, and then dead-lettered."""
    message = event.data["message"]
    try:
        body = base64.b64decode(message.get("data", ""), validate=True)
        trades = decode(body, message.get("attributes")).trades
        disagreements = ingest(trades, site().archive, site().candles)
    except (Malformed, binascii.Error, ArithmeticError) as error:
        reason = str(error) or "volumes beyond 38 digits"
        log("ERROR", "refused a message", message_id=message.get("messageId"), reason=reason)
        raise
    for disagreement in disagreements:
        log("ERROR", "two trades under one id", disagreement=str(disagreement))
    try:
        site().pulse.add(trades)
    except McloudError as error:
        log("WARNING", "no heartbeat", reason=str(error))
    log("INFO", "processed", messages=1, trades=len(trades))


_looking = threading.Lock()


@cache
def watch() -> Watch:
    """What an instance remembers from one look to the next."""
    return Watch(*make_stores(), Thresholds.from_json(os.environ.get("ANOMALY_THRESHOLDS", "")))


@functions_framework.http  # type: ignore[untyped-decorator]
def anomaly(request: Any) -> dict[str, int]:
    """Look once; whatever is raised is answered by 500, and the schedule calls again."""
    with _looking:
        return {"anomalies": len(watch().look())}
