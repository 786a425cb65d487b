"""The embedded AWS: ``python -m mcloud.local.aws.server --home FOLDER``.

ministack runs in this process behind mcloud's middleware, on the port of ministack's own variables
(see ``children.aws``).
"""

import argparse
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from ministack import app as ministack
from ministack.core import responses
from ministack.services import cloudwatch, dynamodb, dynamodb_streams, firehose, lambda_svc, sqs

from mcloud.local.aws import kept_queues, mapping, metering
from mcloud.local.aws.delivery import Deliveries
from mcloud.local.aws.metrics import EmbeddedMetrics
from mcloud.local.aws.middleware import Middleware
from mcloud.local.meter import Meter
from mcloud.local.outage import Outages

# Names that are not part of ministack's public API, so that another version may not have them.
INSIDES: Mapping[ModuleType, tuple[str, ...]] = {
    ministack: ("_MAIN_LOOP", "app", "main"),
    cloudwatch: ("_evaluate_all_alarms", "_get_metric_data", "_store_datum"),
    dynamodb: (
        *("_accumulate_write_capacity", "_add_consumed_capacity", "_batch_get_item"),
        *("_conditional_check_failed", "_get_item_by_key", "_index_write_units"),
        *("_item_size_bytes", "_normalize_table_name", "_query", "_scan", "_tables"),
        *("_transact_get_items", "_transact_write_items"),
    ),
    dynamodb_streams: ("_get_records",),
    firehose: (
        *("_arrival_time", "_deliver_records_to_s3", "_dest_description", "_evaluate_prefix"),
        *("_java_time", "_lock"),
        *("_s3_bucket_from_arn", "_streams"),
    ),
    lambda_svc: ("_ESM_BACKOFF_SECONDS", "_execute_function", "_poll_sqs", "_run_sqs_batch"),
    responses: ("get_account_id", "new_uuid"),
    sqs: (
        *("_delete_messages_for_esm", "_queue_name_to_url", "_queue_url_for_account", "_queues"),
        *("_queues_lock", "_receive_messages_for_esm", "load_persisted_state"),
    ),
}


def main() -> None:
    arguments = argparse.ArgumentParser(prog="mcloud.local.aws.server", description=__doc__)
    arguments.add_argument("--home", type=Path, required=True)
    arguments.add_argument("--export-seconds", type=float)
    options = arguments.parse_args()
    home = options.home
    if missing := lacking():
        sys.exit(
            f"this ministack ({version('ministack')}) has no {', '.join(missing)}: "
            "install the right version with `pip install 'ministack==1.5.33'`"
        )
    sys.argv[1:] = []  # because ministack reads the arguments of the process too
    outages, meter = Outages(home, "aws"), Meter(home, "aws")
    metrics = EmbeddedMetrics(meter)
    mapping.install(outages, metrics, meter)
    metering.install(meter)
    kept_queues.install()
    address = f"http://{os.environ['BIND_HOST']}:{os.environ['GATEWAY_PORT']}"
    deliveries = Deliveries(address, options.export_seconds)
    deliveries.install()
    pump = partial(metrics.pump_forever, _soon)
    for chore in (pump, meter.save_forever, deliveries.deliver_forever):
        threading.Thread(target=chore, daemon=True).start()
    ministack.app = Middleware(ministack.app, outages, meter)
    try:
        ministack.main()
    finally:
        meter.save()


def lacking() -> list[str]:
    """Return the names in ministack that outages, meters and metrics use but that do not exist."""
    return [
        f"{module.__name__}.{name}"
        for module, names in INSIDES.items()
        for name in names
        if not hasattr(module, name)
    ]


def _soon(work: Callable[[], None]) -> None:
    """Run the work in ministack's own thread, since no other thread may use its dictionaries."""
    if ministack._MAIN_LOOP is not None:
        ministack._MAIN_LOOP.call_soon_threadsafe(work)


if __name__ == "__main__":
    main()
