"""Cloud Monitoring: alert policies, notification channels and dashboards."""

import re
from collections.abc import Iterator

from ..call import Call
from ..cloud import Cloud
from ..hooks import Change, after_delete, answer, before_delete, check, complete, new_id
from ..limits import check_duration, check_labels, seconds
from ..names import Json, new_number, new_uuid, timestamp
from ..refusal import invalid, missing, precondition

POLICIES = "monitoring.projects.alertPolicies"
CHANNELS = "monitoring.projects.notificationChannels"
DASHBOARDS = "monitoring.projects.dashboards"

CONDITIONS = ("conditionThreshold", "conditionAbsent")
CHANNEL_LABELS = {
    "email": {"email_address"},
    "pubsub": {"topic"},
    "sms": {"number"},
    "webhook_tokenauth": {"url"},
    "pagerduty": {"service_key"},
    "slack": {"channel_name", "auth_token"},
}
"""Labels of the types of channels, which their descriptors require.

https://docs.cloud.google.com/monitoring/alerts/using-channels-api
"""

new_id(POLICIES)(new_number)
new_id(CHANNELS)(new_number)
new_id(DASHBOARDS)(new_uuid)


@check(POLICIES)
def check_policy(cloud: Cloud, change: Change) -> None:
    policy = change.resource
    conditions = policy.get("conditions", [])
    if not 1 <= len(conditions) <= 6:
        raise invalid("A policy has from one to six conditions.")
    if len(policy.get("documentation", {}).get("content", "")) > 8192:
        raise invalid("The documentation has at most 8,192 characters.")
    check_labels(policy, "userLabels")
    for condition in conditions:
        for kind in CONDITIONS:
            if kind in condition:
                _check_condition(kind, condition[kind])
        log_match = "conditionMatchedLog" in condition
        if log_match and "notificationRateLimit" not in policy.get("alertStrategy", {}):
            raise invalid("A policy for log matches has a notification rate limit.")
    closing = policy.get("alertStrategy", {}).get("autoClose")
    # https://docs.cloud.google.com/monitoring/alerts/incidents-events: 30 minutes to 7 days
    check_duration("autoClose", closing, 30 * 60, 7 * 24 * 3600)
    for channel in policy.get("notificationChannels", []):
        if not cloud.exists("monitoring", channel):
            raise missing(f"Notification channel {channel} does not exist.")


def _check_condition(kind: str, condition: Json) -> None:
    searched = condition["filter"]
    for named in ("metric", "resource"):
        if not re.search(rf"\b{named}\.type\s*=|\b{named}\.type\s*:|{named}\.type\s*=", searched):
            raise invalid(
                f"The supplied filter does not specify a valid combination of metric and"
                f" monitored resource descriptors: it has no {named}.type."
            )
    duration = condition.get("duration", "0s")
    if seconds(duration) % 60:
        raise invalid(f"The duration {duration} is no multiple of a minute.")
    if kind == "conditionAbsent":
        # https://docs.cloud.google.com/monitoring/alerts/types-of-conditions: 23.5 hours
        check_duration("duration", duration, 120, 23.5 * 3600)
    elif condition.get("comparison") not in ("COMPARISON_LT", "COMPARISON_GT"):
        raise invalid("Only COMPARISON_LT and COMPARISON_GT are supported.")
    if condition.get("evaluationMissingData") and seconds(duration) < 60:
        raise invalid("evaluationMissingData needs a duration of at least 60 seconds.")
    for aggregation in condition.get("aggregations", []):
        _check_aggregation(aggregation)


def _check_aggregation(aggregation: Json) -> None:
    aligner = aggregation.get("perSeriesAligner", "ALIGN_NONE")
    if aligner != "ALIGN_NONE":
        # 25 hours for alerting policies
        check_duration("alignmentPeriod", aggregation.get("alignmentPeriod", "0s"), 60, 90_000)
    elif aggregation.get("crossSeriesReducer", "REDUCE_NONE") != "REDUCE_NONE":
        raise invalid("A reducer needs a per-series aligner.")


@complete(POLICIES)
def complete_policy(cloud: Cloud, change: Change) -> None:
    record = {"mutateTime": timestamp(), "mutatedBy": "owner@example.com"}
    if change.is_new:
        change.resource["creationRecord"] = record
    change.resource["mutationRecord"] = record
    change.resource.setdefault("enabled", True)
    for condition in change.resource["conditions"]:
        if not condition.get("name"):
            condition["name"] = f"{change.name}/conditions/{new_number()}"


@check(CHANNELS)
def check_channel(cloud: Cloud, change: Change) -> None:
    channel = change.resource
    kind, labels = channel.get("type", ""), channel.get("labels", {})
    if kind not in CHANNEL_LABELS:
        raise invalid(f"Unknown channel type '{kind}'.")
    if lacking := CHANNEL_LABELS[kind] - set(labels):
        raise invalid(f"A channel of type {kind} has the label {', '.join(sorted(lacking))}.")
    if kind == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", labels["email_address"]):
        raise invalid(f"{labels['email_address']} is no email address.")
    check_labels(channel, "userLabels")


@complete(CHANNELS)
def complete_channel(cloud: Cloud, change: Change) -> None:
    change.resource.setdefault("enabled", True)
    record = {"mutateTime": timestamp()}
    if change.is_new:
        change.resource["creationRecord"] = record
    change.resource["mutationRecords"] = [record]


@before_delete(CHANNELS)
def keep_referenced(cloud: Cloud, call: Call, channel: Json) -> None:
    users = [
        name
        for (api, name), other in cloud.store.items()
        if api == "monitoring" and call.name in other.get("notificationChannels", [])
    ]
    if users and call.query.get("force") != "true":
        names = ", ".join(f'"{user}"' for user in users)
        raise precondition(
            f'Could not delete "{call.name}" because it is still being referenced by: {names}'
        )


@after_delete(CHANNELS)
def remove_references(cloud: Cloud, call: Call, channel: Json) -> None:
    for (api, _), other in cloud.store.items():
        if api == "monitoring" and call.name in other.get("notificationChannels", []):
            other["notificationChannels"].remove(call.name)


@check(DASHBOARDS)
def check_dashboard(cloud: Cloud, change: Change) -> None:
    layout = change.resource.get("mosaicLayout")
    if layout is None:
        return
    columns = layout.get("columns", 0)
    if not 1 <= columns <= 48:
        raise invalid(f"A mosaic has from 1 to 48 columns, not {columns}.")
    taken: set[tuple[int, int]] = set()
    for tile in layout.get("tiles", []):
        if tile.get("width", 0) < 1 or tile.get("height", 0) < 1:
            raise invalid("A tile is at least 1 wide and 1 high.")
        if tile.get("xPos", 0) < 0 or tile.get("yPos", 0) < 0:
            raise invalid("The position of a tile is not negative.")
        if tile.get("xPos", 0) + tile["width"] > columns:
            raise invalid(f"A tile ends right of the {columns} columns.")
        own = set(_blocks(tile))
        # https://docs.cloud.google.com/monitoring/dashboards/api-dashboard: tiles do not overlap
        if own & taken:
            raise invalid("Two tiles overlap.")
        taken |= own


def _blocks(tile: Json) -> Iterator[tuple[int, int]]:
    """Yield the blocks of the grid that a tile covers."""
    left, top = tile.get("xPos", 0), tile.get("yPos", 0)
    for x in range(left, left + tile["width"]):
        for y in range(top, top + tile["height"]):
            yield x, y


@complete(DASHBOARDS)
def complete_dashboard(cloud: Cloud, change: Change) -> None:
    project = change.name.split("/")[1]
    number = cloud.number_of(project)
    change.resource["name"] = change.name.replace(f"projects/{project}/", f"projects/{number}/")


@answer("monitoring.projects.timeSeries.list")
def list_time_series(cloud: Cloud, call: Call) -> Json:
    """Return no series; the filter names one type of metric."""
    if "interval.endTime" not in call.query:
        raise invalid("Field interval.endTime had an invalid value: it is required.")
    if len(re.findall(r"metric\.type\s*=", str(call.query.get("filter", "")))) != 1:
        raise invalid("Field filter had an invalid value: it must specify one metric type.")
    return {"timeSeries": [], "unit": "1"}
