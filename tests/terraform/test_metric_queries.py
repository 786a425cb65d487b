"""The conditions and charts of both modules, from their plans, against the table of metrics."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from metric_table import GOOGLE_RESOURCES, AwsQuery, GoogleQuery

from .module import only, resources, values


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def conditions(state: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return the conditions of a kind of all alert policies."""
    return [
        each
        for policy in values(state, "google_monitoring_alert_policy")
        for condition in policy["conditions"]
        for each in condition[kind] or ()
    ]


def google_conditions(state: list[dict[str, Any]]) -> Iterator[GoogleQuery]:
    for condition in conditions(state, "condition_threshold"):
        (how,) = condition["aggregations"]
        yield GoogleQuery(
            condition["filter"],
            how["per_series_aligner"],
            how["cross_series_reducer"],
            seconds(how["alignment_period"]),
            is_condition=True,
        )


def google_charts(state: list[dict[str, Any]]) -> Iterator[GoogleQuery]:
    dashboard = json.loads(only(state, "google_monitoring_dashboard", "this")["dashboard_json"])
    for tile in dashboard["mosaicLayout"]["tiles"]:
        for line in tile["widget"]["xyChart"]["dataSets"]:
            chart = line["timeSeriesQuery"]["timeSeriesFilter"]
            how = chart["aggregation"]
            yield GoogleQuery(
                chart["filter"],
                how["perSeriesAligner"],
                how["crossSeriesReducer"],
                seconds(how["alignmentPeriod"]),
            )


def test_conditions_and_charts_of_google(gcp_state: list[dict[str, Any]]) -> None:
    asked = [*google_conditions(gcp_state), *google_charts(gcp_state)]
    assert len(asked) > 15
    assert [fault for query in asked for fault in query.faults()] == []


def test_promql_reads_the_metric_of_the_log(gcp_state: list[dict[str, Any]]) -> None:
    """https://cloud.google.com/monitoring/promql/promql-mapping"""
    (condition,) = conditions(gcp_state, "condition_prometheus_query_language")
    (metric,) = values(gcp_state, "google_logging_metric")
    name, resource = re.findall(r'(\w+:\w+)\{monitored_resource="([^"]+)"\}', condition["query"])[0]
    mapped = re.sub(r"\W", "_", metric["name"])
    assert name == f"logging_googleapis_com:user_{mapped}"
    assert f'resource.type = "{resource}"' in metric["filter"]
    # `increase` is for counters.
    assert metric["metric_descriptor"][0]["metric_kind"] == "DELTA"
    assert f"increase({name}" in condition["query"]


def test_filters_of_logs_name_labels_of_their_resource(gcp_state: list[dict[str, Any]]) -> None:
    filters = [
        *(each["filter"] for each in conditions(gcp_state, "condition_matched_log")),
        *(each["filter"] for each in values(gcp_state, "google_logging_metric")),
        *(each["filter"] for each in values(gcp_state, "google_logging_project_exclusion")),
    ]
    assert len(filters) == 3
    for each in filters:
        (resource,) = re.findall(r'resource\.type = "([^"]+)"', each)
        assert set(re.findall(r"resource\.labels\.(\w+)", each)) <= GOOGLE_RESOURCES[resource]


def aws_alarms(planned: list[dict[str, Any]]) -> Iterator[AwsQuery]:
    for alarm in values(planned, "aws_cloudwatch_metric_alarm"):
        yield AwsQuery(
            alarm["namespace"],
            alarm["metric_name"],
            alarm["statistic"],
            alarm["dimensions"] or {},
            alarm["period"],
        )


def aws_charts(planned: list[dict[str, Any]]) -> Iterator[AwsQuery]:
    dashboard = json.loads(only(planned, "aws_cloudwatch_dashboard", "this")["dashboard_body"])
    for widget in dashboard["widgets"]:
        for namespace, name, *dimensions, how in widget["properties"]["metrics"]:
            yield AwsQuery(
                namespace,
                name,
                how["stat"],
                dict(zip(dimensions[::2], dimensions[1::2], strict=True)),
                widget["properties"]["period"],
            )


def test_alarms_and_charts_of_aws(aws_plan: dict[str, Any]) -> None:
    planned = resources(aws_plan["planned_values"])
    (own,) = values(planned, "aws_cloudwatch_log_metric_filter")
    (made,) = own["metric_transformation"]
    asked = [*aws_alarms(planned), *aws_charts(planned)]
    # A metric of our own has no dimensions, and a sum.
    ours = [each for each in asked if each.namespace == made["namespace"]]
    assert [(each.name, each.statistic, dict(each.dimensions)) for each in ours] == [
        (made["name"], "Sum", {})
    ]
    services = [each for each in asked if each not in ours]
    assert len(services) > 15
    assert [fault for query in services for fault in query.faults()] == []


@pytest.mark.parametrize(
    "name", ["mcloud-trades-processor", "mcloud-trades-dlq", "mcloud-trades-export"]
)
def test_the_names_in_filters_are_those_of_resources(
    gcp_state: list[dict[str, Any]], name: str
) -> None:
    """Cloud Monitoring accepts a filter with a name that does not exist, and it never matches."""
    there = {
        each["name"].rpartition("/")[2] for each in values(gcp_state, "google_pubsub_subscription")
    }
    asked = [*google_conditions(gcp_state), *google_charts(gcp_state)]
    named = {
        found
        for query in asked
        for found in re.findall(r'subscription_id = "([^"]+)"', query.filter)
    }
    assert name in named
    assert named <= there
