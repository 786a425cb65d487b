"""Cloud Monitoring and Cloud Logging."""

from typing import Any

from ..google import Request
from ..names import Json
from .rule import DOCS, Described, P, Wrong, ask

FILTER = 'metric.type="pubsub.googleapis.com/topic/byte_cost" AND resource.type="pubsub_topic"'


def alert(
    where: str = FILTER, count: int = 1, kind: str = "conditionThreshold", **more: Any
) -> Request:
    limits = {"comparison": "COMPARISON_GT"} if kind == "conditionThreshold" else {}
    condition = {"filter": where, "duration": "300s", **limits, **more.pop("condition", {})}
    return ask(
        f"POST monitoring/v3/{P}/alertPolicies",
        displayName="alert",
        combiner="OR",
        conditions=[{"displayName": "condition", kind: condition}] * count,
        **more,
    )


def aggregated(**aggregation: str) -> Request:
    return alert(condition={"aggregations": [aggregation]})


def channel(kind: str, **labels: str) -> Request:
    return ask(f"POST monitoring/v3/{P}/notificationChannels", type=kind, labels=labels)


def dashboard(*tiles: Json, columns: int = 12) -> Request:
    layout = {"columns": columns, "tiles": [{"width": 6, "height": 4, **tile} for tile in tiles]}
    return ask(f"POST monitoring/v1/{P}/dashboards", displayName="d", mosaicLayout=layout)


def metric(name: str = "errors", **body: Any) -> Request:
    return ask(f"POST logging/v2/{P}/metrics", name=name, filter="severity>=ERROR", **body)


def exclusion(name: str) -> Request:
    return ask(f"POST logging/v2/{P}/exclusions", name=name, filter="severity<ERROR")


def search(**body: Any) -> Request:
    return ask("POST logging/v2/entries:list", **{"resourceNames": [P], **body})


CHANNEL = f"{P}/notificationChannels/1"

WRONG = [
    Wrong(
        "The filter of an alert names the type of resource.",
        Described(
            "monitoring.v3", "MetricThreshold.filter", "the metric type and the resource type"
        ),
        alert('metric.type="pubsub.googleapis.com/topic/byte_cost"'),
        alert(FILTER),
        says="it has no resource.type",
    ),
    Wrong(
        "A policy has at most six conditions.",
        Described("monitoring.v3", "AlertPolicy.conditions", "from one to six conditions"),
        alert(count=7),
        alert(count=6),
        says="from one to six",
    ),
    Wrong(
        "A duration is a multiple of a minute.",
        Described("monitoring.v3", "MetricThreshold.duration", "multiple of a minute"),
        alert(condition={"duration": "90s"}),
        alert(condition={"duration": "120s"}),
        says="no multiple of a minute",
    ),
    Wrong(
        "An alert compares with greater or less.",
        Described("monitoring.v3", "MetricThreshold.comparison", "Only COMPARISON_LT and"),
        alert(condition={"comparison": "COMPARISON_GE"}),
        alert(condition={"comparison": "COMPARISON_GT"}),
        says="Only COMPARISON_LT and COMPARISON_GT",
    ),
    Wrong(
        "Absence is seen after 2 minutes at the earliest.",
        Described("monitoring.v3", "MetricAbsence.duration", "is 120 seconds"),
        alert(kind="conditionAbsent", condition={"duration": "60s"}),
        alert(kind="conditionAbsent", condition={"duration": "120s"}),
        says="60s is not between 120",
    ),
    Wrong(
        "An alignment takes at least a minute.",
        Described("monitoring.v3", "Aggregation.alignmentPeriod", "at least 60 seconds"),
        aggregated(alignmentPeriod="30s", perSeriesAligner="ALIGN_SUM"),
        aggregated(alignmentPeriod="60s", perSeriesAligner="ALIGN_SUM"),
    ),
    Wrong(
        "The alignment of an alert takes at most 25 hours.",
        Described("monitoring.v3", "Aggregation.alignmentPeriod", "90,000 seconds (25 hours)"),
        aggregated(alignmentPeriod="90001s", perSeriesAligner="ALIGN_SUM"),
        aggregated(alignmentPeriod="90000s", perSeriesAligner="ALIGN_SUM"),
    ),
    Wrong(
        "Series are aligned before they are reduced.",
        Described("monitoring.v3", "Aggregation.crossSeriesReducer", "must not be ALIGN_NONE"),
        aggregated(crossSeriesReducer="REDUCE_SUM"),
        aggregated(
            crossSeriesReducer="REDUCE_SUM", perSeriesAligner="ALIGN_SUM", alignmentPeriod="60s"
        ),
        says="needs a per-series aligner",
    ),
    Wrong(
        "Missing data is evaluated after a minute at the earliest.",
        Described("monitoring.v3", "MetricThreshold.evaluationMissingData", "to 60 seconds"),
        alert(
            condition={"duration": "0s", "evaluationMissingData": "EVALUATION_MISSING_DATA_ACTIVE"}
        ),
        alert(
            condition={"duration": "60s", "evaluationMissingData": "EVALUATION_MISSING_DATA_ACTIVE"}
        ),
        says="at least 60 seconds",
    ),
    Wrong(
        "The documentation of an alert has at most 8,192 characters.",
        Described("monitoring.v3", "Documentation.content", "8,192 Unicode characters"),
        alert(documentation={"content": "x" * 8193}),
        alert(documentation={"content": "x" * 8192}),
        says="8,192",
    ),
    Wrong(
        "Incidents close after 30 minutes at the earliest.",
        f"{DOCS}/monitoring/alerts/incidents-events",
        alert(alertStrategy={"autoClose": "1799s"}),
        alert(alertStrategy={"autoClose": "1800s"}),
    ),
    Wrong(
        "The channel of an alert exists.",
        f"{DOCS}/monitoring/alerts/using-channels-api",
        alert(notificationChannels=[CHANNEL]),
        alert(notificationChannels=[]),
        404,
        "NOT_FOUND",
        "does not exist",
    ),
    Wrong(
        "A channel has a known type.",
        Described(
            "monitoring.v3", "NotificationChannel.type", "NotificationChannelDescriptor.type"
        ),
        channel("mail", email_address="ops@example.com"),
        channel("email", email_address="ops@example.com"),
        says="Unknown channel type 'mail'",
    ),
    Wrong(
        "A channel has the labels of its type.",
        Described("monitoring.v3", "NotificationChannel.labels", "permissible and required labels"),
        channel("email", address="ops@example.com"),
        channel("email", email_address="ops@example.com"),
        says="has the label email_address",
    ),
    Wrong(
        "A label of an alert is in lower case.",
        Described("monitoring.v3", "AlertPolicy.userLabels", "only lowercase letters"),
        alert(userLabels={"stack": "Mcloud"}),
        alert(userLabels={"stack": "mcloud"}),
    ),
    Wrong(
        "Tiles are within the columns of their dashboard.",
        Described("monitoring.v1", "Tile.xPos", "within the specified number of columns"),
        dashboard({"xPos": 7}),
        dashboard({"xPos": 6}),
        says="ends right of the 12 columns",
    ),
    Wrong(
        "Tiles do not overlap.",
        "https://github.com/GoogleCloudPlatform/monitoring-dashboard-samples/pull/1144",
        dashboard({}, {"xPos": 5}),
        dashboard({}, {"xPos": 6}),
        says="Two tiles overlap",
    ),
    Wrong(
        "A dashboard has at most 48 columns.",
        Described("monitoring.v1", "MosaicLayout.columns", "between 1 and 48"),
        dashboard(columns=49),
        dashboard(columns=48),
        says="from 1 to 48",
    ),
    Wrong(
        "The name of a metric has no spaces.",
        Described("logging.v2", "LogMetric.name", "can include only the following characters"),
        metric("our errors"),
        metric("our/errors"),
        says="Invalid metric 'our errors'",
    ),
    Wrong(
        "A distribution has a value extractor.",
        Described(
            "logging.v2", "LogMetric.valueExtractor", "is required when using a distribution"
        ),
        metric(metricDescriptor={"valueType": "DISTRIBUTION"}),
        metric(
            metricDescriptor={"valueType": "DISTRIBUTION"}, valueExtractor="EXTRACT(jsonPayload.ms)"
        ),
        says="has a value extractor",
    ),
    Wrong(
        "A label of a metric has an extractor.",
        Described("logging.v2", "LogMetric.labelExtractors", "must have an associated extractor"),
        metric(metricDescriptor={"labels": [{"key": "symbol"}]}),
        metric(
            metricDescriptor={"labels": [{"key": "symbol"}]},
            labelExtractors={"symbol": "EXTRACT(jsonPayload.symbol)"},
        ),
        says="Every label has an extractor",
    ),
    Wrong(
        "The name of an exclusion begins with a letter or a digit.",
        Described("logging.v2", "LogExclusion.name", "First character has to be alphanumeric"),
        exclusion("-pushes"),
        exclusion("pushes"),
        says="Invalid exclusion '-pushes'",
    ),
    Wrong(
        "A project has at most ten exclusions.",
        Described("logging.v2", "logging.projects.exclusions.create", "up to 10 exclusions"),
        exclusion("eleventh"),
        ask(f"PATCH logging/v2/{P}/exclusions/e9?updateMask=filter", filter="severity<INFO"),
        says="10 exclusions",
        before=tuple(exclusion(f"e{number}") for number in range(10)),
    ),
    Wrong(
        "Log lines come in the order of time.",
        Described("logging.v2", "ListLogEntriesRequest.orderBy", "the only permitted values"),
        search(orderBy="severity asc"),
        search(orderBy="timestamp asc"),
        says="Invalid order",
    ),
]
