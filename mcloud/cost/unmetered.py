"""The parts of a bill that the embedded clouds cannot measure, and the constants for them.

The embedded meters count requests, documents and bytes as the real clouds bill them. This module
covers the other charges: those that depend on real machines (the time of requests to real stores,
and the share of a CPU), those without any request (idle pollers, alarms, keys, schedules), and
those that grow with the stored data. ``cost.estimate`` and ``cost.measured`` add them.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from mcloud.clouds.resources import Cloud
from mcloud.cost.archiving import FILLED_AT_ONCE, CompactionWork
from mcloud.cost.prices import GIB

MINUTES = 30 * 24 * 60
"""Minutes of the month that is priced."""
HOURS = Decimal(MINUTES) / 60
"""Hours of that month. The compaction runs once in each."""
AT_ONCE = 16
"""Concurrent requests of a function to its stores; see `processor.ingest`."""
IMAGE = Decimal("0.15")
"""GiB of the image of a function on Google Cloud; an assumption, not measured."""

_POLLS = 5 * 3  # of idle pollers of a queue, per minute: each waits for 20 s
_BACKUPS = 7  # days that terraform/gcp keeps the daily backups of the database
_FUNCTIONS = 3  # the processor, the anomaly function, and the compaction
_OVERHEAD = {"aws": 100, "gcp": 250}  # bytes that a store adds to a candle for its indexes


class FunctionInstance(NamedTuple):
    """An instance of a function, with the defaults of ``terraform/``."""

    memory: Decimal
    """GiB, which are billed for the whole time of a call."""
    cpu: Decimal
    """Share of a CPU that the instance has."""
    candle_seconds: Decimal
    """Time of a request to the store of candles."""
    object_seconds: Decimal
    """Time of a request to the store of raw objects."""


INSTANCES: Mapping[Cloud, FunctionInstance] = {
    # Lambda gives a whole CPU to 1,769 MB:
    # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    "aws": FunctionInstance(Decimal("0.5"), Decimal("0.29"), Decimal("0.008"), Decimal("0.030")),
    "gcp": FunctionInstance(Decimal("0.5"), Decimal(1), Decimal("0.040"), Decimal("0.060")),
}


COMPACTING: Mapping[Cloud, FunctionInstance] = {
    "aws": INSTANCES["aws"]._replace(memory=Decimal(1), cpu=Decimal("0.58")),
    "gcp": INSTANCES["gcp"]._replace(memory=Decimal(1)),
}
"""Those of the compaction."""


class FunctionWork(NamedTuple):
    """The work of a function, in any period."""

    calls: Decimal
    candles: Decimal
    """Requests to the store of candles."""
    objects: Decimal
    """Requests to the store of raw objects."""
    cpu: Decimal
    """Seconds of a whole CPU."""


def waiting(cloud: Cloud, work: FunctionWork) -> Decimal:
    """Return the seconds during which calls wait for real stores. A call makes up to ``AT_ONCE``
    requests to a store at the same time, first to that of raw objects.
    """
    instance = INSTANCES[cloud]
    return sum(
        (
            max(min(work.calls, requests), requests / AT_ONCE) * seconds
            for requests, seconds in (
                (work.candles, instance.candle_seconds),
                (work.objects, instance.object_seconds),
            )
        ),
        Decimal(0),
    )


def computing(cloud: Cloud, work: FunctionWork) -> Decimal:
    """Return the seconds that the work takes with the share of a CPU that the function has."""
    return work.cpu / INSTANCES[cloud].cpu


def seconds(cloud: Cloud, work: FunctionWork) -> Decimal:
    """Return the seconds for which the work is billed."""
    return waiting(cloud, work) + computing(cloud, work)


def compacting_time(cloud: Cloud, work: CompactionWork) -> dict[str, Decimal]:
    """Return the units of each meter for the time of a compaction, which fills several blocks at
    the same time.
    """
    instance = COMPACTING[cloud]
    waiting = Decimal(work.requests) * instance.object_seconds / FILLED_AT_ONCE
    return billed_time(cloud, waiting + Decimal(work.cpu) / instance.cpu, instance)


def billed_time(
    cloud: Cloud, seconds: Decimal, instance: FunctionInstance | None = None
) -> dict[str, Decimal]:
    """Return the units of each meter for the seconds of a function, by default of the processor."""
    memory = (instance or INSTANCES[cloud]).memory
    if cloud == "aws":
        return {"lambda_gb_s": seconds * memory}
    # An instance with several concurrent requests has a whole CPU, which is billed all the time.
    return {"function_vcpu_s": seconds, "function_gib_s": seconds * memory}


def idle_polls(receives: Decimal) -> Decimal:
    """Return the number of a month's requests to a queue that find no message, if ``receives``
    requests find some.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html: five pollers when idle.
    """
    return max(Decimal(0), _POLLS * MINUTES - receives)


def fixed(cloud: Cloud) -> dict[str, Decimal]:
    """Return the units that are billed for a stack in a month even if it is not used, with the
    defaults of ``terraform/``.
    """
    if cloud == "aws":
        return {
            "alarm_months": Decimal(9),
            "dashboard_months": Decimal(1),
            "scheduler_invocations": MINUTES + HOURS,
        }
    return {"scheduler_job_months": Decimal(2), "image_gib_months": _FUNCTIONS * IMAGE}


def stored(
    cloud: Cloud, month: int, candles: Decimal, candle_bytes: Decimal, raw_bytes: Decimal
) -> dict[str, Decimal]:
    """Return the units of stored data in a month after the deployment.

    Args:
        candles: number of new candles per month, each of ``candle_bytes`` without the indexes.
    """
    # On average over its month, half of the month's data is stored.
    months = (Decimal(month) - Decimal("0.5")) / GIB
    database = months * (candle_bytes + _OVERHEAD[cloud] * candles)
    raw = months * raw_bytes
    if cloud == "aws":
        return {
            "dynamodb_gib_months": database,
            "dynamodb_pitr_gib_months": database,
            "s3_gib_months": raw,
        }
    return {
        "firestore_gib_months": database,
        "firestore_pitr_gib_months": database,
        "firestore_backup_gib_months": _BACKUPS * database,
        "gcs_gib_months": raw,
    }
