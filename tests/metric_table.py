"""The metrics of both clouds that mcloud reads, and what may be asked of them.

The rows are copied from the lists of the clouds, so that a filter, an aligner or a statistic that a
real cloud would refuse, or answer with nothing, fails a test. The tests take the queries from the
plans and from the requests of the adapters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

GAUGE, DELTA = "GAUGE", "DELTA"
INT64, DOUBLE, DISTRIBUTION = "INT64", "DOUBLE", "DISTRIBUTION"

_RUN_CLASSES = frozenset({"1xx", "2xx", "3xx", "4xx", "5xx"})
_PUSH_CLASSES = frozenset(
    {
        *("ack", "deadline_exceeded", "internal", "invalid"),
        *("remote_server_4xx", "remote_server_5xx", "unreachable"),
    }
)


@dataclass(frozen=True)
class GoogleMetric:
    """A row of https://docs.cloud.google.com/monitoring/api/metrics_gcp (of 2026-04-10)."""

    kind: str
    value: str
    resources: tuple[str, ...]
    """Types of the monitored resources; empty for all types."""
    labels: Mapping[str, frozenset[str] | None]
    """Labels, each with its values if the list names them."""


def _run(kind: str, value: str, **labels: frozenset[str] | None) -> GoogleMetric:
    return GoogleMetric(kind, value, ("cloud_run_revision",), labels)


def _subscription(kind: str, value: str, **labels: frozenset[str] | None) -> GoogleMetric:
    return GoogleMetric(kind, value, ("pubsub_subscription",), labels)


def _topic(kind: str, value: str, **labels: frozenset[str] | None) -> GoogleMetric:
    return GoogleMetric(kind, value, ("pubsub_topic",), labels)


def _database(kind: str, **labels: frozenset[str] | None) -> GoogleMetric:
    return GoogleMetric(kind, INT64, ("firestore.googleapis.com/Database",), labels)


def _project_database(**labels: frozenset[str] | None) -> GoogleMetric:
    labels = {"module": None, "version": None, **labels}
    return GoogleMetric(DELTA, INT64, ("firestore_instance",), labels)


_BY_CLASS = {"response_code": None, "response_code_class": _RUN_CLASSES, "route": None}

GOOGLE_METRICS = {
    # metrics_gcp_a_b#gcp-artifactregistry
    "artifactregistry.googleapis.com/repository/size": GoogleMetric(
        GAUGE, INT64, ("artifactregistry.googleapis.com/Repository",), {}
    ),
    # metrics_gcp_d_h#gcp-firestore
    "firestore.googleapis.com/document/read_count": _project_database(type=None),
    "firestore.googleapis.com/document/write_count": _project_database(op=None),
    "firestore.googleapis.com/document/delete_count": _project_database(),
    "firestore.googleapis.com/document/read_ops_count": _database(
        DELTA, type=frozenset({"LOOKUP", "QUERY"})
    ),
    "firestore.googleapis.com/document/write_ops_count": _database(
        DELTA, op=frozenset({"CREATE", "UPDATE"})
    ),
    "firestore.googleapis.com/document/delete_ops_count": _database(DELTA),
    "firestore.googleapis.com/storage/data_and_index_storage_bytes": _database(GAUGE),
    "firestore.googleapis.com/storage/backups_storage_bytes": _database(GAUGE),
    "firestore.googleapis.com/storage/pitr_storage_bytes": _database(GAUGE),
    # metrics_gcp_i_o#gcp-logging
    "logging.googleapis.com/byte_count": GoogleMetric(
        DELTA, INT64, (), {"log": None, "severity": None}
    ),
    # metrics_gcp_p_z#gcp-pubsub
    "pubsub.googleapis.com/subscription/ack_message_count": _subscription(
        DELTA, INT64, delivery_type=frozenset({"push", "pull", "streaming pull", "filter"})
    ),
    "pubsub.googleapis.com/subscription/billable_bytes_by_region": _subscription(
        GAUGE, INT64, region=None, type=None
    ),
    "pubsub.googleapis.com/subscription/byte_cost": _subscription(
        DELTA, INT64, operation_type=None, response_code=None
    ),
    "pubsub.googleapis.com/subscription/num_undelivered_messages": _subscription(GAUGE, INT64),
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age": _subscription(GAUGE, INT64),
    "pubsub.googleapis.com/subscription/push_request_count": _subscription(
        DELTA, INT64, response_class=_PUSH_CLASSES, response_code=None, delivery_type=None
    ),
    "pubsub.googleapis.com/topic/byte_cost": _topic(
        DELTA, INT64, operation_type=None, response_code=None
    ),
    "pubsub.googleapis.com/topic/send_request_count": _topic(
        DELTA,
        INT64,
        response_class=frozenset({"success", "invalid", "internal"}),
        response_code=None,
    ),
    # metrics_gcp_p_z#gcp-run
    "run.googleapis.com/container/billable_instance_time": _run(DELTA, DOUBLE),
    "run.googleapis.com/container/cpu/allocation_time": _run(DELTA, DOUBLE),
    "run.googleapis.com/container/memory/allocation_time": _run(DELTA, DOUBLE),
    "run.googleapis.com/request_count": _run(DELTA, INT64, **_BY_CLASS),
    "run.googleapis.com/request_latencies": _run(DELTA, DISTRIBUTION, **_BY_CLASS),
    # metrics_gcp_p_z#gcp-serviceruntime
    "serviceruntime.googleapis.com/api/request_count": GoogleMetric(
        DELTA,
        INT64,
        ("api", "consumed_api", "produced_api"),
        {
            "protocol": None,
            "response_code": None,
            "response_code_class": _RUN_CLASSES,
            "grpc_status_code": None,
        },
    ),
    # metrics_gcp_p_z#gcp-storage
    "storage.googleapis.com/api/request_count": GoogleMetric(
        DELTA, INT64, ("gcs_bucket",), {"method": None, "response_code": None}
    ),
    "storage.googleapis.com/network/sent_bytes_count": GoogleMetric(
        DELTA, INT64, ("gcs_bucket",), {"method": None, "response_code": None}
    ),
    "storage.googleapis.com/storage/v2/total_bytes": GoogleMetric(
        GAUGE, DOUBLE, ("gcs_bucket",), {"storage_class": None, "type": None}
    ),
    "storage.googleapis.com/storage/v2/total_count": GoogleMetric(
        GAUGE, INT64, ("gcs_bucket",), {"storage_class": None, "type": None}
    ),
}
"""By type. Deprecated metrics are left out."""

GOOGLE_RESOURCES = {
    "artifactregistry.googleapis.com/Repository": {
        *("resource_container", "location", "repository_id"),
    },
    "api": {"project_id", "service", "method", "version", "location"},
    "cloud_run_revision": {
        *("project_id", "service_name", "revision_name", "location", "configuration_name"),
    },
    "consumed_api": {"project_id", "service", "method", "version", "location", "credential_id"},
    "firestore.googleapis.com/Database": {"resource_container", "location", "database_id"},
    "firestore_instance": {"project_id"},
    "gcs_bucket": {"project_id", "bucket_name", "location"},
    "produced_api": {"project_id", "service", "method", "version", "location"},
    "pubsub_subscription": {"project_id", "subscription_id"},
    "pubsub_topic": {"project_id", "topic_id"},
}
"""Labels of each type; https://docs.cloud.google.com/monitoring/api/resources."""

_NUMERIC = frozenset({INT64, DOUBLE})

GOOGLE_ALIGNERS = {
    "ALIGN_NONE": ({GAUGE, DELTA}, {*_NUMERIC, DISTRIBUTION}),
    "ALIGN_DELTA": ({DELTA}, {*_NUMERIC, DISTRIBUTION}),
    "ALIGN_RATE": ({DELTA}, _NUMERIC),
    "ALIGN_MIN": ({GAUGE, DELTA}, _NUMERIC),
    "ALIGN_MAX": ({GAUGE, DELTA}, _NUMERIC),
    "ALIGN_MEAN": ({GAUGE, DELTA}, _NUMERIC),
    "ALIGN_SUM": ({GAUGE, DELTA}, {*_NUMERIC, DISTRIBUTION}),
}
"""Kinds and values that an aligner is for. Those of these aligners that change the value keep it
numeric. https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aligner"""

GOOGLE_REDUCERS = {
    "REDUCE_NONE": {*_NUMERIC, DISTRIBUTION},
    "REDUCE_MAX": _NUMERIC,
    "REDUCE_SUM": {*_NUMERIC, DISTRIBUTION},
    "REDUCE_PERCENTILE_50": {*_NUMERIC, DISTRIBUTION},
    "REDUCE_PERCENTILE_95": {*_NUMERIC, DISTRIBUTION},
}
"""Values that a reducer is for; see above, ``#Reducer``."""

SHORTEST = 60
"""Shortest alignment period, in seconds; see above."""

_TERM = re.compile(
    r"(metric\.type|resource\.type|(?:metric|resource)\.labels?\.\w+) = \"([^\"]*)\""
)
# https://docs.cloud.google.com/monitoring/api/v3/filters
_ONE_OF = re.compile(r"one_of\((\"[^\"]*\")(?:, \"[^\"]*\")*\)")


@dataclass(frozen=True)
class GoogleQuery:
    """A query of Cloud Monitoring: of a condition, a chart or the adapter."""

    filter: str
    aligner: str
    reducer: str
    period: int
    """Alignment period in seconds; 0 if nothing is aligned."""
    group_by: tuple[str, ...] = ()
    is_condition: bool = False
    """Whether it is a condition of an alert policy, which needs the type of the resource."""

    def faults(self) -> list[str]:
        """Return why Cloud Monitoring would refuse the query, or never answer with a value."""
        asked = _ONE_OF.sub(r"\1", self.filter)
        terms = dict(_TERM.findall(asked))
        metric = GOOGLE_METRICS.get(terms.get("metric.type", ""))
        if metric is None or asked != " AND ".join(
            f'{name} = "{each}"' for name, each in terms.items()
        ):
            return [f"not understood: {self.filter}"]
        chosen = terms.get("resource.type")
        kinds = (chosen,) if chosen else metric.resources or tuple(GOOGLE_RESOURCES)
        found = []
        if chosen and metric.resources and chosen not in metric.resources:
            found.append(f"the metric has no resource {chosen}")
        if self.is_condition and not chosen:
            found.append("a condition needs the type of the resource")
        for name, value in (*terms.items(), *((each, None) for each in self.group_by)):
            scope, _, label = name.rpartition(".")
            if scope.startswith("metric.label"):
                if label not in metric.labels:
                    found.append(f"the metric has no label {label}")
                elif value and (metric.labels[label] or {value}).isdisjoint({value}):
                    found.append(f"{label} is never {value}")
            elif scope.startswith("resource.label") and not any(
                label in GOOGLE_RESOURCES[kind] for kind in kinds
            ):
                found.append(f"no resource of the metric has a label {label}")
        of_kind, of_value = GOOGLE_ALIGNERS[self.aligner]
        if metric.kind not in of_kind or metric.value not in of_value:
            found.append(f"{self.aligner} is not for {metric.kind} {metric.value}")
        if metric.value not in GOOGLE_REDUCERS[self.reducer]:
            found.append(f"{self.reducer} is not for {metric.value}")
        if self.reducer != "REDUCE_NONE" and self.aligner == "ALIGN_NONE":
            found.append("a reducer needs an aligner")
        if self.aligner != "ALIGN_NONE" and self.period < SHORTEST:
            found.append(f"a period of {self.period} s is too short")
        return [f"{each}: {self.filter}" for each in found]


@dataclass(frozen=True)
class AwsMetric:
    """A metric of CloudWatch: its dimensions, and the statistics that mean something."""

    dimensions: tuple[frozenset[str], ...]
    """Each set of dimensions under which the service reports it."""
    statistics: frozenset[str]


_LEVEL = frozenset({"Average", "Minimum", "Maximum"})
_SUM = frozenset({"Sum"})
_QUEUE, _FUNCTION, _TABLE = (
    (frozenset({name}),) for name in ("QueueName", "FunctionName", "TableName")
)
_REQUESTS = (frozenset({"BucketName", "FilterId"}),)
_STORAGE = (frozenset({"BucketName", "StorageType"}),)

AWS_METRICS = {
    # SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): AwsMetric(_QUEUE, _LEVEL),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): AwsMetric(_QUEUE, _LEVEL),
    ("AWS/SQS", "ApproximateNumberOfMessagesNotVisible"): AwsMetric(_QUEUE, _LEVEL),
    ("AWS/SQS", "NumberOfEmptyReceives"): AwsMetric(_QUEUE, _SUM),
    ("AWS/SQS", "NumberOfMessagesSent"): AwsMetric(_QUEUE, _SUM),
    ("AWS/SQS", "NumberOfMessagesReceived"): AwsMetric(_QUEUE, _SUM),
    ("AWS/SQS", "NumberOfMessagesDeleted"): AwsMetric(_QUEUE, _SUM),
    ("AWS/SQS", "SentMessageSize"): AwsMetric(_QUEUE, _LEVEL | _SUM),
    # lambda/latest/dg/monitoring-metrics-types.html: percentiles of Duration are supported
    ("AWS/Lambda", "Invocations"): AwsMetric(_FUNCTION, _SUM),
    ("AWS/Lambda", "Errors"): AwsMetric(_FUNCTION, _SUM),
    ("AWS/Lambda", "Throttles"): AwsMetric(_FUNCTION, _SUM),
    ("AWS/Lambda", "Duration"): AwsMetric(_FUNCTION, _LEVEL | _SUM | {"p50", "p95"}),
    # amazondynamodb/latest/developerguide/metrics-dimensions.html
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): AwsMetric(_TABLE, _LEVEL | _SUM),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits"): AwsMetric(_TABLE, _LEVEL | _SUM),
    ("AWS/DynamoDB", "WriteThrottleEvents"): AwsMetric(_TABLE, _SUM | {"SampleCount"}),
    ("AWS/DynamoDB", "SuccessfulRequestLatency"): AwsMetric(
        (
            frozenset({"TableName", "Operation"}),
            frozenset({"TableName", "Operation", "StreamLabel"}),
        ),
        _LEVEL | {"SampleCount"},
    ),
    # AmazonS3/latest/userguide/metrics-dimensions.html
    ("AWS/S3", "BucketSizeBytes"): AwsMetric(_STORAGE, frozenset({"Average"})),
    ("AWS/S3", "NumberOfObjects"): AwsMetric(_STORAGE, frozenset({"Average"})),
    **{
        ("AWS/S3", name): AwsMetric(_REQUESTS, _SUM)
        for name in (
            *("BytesDownloaded", "GetRequests", "HeadRequests", "ListRequests", "PutRequests"),
        )
    },
    # firehose/latest/dev/cloudwatch-metrics.html
    **{
        ("AWS/Firehose", name): AwsMetric((frozenset({"DeliveryStreamName"}),), _SUM)
        for name in ("IncomingBytes", "IncomingRecords")
    },
    ("AWS/Firehose", "DeliveryToS3.DataFreshness"): AwsMetric(
        (frozenset({"DeliveryStreamName"}),), _LEVEL
    ),
    # AmazonCloudWatch/latest/logs/CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html
    ("AWS/Logs", "IncomingBytes"): AwsMetric((frozenset({"LogGroupName"}),), _SUM),
}
"""By namespace and name; pages of https://docs.aws.amazon.com."""

STORAGE_TYPES = {
    "BucketSizeBytes": {
        *("StandardStorage", "StandardIAStorage", "StandardIASizeOverhead"),
        *("GlacierInstantRetrievalStorage", "GlacierIRSizeOverhead"),
    },
    "NumberOfObjects": {"AllStorageTypes"},
}
"""Values of the dimension StorageType that belong to the classes of the module."""


@dataclass(frozen=True)
class AwsQuery:
    """A query of CloudWatch: of an alarm, a chart or the adapter."""

    namespace: str
    name: str
    statistic: str
    dimensions: Mapping[str, str]
    period: int

    def faults(self) -> list[str]:
        """Return why CloudWatch would never answer the query with a value that is meant."""
        metric = AWS_METRICS.get((self.namespace, self.name))
        about = f"{self.namespace} {self.name}"
        if metric is None:
            return [f"unknown: {about}"]
        found = []
        if frozenset(self.dimensions) not in metric.dimensions:
            found.append(f"not reported under {', '.join(self.dimensions)}")
        storage = self.dimensions.get("StorageType")
        if storage and storage not in STORAGE_TYPES[self.name]:
            found.append(f"StorageType is never {storage}")
        if self.statistic not in metric.statistics:
            found.append(f"the statistic {self.statistic} means nothing")
        if self.period % SHORTEST:
            found.append(f"no period of whole minutes: {self.period} s")
        return [f"{each}: {about}" for each in found]
