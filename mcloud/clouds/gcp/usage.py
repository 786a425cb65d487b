"""Daily usage of a site, from Cloud Monitoring."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from mcloud.clouds.days import SECONDS, day_of, gib_months, share_of_month
from mcloud.clouds.gcp.client import TIMEOUT, retry, translated
from mcloud.clouds.gcp.metrics import interval
from mcloud.clouds.ports import Metered
from mcloud.clouds.resources import SCHEDULED, GcpResources, functions_of, stack_of
from mcloud.clouds.storage_classes import divided, growth, share
from mcloud.deadline import gather
from mcloud.errors import McloudError, reason_of

SHORTEST = 60  # seconds; shortest period that the API can aggregate
DEADLINE = 25.0  # seconds for all queries together
LAG = 240.0  # seconds until a figure is available (Google's metrics list)

# Methods of Cloud Storage's API by their price class; deletes are free.
_CLASS_A = {
    *("WriteObject", "InsertObject", "StartResumableWrite", "ResumableWrite", "ComposeObject"),
    *("CopyObject", "RewriteObject", "ListObjects", "ListBuckets", "PatchObject", "UpdateObject"),
    *("UpdateObjectMetadata", "CreateBucket", "InsertBucket", "UpdateBucket", "PatchBucket"),
}
_FREE = {"DeleteObject", "DeleteBucket", "CancelResumableWrite"}

_OF_FUNCTIONS = {
    "function_requests": "run.googleapis.com/request_count",
    "function_vcpu_s": "run.googleapis.com/container/cpu/allocation_time",
    "function_gib_s": "run.googleapis.com/container/memory/allocation_time",
    "function_seconds": "run.googleapis.com/container/billable_instance_time",
    "log_bytes": "logging.googleapis.com/byte_count",
}

_DATABASE = {
    "firestore_gib_months": "data_and_index",
    "firestore_pitr_gib_months": "pitr",
    "firestore_backup_gib_months": "backups",
}

_STORAGE = {
    "STANDARD": "gcs_gib_months",
    "REGIONAL": "gcs_gib_months",
    "NEARLINE": "gcs_nearline_gib_months",
    "COLDLINE": "gcs_coldline_gib_months",
}


_COLD = "COLDLINE"
"""The class into which the lifecycle rules of the module move objects."""


class _Query(NamedTuple):
    metric: str
    resource: str
    """Filter on the resource; may be empty."""
    label: str = ""
    """Label by which the sums are grouped."""
    gauge: bool = False


class MonitoringUsage:
    """Implementation of ``ports.Usage`` for Google Cloud. It makes two requests for each metric:
    one for whole days, and one for the current day.
    """

    def __init__(
        self,
        client: Any,
        to: GcpResources,
        has_free_tier: Callable[[], bool] = lambda: True,
        conditions: Callable[[], int] = lambda: 0,
    ) -> None:
        """``has_free_tier`` says whether the free tier of the project is that of the database, and
        ``conditions`` returns the number of the stack's conditions on metrics.
        """
        self._client = client
        self._to = to
        self._has_free_tier = has_free_tier
        self._conditions = conditions

    def metered(self, start: float, end: float) -> list[Metered]:
        queries = self._queries()
        answers = gather(
            {name: partial(self._read, query, start, end) for name, query in queries.items()},
            DEADLINE,
        )
        failed = [each for each in answers.values() if isinstance(each, Exception)]
        if len(failed) == len(answers):
            raise failed[0]
        read = sum(each[1] for each in answers.values() if not isinstance(each, Exception))
        made = _Made(answers, start, end, self._free_tier())
        return [
            *made.sums(),
            *made.database(),
            *made.objects(),
            *made.others(),
            self._alerts(start, end),
            Metered("egress_bytes", None, "unknown: not metered by the site", end, exact=False),
            Metered("trace_spans", None, "unknown: Cloud Trace reports no count", end, exact=False),
            Metered("own_metric_reads", Decimal(read), "this call", end, exact=True),
        ]

    def _free_tier(self) -> tuple[bool, str]:
        """Return whether the database has the free tier, and a remark if that is unknown."""
        try:
            return self._has_free_tier(), ""
        except McloudError as error:
            return True, f"; whether it has the project's free tier is unknown: {error.message}"

    def _alerts(self, start: float, end: float) -> Metered:
        """Return the conditions of alert policies, as if there had been as many all the time."""
        try:
            count = Decimal(self._conditions())
        except McloudError as error:
            why = f"unknown: {error.message}"
            return Metered("alert_condition_months", None, why, end, exact=False)
        units = count * share_of_month(start, end)
        return Metered("alert_condition_months", units, "alertPolicies.list", end, exact=False)

    def _queries(self) -> dict[str, _Query]:
        to = self._to
        functions = functions_of(to.function)
        database = f'resource.labels.database_id = "{to.database}"'
        names = ", ".join(f'"{name}"' for name in (to.raw_bucket, to.staging_bucket) if name)
        bucket = f"resource.labels.bucket_name = one_of({names})"
        kept = [to.subscription, to.dlq_subscription]
        kept += filter(None, [to.export_subscription])
        mine = f'resource.labels.subscription_id = "{to.subscription}"'
        return {
            **{
                f"published {number}": _Query(
                    "pubsub.googleapis.com/topic/byte_cost", f'resource.labels.topic_id = "{name}"'
                )
                for number, name in enumerate((to.topic, to.dlq_topic))
            },
            **{
                f"delivered {number}": _Query(
                    "pubsub.googleapis.com/subscription/byte_cost",
                    f'resource.labels.subscription_id = "{name}"',
                )
                for number, name in enumerate((to.subscription, to.dlq_subscription))
            },
            "messages": _Query("pubsub.googleapis.com/subscription/ack_message_count", mine),
            **{
                f"{meter} {number}": _Query(metric, f'resource.labels.service_name = "{name}"')
                for meter, metric in _OF_FUNCTIONS.items()
                for number, name in enumerate(functions)
            },
            **{
                f"{what} {kind}": _Query(
                    f"firestore.googleapis.com/document/{what}_{kind}",
                    # The older of the two metrics covers the whole project.
                    database if kind == "ops_count" else "",
                )
                for what in ("read", "write", "delete")
                for kind in ("ops_count", "count")
            },
            **{
                name: _Query(
                    f"firestore.googleapis.com/storage/{metric}_storage_bytes", database, gauge=True
                )
                for name, metric in _DATABASE.items()
            },
            **{
                f"retained {number}": _Query(
                    "pubsub.googleapis.com/subscription/billable_bytes_by_region",
                    f'resource.labels.subscription_id = "{name}"',
                    gauge=True,
                )
                for number, name in enumerate(kept)
            },
            **(
                {
                    "exported": _Query(
                        "pubsub.googleapis.com/subscription/byte_cost",
                        f'resource.labels.subscription_id = "{to.export_subscription}"',
                    )
                }
                if to.export_subscription
                else {}
            ),
            "images": _Query(
                "artifactregistry.googleapis.com/repository/size",
                f'resource.labels.repository_id = "{stack_of(to.function)}-functions"',
                gauge=True,
            ),
            "requests": _Query(
                "storage.googleapis.com/api/request_count", bucket, "metric.label.method"
            ),
            "bytes": _Query(
                "storage.googleapis.com/storage/v2/total_bytes",
                bucket,
                "metric.label.storage_class",
                gauge=True,
            ),
            "objects": _Query(
                "storage.googleapis.com/storage/v2/total_count",
                bucket,
                "metric.label.storage_class",
                gauge=True,
            ),
            "sent": _Query(
                "storage.googleapis.com/network/sent_bytes_count", bucket, "metric.label.method"
            ),
            "metric_reads": _Query(
                "serviceruntime.googleapis.com/api/request_count",
                'resource.labels.service = "monitoring.googleapis.com"',
            ),
        }

    def _read(
        self, query: _Query, start: float, end: float
    ) -> tuple[dict[str, dict[str, Decimal]], int]:
        """Return the sums by label and day, and the number of returned series, which are billed."""
        found: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        # The end is a whole second. With a fraction of a second, the first period would begin on
        # the previous day.
        end = end // 1
        midnight = end // SECONDS * SECONDS
        returned = 0
        spans = [(start, midnight, SECONDS), (max(start, midnight), end, int(end - midnight))]
        for begin, stop, period in spans:
            if stop - begin < SHORTEST:
                continue
            for series in self._series(query, begin, stop, period):
                returned += 1
                name = _label(series, query.label)
                for point in series.points:
                    closed = point.interval.end_time.timestamp()
                    # A period has the time of its end. For a whole day that is the next midnight.
                    day = day_of(closed - 1)
                    found[name][day] += _number(point.value)
        return {name: dict(days) for name, days in found.items()}, returned

    def _series(self, query: _Query, start: float, end: float, period: int) -> Any:
        from google.cloud.monitoring_v3.types import Aggregation, ListTimeSeriesRequest

        condition = f" AND {query.resource}" if query.resource else ""
        aligner = Aggregation.Aligner.ALIGN_MEAN if query.gauge else Aggregation.Aligner.ALIGN_DELTA
        request = ListTimeSeriesRequest(
            name=f"projects/{self._to.project}",
            filter=f'metric.type = "{query.metric}"{condition}',
            interval=interval(start, end),
            aggregation=Aggregation(
                alignment_period={"seconds": period},
                per_series_aligner=aligner,
                cross_series_reducer=Aggregation.Reducer.REDUCE_SUM,
                group_by_fields=[query.label] if query.label else [],
            ),
            view=ListTimeSeriesRequest.TimeSeriesView.FULL,
        )
        with translated("Cloud Monitoring"):
            return list(self._client.list_time_series(request, timeout=TIMEOUT, retry=retry()))


class _Made:
    """Meters derived from the query results."""

    def __init__(
        self, answers: Mapping[str, Any], start: float, end: float, free_tier: tuple[bool, str]
    ) -> None:
        self._answers = answers
        self._start = start
        self._end = end
        self._free_tier = free_tier

    def sums(self) -> Iterator[Metered]:
        source = "Cloud Monitoring"
        bytes_ = [name for name in self._answers if name.startswith(("published", "delivered"))]
        yield self._sum("pubsub_bytes", tuple(bytes_), f"{source}, byte_cost")
        # A successful push counts as an acknowledgement. The number of pushes would count each
        # attempt.
        yield self._sum("messages", ("messages",), source)
        for meter in _OF_FUNCTIONS:
            exact = meter not in ("function_seconds", "log_bytes")
            parts = tuple(f"{meter} {number}" for number in range(1 + len(SCHEDULED)))
            yield self._sum(meter, parts, source, exact=exact)
        called = [
            name for n, name in enumerate(SCHEDULED, 1) if self._known(f"function_requests {n}")
        ]
        if called:
            jobs = len(called) * share_of_month(self._start, self._end)
            words = f"a job for each function that was called: {', '.join(called)}"
            yield Metered("scheduler_job_months", jobs, words, self._end, exact=False)
        yield self._sum(
            "metric_reads",
            ("metric_reads",),
            f"{source}; a lower bound: the project's requests, each of which returns a series",
        )

    def database(self) -> Iterator[Metered]:
        source = "Cloud Monitoring"
        for what in ("read", "write", "delete"):
            name = f"{what} ops_count"
            words = source
            if not self._known(name):
                name, words = f"{what} count", f"{source}; of all databases of the project"
            exact = name.endswith("ops_count")
            yield self._of_database(self._sum(f"firestore_{what}s", (name,), words, exact=exact))
        for meter in _DATABASE:
            yield self._of_database(self._level(meter, (meter,), lambda label: True))

    def _of_database(self, metered: Metered) -> Metered:
        has_free_tier, words = self._free_tier
        return replace(metered, has_free_tier=has_free_tier, source=metered.source + words)

    def others(self) -> Iterator[Metered]:
        retained = tuple(name for name in self._answers if name.startswith("retained "))
        yield self._level("pubsub_retained_gib_months", retained, lambda label: True)
        if "exported" in self._answers:
            source = "Cloud Monitoring, byte_cost"
            yield self._sum("pubsub_export_bytes", ("exported",), source)
        yield self._level("image_gib_months", ("images",), lambda label: True)

    def objects(self) -> Iterator[Metered]:
        source = "Cloud Monitoring"
        yield self._sum("gcs_class_a", ("requests",), source, wanted=_is_write, exact=True)
        reads = self._sum("gcs_class_b", ("requests",), source, wanted=_is_read, exact=True)
        yield from divided(reads, "gcs_coldline_class_b", self._share("objects"))
        sent = self._sum("sent_bytes", ("sent",), source, wanted=_is_read)
        yield divided(sent, "gcs_coldline_retrieved_bytes", self._share("bytes"))[1]
        yield self._moved()
        for meter in dict.fromkeys(_STORAGE.values()):
            yield self._level(meter, ("bytes",), partial(_is_of, meter))

    def _share(self, stored: str) -> Decimal | str:
        """Return the share of the colder class, or the reason why it is unknown."""
        answer = self._answers[stored]
        return reason_of(answer) if isinstance(answer, Exception) else share(answer[0], _COLD)

    def _moved(self) -> Metered:
        """Return the number of objects that came into the colder class."""
        source = "Cloud Monitoring: the number of additional objects"
        cold = self._sum(
            "gcs_coldline_transitions", ("objects",), source, wanted=lambda label: label == _COLD
        )
        if cold.units is None:
            return cold
        reported = {day for days in self._answers["objects"][0].values() for day in days}
        grown = growth(cold.days, reported)
        return replace(cold, units=sum(grown.values(), Decimal(0)), days=grown)

    def _known(self, name: str) -> bool:
        answer = self._answers[name]
        return not isinstance(answer, Exception) and bool(answer[0])

    def _sum(
        self,
        meter: str,
        names: tuple[str, ...],
        source: str,
        *,
        wanted: Callable[[str], bool] = lambda label: True,
        exact: bool = False,
    ) -> Metered:
        days: dict[str, Decimal] = defaultdict(Decimal)
        for name in names:
            answer = self._answers[name]
            if isinstance(answer, Exception):
                why = reason_of(answer)
                return Metered(meter, None, f"unknown: {why}", self._end, exact=False)
            for label, each in answer[0].items():
                if wanted(label):
                    for day, units in each.items():
                        days[day] += units
        total = sum(days.values(), Decimal(0))
        return Metered(meter, total, source, self._end - LAG, exact, dict(days))

    def _level(self, meter: str, names: tuple[str, ...], wanted: Callable[[str], bool]) -> Metered:
        """Return the stored bytes, day by day, in GiB-months."""
        bytes_ = self._sum(meter, names, "Cloud Monitoring, by the day", wanted=wanted)
        if bytes_.units is None:
            return bytes_
        days = gib_months(bytes_.days, self._end)
        total = sum(days.values(), Decimal(0))
        return Metered(meter, total, bytes_.source, bytes_.as_of, exact=False, days=days)


def _is_write(method: str) -> bool:
    return method in _CLASS_A


def _is_read(method: str) -> bool:
    return method not in _CLASS_A | _FREE


def _is_of(meter: str, storage_class: str) -> bool:
    return _STORAGE.get(storage_class) == meter


def _label(series: Any, label: str) -> str:
    return str(series.metric.labels.get(label.rpartition(".")[2], "")) if label else ""


def _number(value: Any) -> Decimal:
    # One of the two is set, and the other reads as 0.
    return Decimal(value.int64_value) or Decimal(str(value.double_value))
