"""Usage of a site, from CloudWatch's daily metrics and from the services' own APIs."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from mcloud.clouds.aws.client import translated
from mcloud.clouds.days import GIB, SECONDS, Days, day_of, gib_months, share_of_month
from mcloud.clouds.ports import Metered
from mcloud.clouds.resources import AwsResources, functions_of, stack_of
from mcloud.clouds.storage_classes import divided, growth, share
from mcloud.errors import McloudError, Refused, Unavailable
from mcloud.market.envelope import SQS_CHUNK
from mcloud.market.staged import RECORD

COMPACT_MEMORY = 1024  # MB of the compaction function, as in terraform/aws
LATE = 3  # days until S3 has certainly reported the size of a bucket

# Storage classes by S3's names in CloudWatch.
_CLASSES = {
    "s3_gib_months": "StandardStorage",
    "s3_ia_gib_months": "StandardIAStorage",
    "s3_glacier_ir_gib_months": "GlacierInstantRetrievalStorage",
}
_COLD = "s3_glacier_ir_gib_months"
"""The class into which the lifecycle rules of the module move objects."""
_MOVED = 128 * 1024  # bytes of the smallest object that they move
_SIZES = (*_CLASSES, "objects")
_REQUESTS = ("PutRequests", "ListRequests", "GetRequests", "HeadRequests", "BytesDownloaded")
_SIZE_UNTOLD = (
    "unknown: S3 reports a bucket's size up to two days later, and no size of an empty one"
)
_REQUESTS_OFF = "unknown: the bucket's request metrics are off"


class _MeterSeries(NamedTuple):
    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str = "Sum"


class CloudWatchUsage:
    """Usage of a site on AWS. A report makes one GetMetricData call and five free calls."""

    def __init__(
        self, cloudwatch: Any, lambda_: Any, dynamodb: Any, logs: Any, to: AwsResources
    ) -> None:
        self._cloudwatch = cloudwatch
        self._lambda = lambda_
        self._dynamodb = dynamodb
        self._logs = logs
        self._to = to

    def metered(self, start: float, end: float) -> list[Metered]:
        tables = {name: _asked(partial(self._table, name)) for name in self._tables()}
        label = next((t.get("LatestStreamLabel", "") for t in tables.values() if _is(t)), "")
        wanted = self._series(label)
        read = self._read(list(wanted.values()), start, end)
        seen = {name: read[series] for name, series in wanted.items()}
        share = share_of_month(start, end)
        return [
            *self._messages(seen, end),
            *self._calls(seen, end),
            *_items(seen, tables, share, end),
            *_exports(seen, end),
            *_objects(seen, start, end),
            *self._log(seen, share, end),
            *self._fixed(share, end),
            Metered("egress_bytes", None, "unknown: not metered by the site", end, exact=False),
            Metered("own_metric_reads", Decimal(len(wanted)), "this call", end, exact=True),
        ]

    def _tables(self) -> tuple[str, str]:
        return self._to.candles_table, self._to.control_table

    def _series(self, stream: str) -> dict[str, _MeterSeries]:
        to = self._to
        found: dict[str, _MeterSeries] = {}
        for queue, url in (("queue", to.queue_url), ("dlq", to.dlq_url)):
            name_of = (("QueueName", url.rpartition("/")[2]),)
            for name, metric in (
                ("sent", "NumberOfMessagesSent"),
                ("received", "NumberOfMessagesReceived"),
                ("deleted", "NumberOfMessagesDeleted"),
                ("empty", "NumberOfEmptyReceives"),
                ("size", "SentMessageSize"),
            ):
                found[f"{queue} {name}"] = _MeterSeries("AWS/SQS", metric, name_of)
        for function in functions_of(to.function):
            for name in ("Invocations", "Duration"):
                called = (("FunctionName", function),)
                found[f"{function} {name}"] = _MeterSeries("AWS/Lambda", name, called)
            group = (("LogGroupName", _group(function)),)
            found[f"{function} logs"] = _MeterSeries("AWS/Logs", "IncomingBytes", group)
        for table in self._tables():
            for what in ("Write", "Read"):
                metric = f"Consumed{what}CapacityUnits"
                found[f"{table} {what}"] = _MeterSeries(
                    "AWS/DynamoDB", metric, (("TableName", table),)
                )
        if stream:
            found["stream"] = _MeterSeries(
                "AWS/DynamoDB",
                "SuccessfulRequestLatency",
                (
                    ("Operation", "GetRecords"),
                    ("StreamLabel", stream),
                    ("TableName", to.candles_table),
                ),
                "SampleCount",
            )
        if to.delivery_stream:
            stream_name = (("DeliveryStreamName", to.delivery_stream),)
            for name in ("IncomingRecords", "IncomingBytes"):
                found[name] = _MeterSeries("AWS/Firehose", name, stream_name)
        bucket = ("BucketName", to.raw_bucket)
        for meter, storage in _CLASSES.items():
            kind = ("StorageType", storage)
            found[meter] = _MeterSeries("AWS/S3", "BucketSizeBytes", (bucket, kind), "Average")
        all_types = (bucket, ("StorageType", "AllStorageTypes"))
        found["objects"] = _MeterSeries("AWS/S3", "NumberOfObjects", all_types, "Average")
        for metric in _REQUESTS:
            found[metric] = _MeterSeries("AWS/S3", metric, (bucket, ("FilterId", "EntireBucket")))
        return found

    def _read(
        self, wanted: list[_MeterSeries], start: float, end: float
    ) -> dict[_MeterSeries, Days]:
        """Return the daily figures of each series. A day without figures has no entry."""
        queries = [_query(f"q{number}", series) for number, series in enumerate(wanted)]
        # Start some days earlier, because S3 reports the size of a bucket late.
        arguments = {
            "MetricDataQueries": queries,
            "StartTime": datetime.fromtimestamp(start, UTC) - timedelta(days=LATE),
            "EndTime": datetime.fromtimestamp(end, UTC),
        }
        found: dict[_MeterSeries, dict[str, Decimal]] = {series: {} for series in wanted}
        token: dict[str, str] = {}
        with translated("CloudWatch"):
            while True:
                answer = self._cloudwatch.get_metric_data(**arguments, **token)
                for result in answer["MetricDataResults"]:
                    _check(result)
                    days = found[wanted[int(result["Id"][1:])]]
                    for stamp, value in zip(result["Timestamps"], result["Values"], strict=True):
                        days[day_of(stamp.timestamp())] = Decimal(str(value))
                if not answer.get("NextToken"):
                    break
                token = {"NextToken": answer["NextToken"]}
        first = day_of(start)
        return {
            series: days if series.namespace == "AWS/S3" else _from(days, first)
            for series, days in found.items()
        }

    def _messages(self, seen: Mapping[str, Days], end: float) -> Iterator[Metered]:
        days: dict[str, Decimal] = defaultdict(Decimal)
        for queue in ("queue", "dlq"):
            sent = sum(seen[f"{queue} sent"].values(), Decimal(0))
            size = sum(seen[f"{queue} size"].values(), Decimal(0))
            chunks = max(1, math.ceil(size / sent / SQS_CHUNK)) if sent else 1
            for name in ("sent", "received", "deleted"):
                _add(days, seen[f"{queue} {name}"], chunks)
            _add(days, seen[f"{queue} empty"])
        source = "CloudWatch AWS/SQS; an upper bound: up to ten messages share a request"
        yield _metered("sqs_requests", days, source, end, exact=False)
        yield _metered("messages", seen["queue deleted"], "CloudWatch AWS/SQS", end, exact=False)

    def _calls(self, seen: Mapping[str, Days], end: float) -> Iterator[Metered]:
        source = "CloudWatch AWS/Lambda"
        _, anomaly, compact = functions_of(self._to.function)
        yield _metered("lambda_requests", self._all(seen, "Invocations"), source, end)
        # Only the scheduler calls these two functions.
        scheduled: dict[str, Decimal] = defaultdict(Decimal)
        for function in (anomaly, compact):
            _add(scheduled, seen[f"{function} Invocations"])
        yield _metered(
            *("scheduler_invocations", scheduled),
            *(f"{source}: the calls of {anomaly} and {compact}", end),
            exact=False,
        )
        seconds = {day: ms / 1000 for day, ms in self._all(seen, "Duration").items()}
        yield _metered("function_seconds", seconds, source, end, exact=False)
        memory = _asked(self._memory)
        if not isinstance(memory, Decimal):
            yield Metered("lambda_gb_s", None, f"unknown: {memory}", end, exact=False)
            return
        days: dict[str, Decimal] = defaultdict(Decimal)
        for function in functions_of(self._to.function):
            size = COMPACT_MEMORY if function == compact else memory
            for day, ms in seen[f"{function} Duration"].items():
                days[day] += ms / 1000 * size / 1024
        source += ": duration times memory, without cold starts"
        yield _metered("lambda_gb_s", days, source, end, exact=False)
        yield Metered("function_memory_mb", memory, "its configuration", end, exact=True)

    def _all(self, seen: Mapping[str, Days], what: str) -> dict[str, Decimal]:
        days: dict[str, Decimal] = defaultdict(Decimal)
        for function in functions_of(self._to.function):
            _add(days, seen[f"{function} {what}"])
        return days

    def _memory(self) -> Decimal:
        # The Terraform module gives the processor and the anomaly function the same memory.
        with translated("the function"):
            answer = self._lambda.get_function_configuration(FunctionName=self._to.function)
        return Decimal(answer["MemorySize"])

    def _table(self, name: str) -> dict[str, Any]:
        with translated(f"the table {name}"):
            table: dict[str, Any] = self._dynamodb.describe_table(TableName=name)["Table"]
        return table

    def _log(self, seen: Mapping[str, Days], share: Decimal, end: float) -> Iterator[Metered]:
        yield _metered("log_bytes", self._all(seen, "logs"), "CloudWatch AWS/Logs", end)
        groups = _asked(self._log_groups)
        if not isinstance(groups, list):
            yield Metered("log_gib_months", None, f"unknown: {groups}", end, exact=False)
            return
        kept = Decimal(sum(group.get("storedBytes", 0) for group in groups)) / GIB * share
        source = "DescribeLogGroups, assuming the same size all month"
        yield Metered("log_gib_months", kept, source, end, exact=False)
        retentions = [group["retentionInDays"] for group in groups if "retentionInDays" in group]
        if retentions:
            days = Decimal(max(retentions))
            yield Metered("log_retention_days", days, "DescribeLogGroups", end, exact=True)

    def _log_groups(self) -> list[dict[str, Any]]:
        names = [_group(function) for function in functions_of(self._to.function)]
        with translated("CloudWatch Logs"):
            prefix = _group(stack_of(self._to.function))
            answer = self._logs.describe_log_groups(logGroupNamePrefix=prefix)
        return [each for each in answer["logGroups"] if each["logGroupName"] in names]

    def _fixed(self, share: Decimal, end: float) -> Iterator[Metered]:
        """Yield the meters that a stack is billed for, used or not."""
        alarms = _asked(self._alarms)
        if isinstance(alarms, Decimal):
            yield Metered("alarm_months", alarms * share, "DescribeAlarms", end, exact=False)
        else:
            yield Metered("alarm_months", None, f"unknown: {alarms}", end, exact=False)
        yield Metered("dashboard_months", share, "one in terraform/aws", end, exact=False)
        # A stack of an earlier release has a key that its outputs do not name, and no stream.
        has_key = self._to.alerts_key or not self._to.delivery_stream
        keys = share if has_key else Decimal(0)
        yield Metered("kms_key_months", keys, "alerts_key in terraform/aws", end, exact=False)
        yield Metered("xray_traces", None, "unknown: X-Ray reports no count", end, exact=False)

    def _alarms(self) -> Decimal:
        prefix = f"{stack_of(self._to.function)}-"
        with translated("CloudWatch"):
            pages = self._cloudwatch.get_paginator("describe_alarms").paginate(
                AlarmNamePrefix=prefix
            )
            return Decimal(sum(len(page.get("MetricAlarms", [])) for page in pages))


def _items(
    seen: Mapping[str, Days], tables: Mapping[str, Any], share: Decimal, end: float
) -> Iterator[Metered]:
    for meter, what in (("dynamodb_writes", "Write"), ("dynamodb_reads", "Read")):
        days: dict[str, Decimal] = defaultdict(Decimal)
        for table in tables:
            _add(days, seen[f"{table} {what}"])
        yield _metered(meter, days, "CloudWatch AWS/DynamoDB", end)
    if "stream" in seen:
        yield _metered(
            "dynamodb_stream_reads", seen["stream"], "CloudWatch AWS/DynamoDB", end, exact=False
        )
    unread = [str(table) for table in tables.values() if not _is(table)]
    for meter in ("dynamodb_gib_months", "dynamodb_pitr_gib_months"):
        if unread:
            yield Metered(meter, None, f"unknown: {unread[0]}", end, exact=False)
            continue
        size = sum((Decimal(t.get("TableSizeBytes", 0)) for t in tables.values()), Decimal(0))
        source = "DescribeTable, up to six hours old, assuming the same size all month"
        yield Metered(meter, size / GIB * share, source, end, exact=False)


def _exports(seen: Mapping[str, Days], end: float) -> Iterator[Metered]:
    """Yield the bytes that Firehose bills: each record counts as a multiple of 5 KiB. The processor
    makes no larger ones, unless a message is longer.
    """
    if "IncomingRecords" in seen:
        sizes = seen["IncomingBytes"]
        days = {
            day: max(records * RECORD, sizes.get(day, Decimal(0)))
            for day, records in seen["IncomingRecords"].items()
        }
        source = "CloudWatch AWS/Firehose, records of 5 KiB"
        yield _metered("firehose_bytes", days, source, end, exact=False)


def _objects(seen: Mapping[str, Days], start: float, end: float) -> Iterator[Metered]:
    first = day_of(start)
    seen = {name: days if name in _SIZES else _from(days, first) for name, days in seen.items()}
    # Until S3 reports this month, assume the size at the end of the last month.
    is_told = any(_from(seen[name], first) for name in _SIZES)
    for meter in _CLASSES:
        days = _from(seen[meter], first)
        if not is_told and seen[meter]:
            days = {first: seen[meter][max(seen[meter])]}
        if not is_told and not days and meter == "s3_gib_months":
            yield Metered(meter, None, _SIZE_UNTOLD, end, exact=False)
            continue
        of_month = gib_months(days, end)
        yield _metered(meter, of_month, "CloudWatch AWS/S3, by the day", end, exact=False)
    objects = seen["objects"]
    if objects:
        newest = objects[max(objects)]
        yield Metered("stored_objects", newest, "CloudWatch AWS/S3", end, exact=False)
    yield _moved(seen, first, end)
    part = share({meter: _from(seen[meter], first) for meter in _CLASSES}, _COLD)
    if seen["PutRequests"] or seen["GetRequests"]:
        source = "CloudWatch AWS/S3 request metrics"
        puts, gets = (
            _sum_of(seen, metrics)
            for metrics in (("PutRequests", "ListRequests"), ("GetRequests", "HeadRequests"))
        )
        yield _metered("s3_puts", puts, source, end)
        yield from divided(_metered("s3_gets", gets, source, end), "s3_glacier_ir_gets", part)
        sent = _metered("sent_bytes", seen["BytesDownloaded"], source, end, exact=False)
        yield divided(sent, "s3_glacier_ir_retrieved_bytes", part)[1]
        return
    for meter in ("s3_glacier_ir_gets", "s3_glacier_ir_retrieved_bytes"):
        units = None if part else Decimal(0)
        source = _REQUESTS_OFF if part else "CloudWatch AWS/S3: no objects of this class"
        yield Metered(meter, units, source, end, exact=False)
    if objects:
        earlier = [day for day in objects if day < first]
        before = objects[max(earlier)] if earlier else Decimal(0)
        grown = max(Decimal(0), objects[max(objects)] - before)
        source = "CloudWatch AWS/S3: the number of additional objects, without listings"
        yield Metered("s3_puts", grown, source, end, exact=False)
    else:
        yield Metered("s3_puts", None, _REQUESTS_OFF, end, exact=False)
    yield Metered("s3_gets", None, _REQUESTS_OFF, end, exact=False)


def _moved(seen: Mapping[str, Days], first: str, end: float) -> Metered:
    """Return the number of objects that came into the colder class, of which S3 reports the bytes
    only.
    """
    stored = sum((_last(seen[meter]) for meter in _CLASSES), Decimal(0))
    objects = _last(seen["objects"])
    size = max(Decimal(_MOVED), stored / objects if objects else Decimal(0))
    grown = _from(growth(seen[_COLD], seen["objects"]), first)
    moved = {day: bytes_ / size for day, bytes_ in grown.items()}
    source = "CloudWatch AWS/S3: the additional bytes, in objects of the mean size"
    return _metered("s3_glacier_ir_transitions", moved, source, end, exact=False)


def _last(days: Days) -> Decimal:
    """Return the figure of the newest day, or 0."""
    return days[max(days)] if days else Decimal(0)


def _sum_of(seen: Mapping[str, Days], metrics: tuple[str, ...]) -> Days:
    total: dict[str, Decimal] = defaultdict(Decimal)
    for metric in metrics:
        _add(total, seen[metric])
    return total


def _query(id_: str, series: _MeterSeries) -> dict[str, Any]:
    return {
        "Id": id_,
        "MetricStat": {
            "Metric": {
                "Namespace": series.namespace,
                "MetricName": series.metric,
                "Dimensions": [{"Name": n, "Value": value} for n, value in series.dimensions],
            },
            "Period": SECONDS,
            "Stat": series.stat,
        },
    }


def _check(result: Mapping[str, Any]) -> None:
    """Raise an error for a metric that CloudWatch could not read: it has no values, but is not
    0."""
    status = result.get("StatusCode", "Complete")
    if status in ("InternalError", "Forbidden"):
        why = "; ".join(each.get("Value", "") for each in result.get("Messages", ()))
        error = Refused if status == "Forbidden" else Unavailable
        raise error(f"CloudWatch: {status} {why}".strip())


def _metered(meter: str, days: Days, source: str, end: float, *, exact: bool = True) -> Metered:
    return Metered(meter, sum(days.values(), Decimal(0)), source, end, exact, dict(days))


def _add(days: dict[str, Decimal], more: Days, times: int = 1) -> None:
    for day, units in more.items():
        days[day] += units * times


def _from(days: Days, first: str) -> Days:
    return {day: units for day, units in days.items() if day >= first}


def _asked(call: Callable[[], Any]) -> Any:
    """Return the result of a call, or its error as text, so that other meters can be reported."""
    try:
        return call()
    except McloudError as error:
        return str(error)


def _is(table: Any) -> bool:
    return isinstance(table, dict)


def _group(function: str) -> str:
    return f"/aws/lambda/{function}"
