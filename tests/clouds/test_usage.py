"""Usage of a site: daily figures of CloudWatch and Cloud Monitoring, and missing figures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from botocore.validate import ParamValidator
from google.api_core import exceptions
from google.cloud.monitoring_v3.types import Aggregation, ListTimeSeriesRequest, TimeSeries

from mcloud.clouds.aws.usage import CloudWatchUsage
from mcloud.clouds.factory import open_site
from mcloud.clouds.gcp.usage import LAG, MonitoringUsage
from mcloud.clouds.ports import Metered
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.cost.month import Month
from mcloud.cost.prices import PRICES
from mcloud.errors import Refused, Unavailable
from mcloud.local.state import State

AWS = AwsResources(
    *("us-east-1", "https://sqs/1/trades", "https://sqs/1/dlq", "candles", "control"),
    *("raw", "mcloud-processor"),
    delivery_stream="mcloud-trades",
    alerts_key="arn:aws:kms:us-east-1:1:key/1",
)
GCP = GcpResources(
    *("p", "us-central1", "trades", "processor", "trades-dlq", "dlq", "mcloud", "candles"),
    *("control", "raw", "mcloud-processor"),
    staging_bucket="staging",
    export_subscription="export",
)
GIB = 2**30


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


START, END = at("2026-11-01"), at("2026-11-04T12:00")
PASSED = Decimal("3.5") / 30  # of the month


def by_meter(found: list[Metered]) -> dict[str, Metered]:
    meters = {each.meter: each for each in found}
    assert len(meters) == len(found)
    return meters


def client(service: str) -> Any:
    return boto3.client(
        service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )


class CloudWatch:
    """Answers with daily figures by metric and value of a dimension, two per page."""

    def __init__(self, figures: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
        self.figures = figures
        self.asked: list[dict[str, Any]] = []
        self.status = "Complete"
        self.model = client("cloudwatch").meta.service_model

    def get_metric_data(self, **request: Any) -> dict[str, Any]:
        shape = self.model.operation_model("GetMetricData").input_shape
        assert not ParamValidator().validate(request, shape).has_errors()
        self.asked.append(request)
        queries = request["MetricDataQueries"]
        first = int(request.get("NextToken", "0"))
        results = [self._result(query) for query in queries[first : first + 20]]
        more = {"NextToken": str(first + 20)} if first + 20 < len(queries) else {}
        return {"MetricDataResults": results, **more}

    def get_paginator(self, name: str) -> Any:
        assert name == "describe_alarms"

        class Pages:
            def paginate(self, AlarmNamePrefix: str) -> Iterator[dict[str, Any]]:
                assert AlarmNamePrefix == "mcloud-"
                yield {"MetricAlarms": [{}, {}, {}]}
                yield {"MetricAlarms": [{}]}

        return Pages()

    def _result(self, query: dict[str, Any]) -> dict[str, Any]:
        stat = query["MetricStat"]
        assert stat["Period"] == 86_400
        name = stat["Metric"]["MetricName"]
        values = {each["Value"] for each in stat["Metric"]["Dimensions"]}
        days: Mapping[str, float] = next(
            (days for (m, value), days in self.figures.items() if m == name and value in values), {}
        )
        return {
            "Id": query["Id"],
            "StatusCode": self.status,
            "Timestamps": [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in days],
            "Values": list(days.values()),
        }


def aws(
    figures: Mapping[tuple[str, str], Mapping[str, float]],
    *,
    refused: bool = False,
    status: str = "Complete",
    end: float = END,
    to: AwsResources = AWS,
) -> tuple[dict[str, Metered], CloudWatch]:
    watch = CloudWatch(figures)
    watch.status = status
    lambda_, dynamodb, logs = client("lambda"), client("dynamodb"), client("logs")
    with Stubber(lambda_) as a, Stubber(dynamodb) as b, Stubber(logs) as c:
        for size, label in ((3 * GIB, "2026-01-01T00:00:00.000"), (GIB, "")):
            if refused:
                b.add_client_error("describe_table", "AccessDeniedException", "not you")
                continue
            table: dict[str, Any] = {"TableSizeBytes": size}
            if label:
                table["LatestStreamLabel"] = label
            b.add_response("describe_table", {"Table": table}, {"TableName": ANY})
        if refused:
            a.add_client_error("get_function_configuration", "AccessDeniedException", "not you")
            c.add_client_error("describe_log_groups", "AccessDeniedException", "not you")
        else:
            a.add_response(
                "get_function_configuration",
                {"MemorySize": 512},
                {"FunctionName": "mcloud-processor"},
            )
            group = "/aws/lambda/mcloud-processor"
            c.add_response(
                "describe_log_groups",
                {
                    "logGroups": [
                        {"logGroupName": f"{group}-2", "storedBytes": 7},
                        {"logGroupName": group, "storedBytes": GIB // 2, "retentionInDays": 30},
                        {"logGroupName": "/aws/lambda/mcloud-anomaly", "storedBytes": GIB // 2},
                    ]
                },
                {"logGroupNamePrefix": "/aws/lambda/mcloud"},
            )
        usage = CloudWatchUsage(watch, lambda_, dynamodb, logs, to)
        return by_meter(usage.metered(START, end)), watch


DAYS = ("2026-11-01", "2026-11-02", "2026-11-03", "2026-11-04")


def days(*values: float) -> dict[str, float]:
    return dict(zip(DAYS, values, strict=False))


def test_usage_on_aws_equals_figures_computed_by_hand() -> None:
    found, watch = aws(
        {
            ("NumberOfMessagesSent", "trades"): days(100, 200),
            ("NumberOfMessagesReceived", "trades"): days(110, 200),
            ("NumberOfMessagesDeleted", "trades"): days(100, 199),
            ("NumberOfEmptyReceives", "trades"): days(1000, 1000),
            # a message of 100 KiB counts as two requests
            ("SentMessageSize", "trades"): days(100 * 100 * 1024, 200 * 100 * 1024),
            ("NumberOfMessagesReceived", "dlq"): days(1),
            ("Invocations", "mcloud-processor"): days(10, 20),
            ("Duration", "mcloud-processor"): days(4_000, 7_000),
            ("Invocations", "mcloud-anomaly"): days(0, 5),
            ("Duration", "mcloud-anomaly"): days(0, 1_000),
            ("Invocations", "mcloud-compact"): days(1, 2),
            ("Duration", "mcloud-compact"): days(2_000, 6_000),
            ("ConsumedWriteCapacityUnits", "candles"): days(50, 60),
            ("ConsumedWriteCapacityUnits", "control"): days(5, 0, 1),
            ("SuccessfulRequestLatency", "GetRecords"): days(7),
            ("IncomingBytes", "/aws/lambda/mcloud-processor"): days(1_000, 2_000),
            ("IncomingRecords", "mcloud-trades"): days(10, 2),
            # a message of the second day is longer than a record
            ("IncomingBytes", "mcloud-trades"): days(30_000, 20_000),
        }
    )
    requests = found["sqs_requests"]
    assert requests.days == {"2026-11-01": 2 * 310 + 1000 + 1, "2026-11-02": 2 * 599 + 1000}
    assert requests.units == sum(requests.days.values())
    assert not requests.exact
    assert found["messages"].units == 299
    assert found["lambda_requests"].units == 38
    assert found["scheduler_invocations"].units == 8
    assert found["lambda_gb_s"].units == 14  # 12 s at half a GiB, and 8 s of compaction at one
    assert found["lambda_gb_s"].days == {"2026-11-01": 4, "2026-11-02": 10}
    assert found["dynamodb_writes"].days == {"2026-11-01": 55, "2026-11-02": 60, "2026-11-03": 1}
    assert found["dynamodb_writes"].exact
    assert found["dynamodb_reads"].units == 0
    assert found["dynamodb_stream_reads"].units == 7
    assert found["dynamodb_gib_months"].units == pytest.approx(4 * PASSED)
    assert found["log_bytes"].units == 3_000
    assert found["log_gib_months"].units == pytest.approx(PASSED)
    assert found["log_retention_days"].units == 30
    assert found["alarm_months"].units == pytest.approx(4 * PASSED)
    assert found["kms_key_months"].units == pytest.approx(PASSED)
    assert found["firehose_bytes"].days == {"2026-11-01": 10 * 5 * 1024, "2026-11-02": 20_000}
    for unknown in ("xray_traces", "egress_bytes", "s3_gets", "s3_puts"):
        assert found[unknown].units is None
        assert found[unknown].source.startswith("unknown: ")
    without, _ = aws({}, to=replace(AWS, alerts_key=""))
    assert without["kms_key_months"].units == 0
    # A stack of an earlier release has a key that its outputs do not name.
    earlier, _ = aws({}, to=replace(AWS, alerts_key="", delivery_stream=""))
    assert earlier["kms_key_months"].units == pytest.approx(PASSED)
    assert "firehose_bytes" not in earlier
    # One call, in several pages, for all that CloudWatch bills.
    assert found["own_metric_reads"].units == len(watch.asked[0]["MetricDataQueries"])
    assert len({str(each["MetricDataQueries"]) for each in watch.asked}) == 1
    assert watch.asked[0]["EndTime"] == datetime.fromtimestamp(END, UTC)


def test_storage_by_the_day() -> None:
    """Two GiB on the first two days. S3 has not reported the next days, one of which is half."""
    found, _ = aws(
        {
            ("BucketSizeBytes", "StandardStorage"): days(2 * GIB, 2 * GIB),
            ("BucketSizeBytes", "GlacierInstantRetrievalStorage"): {"2026-10-31": 9 * GIB},
            ("NumberOfObjects", "AllStorageTypes"): {"2026-10-31": 100} | days(130, 150),
        }
    )
    assert found["s3_gib_months"].units == pytest.approx(2 * Decimal("3.5") / 30)
    assert found["s3_gib_months"].days["2026-11-04"] == pytest.approx(Decimal(1) / 30)
    assert found["s3_glacier_ir_gib_months"].units == 0
    assert found["stored_objects"].units == 150
    assert found["s3_puts"].units == 50  # since the last day of October
    assert not found["s3_puts"].exact
    assert found["s3_gets"].units is None


def test_on_the_first_of_a_month_the_last_known_size_of_a_bucket_counts() -> None:
    """S3 reports the size of a day up to two days later."""
    noon = START + 43_200
    old = {"2026-10-29": 7.0 * GIB, "2026-10-30": 8.0 * GIB}
    found, watch = aws(
        {
            ("BucketSizeBytes", "StandardStorage"): old,
            ("NumberOfObjects", "AllStorageTypes"): {"2026-10-29": 90, "2026-10-30": 100},
        },
        end=noon,
    )
    assert found["s3_gib_months"].days == {"2026-11-01": pytest.approx(Decimal(4) / 30)}
    assert found["s3_puts"].units == 0, "all of them are of last month"
    assert watch.asked[0]["StartTime"] == datetime.fromtimestamp(START - 3 * 86_400, UTC)


def test_a_bucket_without_metrics_has_an_unknown_size() -> None:
    found, _ = aws({})
    assert found["s3_gib_months"].units is None
    assert "up to two days later" in found["s3_gib_months"].source


def test_a_metric_that_cloudwatch_could_not_read_is_not_0() -> None:
    with pytest.raises(Unavailable, match="CloudWatch: InternalError"):
        aws({}, status="InternalError")
    with pytest.raises(Refused, match="CloudWatch: Forbidden"):
        aws({}, status="Forbidden")


def test_request_metrics_are_better_than_a_guess() -> None:
    found, _ = aws(
        {
            ("PutRequests", "EntireBucket"): days(10, 20),
            ("ListRequests", "EntireBucket"): days(1),
            ("GetRequests", "EntireBucket"): days(5),
            ("NumberOfObjects", "AllStorageTypes"): days(1),
        }
    )
    assert (found["s3_puts"].units, found["s3_puts"].exact) == (31, True)
    assert (found["s3_gets"].units, found["s3_gets"].exact) == (5, True)


def test_the_colder_class_of_s3_has_its_part_of_the_reads() -> None:
    """S3 tells the bytes of each class, and objects and reads only of all classes together."""
    moved = {"2026-10-31": 1.0 * GIB} | days(1 * GIB, 3 * GIB)
    known = {
        ("BucketSizeBytes", "StandardStorage"): days(4 * GIB, 4 * GIB),
        ("BucketSizeBytes", "GlacierInstantRetrievalStorage"): moved,
        ("NumberOfObjects", "AllStorageTypes"): {"2026-10-31": 700} | days(700, 700),
    }
    requests = {
        ("GetRequests", "EntireBucket"): days(30),
        ("BytesDownloaded", "EntireBucket"): days(600),
    }
    found, _ = aws(known | requests)
    # Four of twelve GiB-days; two GiB were moved in objects of 10 MiB.
    assert found["s3_glacier_ir_gets"].units == pytest.approx(10)
    assert found["s3_gets"].units == pytest.approx(20)
    assert not found["s3_gets"].exact
    assert found["s3_glacier_ir_retrieved_bytes"].units == pytest.approx(200)
    assert found["s3_glacier_ir_transitions"].days == {
        "2026-11-01": 0,
        "2026-11-02": pytest.approx(200),
    }
    without, _ = aws(known)
    assert without["s3_glacier_ir_gets"].units is None
    assert without["s3_glacier_ir_retrieved_bytes"].units is None
    # Nothing is read from a class that has no objects.
    hot, _ = aws({("BucketSizeBytes", "StandardStorage"): days(GIB)})
    assert hot["s3_glacier_ir_gets"].units == hot["s3_glacier_ir_retrieved_bytes"].units == 0
    assert hot["s3_gets"].units is None


def test_one_refused_call_does_not_stop_the_other_meters() -> None:
    found, _ = aws({("Invocations", "mcloud-processor"): days(10)}, refused=True)
    assert found["lambda_requests"].units == 10
    for meter in ("lambda_gb_s", "dynamodb_gib_months", "log_gib_months"):
        assert found[meter].units is None
        assert "AccessDenied" in found[meter].source
    assert "dynamodb_stream_reads" not in found


class Monitoring:
    """Answers every request with the known values of its metric: (labels, day, value)."""

    def __init__(self, known: Mapping[str, list[tuple[dict[str, str], str, float]]]) -> None:
        self.known = known
        self.asked: list[Any] = []
        self.error: Callable[[str], Exception | None] = lambda metric: None

    def list_time_series(self, request: Any, **_: Any) -> list[Any]:
        assert isinstance(request, ListTimeSeriesRequest)
        self.asked.append(request)
        metric = request.filter.split('"')[1]
        if error := self.error(metric):
            raise error
        start, end = (
            each.timestamp() for each in (request.interval.start_time, request.interval.end_time)
        )
        key = next((name for name in self.known if name in request.filter), metric)
        found = []
        for labels, day, value in self.known.get(key, []):
            closed = min(at(day) + 86_400, END)
            if start < closed <= end:
                series = {
                    "metric": {"type": metric, "labels": labels},
                    "points": [
                        {
                            "interval": {
                                "start_time": {"seconds": int(at(day))},
                                "end_time": {"seconds": int(closed)},
                            },
                            "value": {
                                "int64_value" if isinstance(value, int) else "double_value": value
                            },
                        }
                    ],
                }
                found.append(TimeSeries(series))
        return found


def gcp(
    known: Mapping[str, list[tuple[dict[str, str], str, float]]],
) -> tuple[dict[str, Metered], Monitoring]:
    monitoring = Monitoring(known)
    return by_meter(MonitoringUsage(monitoring, GCP).metered(START, END)), monitoring


def test_usage_on_google_cloud_equals_figures_computed_by_hand() -> None:
    methods = [("WriteObject", 40), ("ListObjects", 2), ("ReadObject", 7), ("DeleteObject", 9)]
    found, monitoring = gcp(
        {
            'topic_id = "trades"': [({}, "2026-11-01", 5_000), ({}, "2026-11-04", 700)],
            'subscription/byte_cost" AND resource.labels.subscription_id = "processor"': [
                ({}, "2026-11-01", 5_000)
            ],
            'subscription/byte_cost" AND resource.labels.subscription_id = "export"': [
                ({}, "2026-11-02", 4_000)
            ],
            "ack_message_count": [({}, "2026-11-01", 5)],
            "push_request_count": [({}, "2026-11-01", 9)],
            'run.googleapis.com/request_count" AND resource.labels.service_name = "mcloud-proc': [
                ({}, "2026-11-02", 30)
            ],
            'run.googleapis.com/request_count" AND resource.labels.service_name = "mcloud-anom': [
                ({}, "2026-11-03", 1_440)
            ],
            'cpu/allocation_time" AND resource.labels.service_name = "mcloud-proc': [
                ({}, "2026-11-02", 1.5)
            ],
            "document/write_ops_count": [({}, "2026-11-01", 20), ({}, "2026-11-02", 30)],
            "document/write_count": [({}, "2026-11-01", 999)],
            "document/read_count": [({}, "2026-11-01", 11)],
            "data_and_index_storage_bytes": [
                ({}, "2026-11-02", 3.0 * GIB),
                ({}, "2026-11-04", 4.0 * GIB),
            ],
            "storage.googleapis.com/api/request_count": [
                ({"method": method}, "2026-11-03", count) for method, count in methods
            ],
            'total_bytes" AND resource.labels.bucket_name = one_of("raw", "staging")': [
                ({"storage_class": "STANDARD"}, "2026-11-01", 30.0 * GIB),
                ({"storage_class": "NEARLINE"}, "2026-11-01", 60.0 * GIB),
            ],
        }
    )
    assert found["pubsub_bytes"].days == {"2026-11-01": 10_000, "2026-11-04": 700}
    assert found["pubsub_bytes"].as_of == END - LAG
    assert found["pubsub_export_bytes"].units == 4_000
    assert found["messages"].units == 5
    assert found["function_requests"].days == {"2026-11-02": 30, "2026-11-03": 1_440}
    assert found["scheduler_job_months"].units == pytest.approx(PASSED)
    assert found["function_vcpu_s"].units == Decimal("1.5")
    assert found["firestore_writes"].days == {"2026-11-01": 20, "2026-11-02": 30}
    assert found["firestore_writes"].exact
    # The older metric is used if the newer one has no value.
    assert found["firestore_reads"].units == 11
    assert "all databases of the project" in found["firestore_reads"].source
    # Three GiB on a day and the next, and four on half of one.
    assert found["firestore_gib_months"].units == pytest.approx(Decimal(8) / 30)
    assert found["gcs_class_a"].units == 42
    assert found["gcs_class_b"].units == 7
    # Only the first day was reported, so the size is assumed to be unchanged since then.
    assert found["gcs_gib_months"].units == pytest.approx(Decimal("3.5"))
    assert found["gcs_nearline_gib_months"].units == pytest.approx(Decimal(7))
    assert found["gcs_coldline_gib_months"].units == 0
    assert found["egress_bytes"].units is None
    series = sum(len(monitoring.list_time_series(each)) for each in list(monitoring.asked))
    assert found["own_metric_reads"].units == series > 10


def test_coldline_has_its_part_of_the_reads() -> None:
    found, monitoring = gcp(
        {
            "api/request_count": [
                ({"method": "ReadObject"}, "2026-11-01", 40),
                ({"method": "WriteObject"}, "2026-11-01", 40),
            ],
            "network/sent_bytes_count": [
                ({"method": "ReadObject"}, "2026-11-01", 800),
                ({"method": "ListObjects"}, "2026-11-01", 800),
            ],
            "storage/v2/total_count": [
                ({"storage_class": "STANDARD"}, "2026-11-01", 30),
                ({"storage_class": "STANDARD"}, "2026-11-02", 30),
                ({"storage_class": "COLDLINE"}, "2026-11-02", 20),
            ],
            "storage/v2/total_bytes": [
                ({"storage_class": "STANDARD"}, "2026-11-01", 1.0 * GIB),
                ({"storage_class": "COLDLINE"}, "2026-11-01", 3.0 * GIB),
            ],
        }
    )
    # A fourth of the objects, and three fourths of the bytes.
    assert (found["gcs_class_b"].units, found["gcs_coldline_class_b"].units) == (30, 10)
    assert found["gcs_class_a"].units == 40
    assert found["gcs_coldline_retrieved_bytes"].units == 600
    assert found["gcs_coldline_transitions"].days == {"2026-11-02": 20}
    assert not found["gcs_class_b"].exact
    monitoring.error = lambda metric: (
        exceptions.NotFound("no such metric") if "total_count" in metric else None
    )
    found = by_meter(MonitoringUsage(monitoring, GCP).metered(START, END))
    assert found["gcs_class_b"].units == 40
    assert found["gcs_coldline_class_b"].units is None
    assert found["gcs_coldline_transitions"].units is None


def test_conditions_of_alert_policies_are_counted() -> None:
    usage = MonitoringUsage(Monitoring({}), GCP, conditions=lambda: 7)
    found = by_meter(usage.metered(START, END))
    assert found["alert_condition_months"].units == pytest.approx(7 * PASSED)

    def refuse() -> int:
        raise Refused("Cloud Monitoring: no permission")

    unknown = by_meter(MonitoringUsage(Monitoring({}), GCP, conditions=refuse).metered(START, END))
    assert unknown["alert_condition_months"].units is None


def test_google_bills_backups_and_retained_messages() -> None:
    """Recovery to a point in time, backups, messages that wait for days, and images."""
    kept = {
        "firestore_pitr_gib_months": "pitr_storage_bytes",
        "firestore_backup_gib_months": "backups_storage_bytes",
        "pubsub_retained_gib_months": "billable_bytes_by_region",
        "image_gib_months": 'repository/size" AND resource.labels.repository_id = "mcloud-func',
    }
    found, _ = gcp({name: [({}, "2026-11-01", 30.0 * GIB)] for name in kept.values()})
    for meter in kept:
        # 3.5 of 30 days; messages wait in three subscriptions.
        times = 3 if meter == "pubsub_retained_gib_months" else 1
        assert found[meter].units == pytest.approx(Decimal("3.5") * times), meter
    assert {PRICES["gcp", meter].free for meter in kept} == {0, Decimal("0.5")}


def test_one_database_of_a_project_has_the_free_tier() -> None:
    daily = {"document/read_ops_count": [({}, "2026-11-01", 40_000)]}
    without = by_meter(MonitoringUsage(Monitoring(daily), GCP, lambda: False).metered(START, END))
    database = {meter for meter, each in without.items() if not each.has_free_tier}
    assert database == {
        *("firestore_reads", "firestore_writes", "firestore_deletes", "firestore_gib_months"),
        *("firestore_pitr_gib_months", "firestore_backup_gib_months"),
    }

    def refuse() -> bool:
        raise Refused("Firestore: no permission")

    unknown = by_meter(MonitoringUsage(Monitoring(daily), GCP, refuse).metered(START, END))
    assert unknown["firestore_reads"].has_free_tier
    assert unknown["firestore_reads"].source.endswith(
        "; whether it has the project's free tier is unknown: Firestore: no permission"
    )


def test_days_are_whole_days_of_utc() -> None:
    _, monitoring = gcp({})
    spans = {
        (
            *(each.interval.start_time.timestamp(), each.interval.end_time.timestamp()),
            each.aggregation.alignment_period.total_seconds(),
        )
        for each in monitoring.asked
    }
    midnight = at("2026-11-04")
    assert spans == {(START, midnight, 86_400.0), (midnight, END, 43_200.0)}
    aligners = {
        each.filter.split('"')[1].rpartition("/")[2]: each.aggregation.per_series_aligner
        for each in monitoring.asked
    }
    assert aligners["total_bytes"] == Aggregation.Aligner.ALIGN_MEAN
    assert aligners["request_count"] == Aggregation.Aligner.ALIGN_DELTA


def test_no_period_reaches_into_the_day_before() -> None:
    """Periods count back from the end, so that a fraction of a second would add another period."""
    monitoring = Monitoring({})
    MonitoringUsage(monitoring, GCP).metered(START, END + 0.4)
    for each in monitoring.asked:
        span = each.interval.end_time.timestamp() - each.interval.start_time.timestamp()
        assert span % each.aggregation.alignment_period.total_seconds() == 0


def test_in_the_first_minute_of_a_month_no_query_is_sent() -> None:
    monitoring = Monitoring({})
    found = by_meter(MonitoringUsage(monitoring, GCP).metered(START, START + 30))
    assert monitoring.asked == []
    assert found["function_requests"].units == 0


def test_one_metric_that_fails_is_unknown_and_all_are_an_error() -> None:
    monitoring = Monitoring({})
    monitoring.error = lambda metric: (
        exceptions.NotFound("no such metric") if "allocation_time" in metric else None
    )
    found = by_meter(MonitoringUsage(monitoring, GCP).metered(START, END))
    assert found["function_vcpu_s"].units is None
    assert "no such metric" in found["function_vcpu_s"].source
    assert found["function_requests"].units == 0
    monitoring.error = lambda metric: exceptions.ServiceUnavailable("away")
    with pytest.raises(Unavailable):
        MonitoringUsage(monitoring, GCP).metered(START, END)


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_every_meter_has_a_price_or_is_known_to_have_none(cloud: str) -> None:
    found = aws({})[0] if cloud == "aws" else gcp({})[0]
    unpriced = {meter for meter in found if (cloud, meter) not in PRICES}
    assert unpriced <= {
        *("messages", "own_metric_reads", "function_seconds", "function_memory_mb"),
        *("stored_objects", "log_retention_days"),
    }


def test_the_embedded_aws_is_queried_like_the_real_one(embedded: State) -> None:
    """CloudWatch, DynamoDB, Lambda and Logs answer in the formats that mcloud reads."""
    site = open_site("aws", embedded.resources()["aws"])
    end = datetime.now(UTC).timestamp()
    found = by_meter(site.usage.metered(Month.of(end).start, end))
    assert found["function_memory_mb"].units
    assert found["dynamodb_gib_months"].units is not None
    assert found["alarm_months"].units is not None
    assert found["own_metric_reads"].units == 35
