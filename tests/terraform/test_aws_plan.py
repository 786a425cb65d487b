"""The plan of the AWS module."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcloud.alerts.rules import Rules
from mcloud.clouds.aws.usage import COMPACT_MEMORY
from mcloud.cost.unmetered import fixed
from mcloud.market.trade import CANARY
from mcloud.processor.compaction import COMPACTIONS

from .module import Module, only, resources, values

PEOPLE = ("producer", "replicator", "operator")


@pytest.fixture
def planned(aws_plan: dict[str, Any]) -> list[dict[str, Any]]:
    return resources(aws_plan["planned_values"])


def test_queue_outlives_the_function(planned: list[dict[str, Any]]) -> None:
    queue = only(planned, "aws_sqs_queue", "trades")
    function = only(planned, "aws_lambda_function", "processor")
    assert queue["visibility_timeout_seconds"] >= 6 * function["timeout"]
    # A dead letter keeps the date of its message: the last that the queue holds has days left.
    kept = [
        only(planned, "aws_sqs_queue", name)["message_retention_seconds"] // 86_400
        for name in ("trades", "dlq")
    ]
    assert kept == [10, 14]


def test_small_raw_objects_keep_their_storage_class(planned: list[dict[str, Any]]) -> None:
    """Each move to another class is billed."""
    rules = only(planned, "aws_s3_bucket_lifecycle_configuration", "raw")["rule"]
    (moving,) = [rule for rule in rules if rule["transition"]]
    assert moving["filter"][0]["and"][0]["object_size_greater_than"] == 131_072
    assert [each["storage_class"] for each in moving["transition"]] == ["GLACIER_IR"]


def test_mapping_answers_by_the_message(planned: list[dict[str, Any]]) -> None:
    mapping = only(planned, "aws_lambda_event_source_mapping", "trades")
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert mapping["batch_size"] == 100
    assert mapping["maximum_batching_window_in_seconds"] == 1  # SQS requires one above 10
    (scaling,) = mapping["scaling_config"]
    assert scaling["maximum_concurrency"] == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "window"),
    [
        ({"freshness": 0}, 1),
        ({"freshness": 60}, 2),
        ({"freshness": 600}, 5),
        ({"freshness": 600, "batch_window": 3}, 3),
    ],
)
def test_the_batch_window_follows_from_the_freshness(
    aws: Module, bundles: dict[str, str], variables: dict[str, object], window: int
) -> None:
    plan = aws.plan(bundle=bundles["aws"], **variables)
    planned = resources(plan["planned_values"])
    mapping = only(planned, "aws_lambda_event_source_mapping", "trades")
    assert mapping["maximum_batching_window_in_seconds"] == window
    assert plan["planned_values"]["outputs"]["freshness"]["value"] == str(variables["freshness"])


def test_concurrency_and_tracing_are_off_by_default(
    planned: list[dict[str, Any]],
) -> None:
    """A new account may run 10 functions in all, and Lambda refuses to reserve any of them."""
    for name in ("processor", "anomaly", "compact"):
        function = only(planned, "aws_lambda_function", name)
        assert function["reserved_concurrent_executions"] == -1
        assert [each["mode"] for each in function["tracing_config"]] == ["PassThrough"]


@pytest.mark.slow
def test_concurrency_may_be_reserved(aws: Module, bundles: dict[str, str]) -> None:
    plan = aws.plan(bundle=bundles["aws"], reserve_concurrency=True)
    planned = resources(plan["planned_values"])
    reserved = [
        only(planned, "aws_lambda_function", name)["reserved_concurrent_executions"]
        for name in ("processor", "anomaly", "compact")
    ]
    assert reserved == [10, 1, 1]


def test_the_processor_has_its_settings(planned: list[dict[str, Any]]) -> None:
    function = only(planned, "aws_lambda_function", "processor")
    assert function["architectures"] == ["arm64"]
    assert function["handler"] == "processor.handler"
    (environment,) = function["environment"]
    assert environment["variables"]["CANDLES_TABLE"] == "mcloud-candles"
    assert environment["variables"]["CONTROL_TABLE"] == "mcloud-control"
    assert function["logging_config"][0]["log_format"] == "JSON"


def test_tables_have_their_keys_and_are_protected(planned: list[dict[str, Any]]) -> None:
    keys = {"candles": ("symbol", "timestamp"), "control": ("kind", "key")}
    for name, (hash_key, range_key) in keys.items():
        table = only(planned, "aws_dynamodb_table", name)
        assert (table["hash_key"], table["range_key"]) == (hash_key, range_key)
        assert {each["type"] for each in table["attribute"]} == {"S"}
        assert table["billing_mode"] == "PAY_PER_REQUEST"
        assert table["deletion_protection_enabled"]
        assert table["server_side_encryption"][0]["enabled"]
    assert only(planned, "aws_dynamodb_table", "candles")["stream_view_type"] == "NEW_IMAGE"


@pytest.mark.slow
def test_capacity_may_be_provisioned(aws: Module, bundles: dict[str, str]) -> None:
    plan = aws.plan(bundle=bundles["aws"], candles_capacity={"write": 25, "read": 5})
    planned = resources(plan["planned_values"])
    candles = only(planned, "aws_dynamodb_table", "candles")
    assert candles["billing_mode"] == "PROVISIONED"
    assert (candles["write_capacity"], candles["read_capacity"]) == (25, 5)
    assert only(planned, "aws_dynamodb_table", "control")["billing_mode"] == "PAY_PER_REQUEST"


def test_everything_is_tagged(planned: list[dict[str, Any]]) -> None:
    taggable = [each for each in planned if "tags_all" in each.get("values", {})]
    assert len(taggable) > 20
    for each in taggable:
        tags = each["values"]["tags_all"]
        # Nobody's tags take the place of these two: bills are found by them.
        wanted = {"team": "desk", "application": "mcloud", "stack": "mcloud"}
        assert tags == wanted, each["address"]


def test_alarms_are_those_of_the_rules(
    planned: list[dict[str, Any]], small_aws_plan: dict[str, Any]
) -> None:
    """The important rules of ``mcloud alerts`` work without a machine of the user."""
    limits = {
        each["alarm_name"]: (
            each["metric_name"],
            each["comparison_operator"],
            each["threshold"],
            each["treat_missing_data"],
        )
        for each in values(planned, "aws_cloudwatch_metric_alarm")
    }
    above = "GreaterThanThreshold"
    rules = {rule.name: rule for rule in Rules().rules}
    depth, age = "ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"
    assert limits == {
        "mcloud-dead-letters": (depth, above, rules["dead-letters"].above, "notBreaching"),
        "mcloud-message-age": (age, above, rules["message-age"].above, "notBreaching"),
        "mcloud-function-errors": ("Errors", above, 0, "notBreaching"),
        "mcloud-anomaly-errors": ("Errors", above, 0, "notBreaching"),
        "mcloud-compact-errors": ("Errors", above, 0, "notBreaching"),
        "mcloud-function-throttles": ("Throttles", above, 0, "notBreaching"),
        "mcloud-candles-throttles": ("WriteThrottleEvents", above, 0, "notBreaching"),
        "mcloud-control-throttles": ("WriteThrottleEvents", above, 0, "notBreaching"),
        "mcloud-silence": ("TradesStored", "LessThanThreshold", 1, "breaching"),
    }
    # All but the alarm of max_silence exist with the defaults, which the estimate prices.
    assert fixed("aws")["alarm_months"] == len(limits) - 1
    silence = only(planned, "aws_cloudwatch_metric_alarm", "silence")
    assert silence["period"] * silence["evaluation_periods"] == 900
    # It counts stored trades, without canaries.
    counted = only(planned, "aws_cloudwatch_log_metric_filter", "stored")
    (made,) = counted["metric_transformation"]
    assert (made["namespace"], made["name"]) == (silence["namespace"], silence["metric_name"])
    assert counted["log_group_name"] == "/aws/lambda/mcloud-processor"
    assert counted["pattern"] == f'{{ $.message = "stored" && $.symbol != "{CANARY}" }}'
    assert made["value"] == "$.trades"
    (budget,) = values(planned, "aws_budgets_budget")
    assert (budget["limit_amount"], budget["time_unit"]) == ("50", "MONTHLY")
    assert [each["threshold"] / 100 for each in budget["notification"]] == [
        rules["budget"].above,
        1,
    ]
    # A standby site has no alarms, and no budget was set.
    small = resources(small_aws_plan["planned_values"])
    names = {each["alarm_name"] for each in values(small, "aws_cloudwatch_metric_alarm")}
    assert names == {name.replace("mcloud", "other") for name in limits} - {
        "other-silence",
        "other-anomaly-errors",
        "other-compact-errors",
    }
    assert values(small, "aws_budgets_budget") == []


def test_the_anomaly_function_is_called_once_and_failed_calls_are_kept(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]]
) -> None:
    function = only(planned, "aws_lambda_function", "anomaly")
    assert function["handler"] == "anomalies.handler"
    # Their values are unknown before an apply, since they contain the topic's address.
    (written,) = [
        each["expressions"]["environment"][0]["variables"]["references"]
        for each in aws_plan["configuration"]["root_module"]["resources"]
        if (each["type"], each["name"]) == ("aws_lambda_function", "anomaly")
    ]
    assert {
        *("aws_dynamodb_table.candles.name", "aws_dynamodb_table.control.name"),
        *("aws_sns_topic.alerts.arn", "var.anomaly_thresholds"),
    } <= set(written)
    again = only(planned, "aws_lambda_function_event_invoke_config", "anomaly")
    assert (again["maximum_retry_attempts"], again["maximum_event_age_in_seconds"]) == (0, 60)
    schedule = only(planned, "aws_scheduler_schedule", "anomaly")
    assert schedule["schedule_expression"] == "rate(1 minute)"
    (target,) = schedule["target"]
    assert len(target["dead_letter_config"]) == 1
    assert target["retry_policy"] == [
        {"maximum_event_age_in_seconds": 60, "maximum_retry_attempts": 2}
    ]
    missed = by_index(planned, "aws_sqs_queue")
    assert {key: each["name"] for key, each in missed.items()} == {
        "anomaly": "mcloud-anomaly-missed",
        "compact": "mcloud-compact-missed",
    }
    for queue in missed.values():
        assert queue["sqs_managed_sse_enabled"]
        assert queue["message_retention_seconds"] == 86_400
    alarm = by_index(planned, "aws_cloudwatch_metric_alarm")["anomaly-errors"]
    assert alarm["dimensions"] == {"FunctionName": "mcloud-anomaly"}
    assert (alarm["metric_name"], alarm["threshold"]) == ("Errors", 0)


def test_compaction_function_runs_once_an_hour_and_an_alarm_sees_its_errors(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]]
) -> None:
    function = only(planned, "aws_lambda_function", "compact")
    assert function["handler"] == "compaction.handler"
    assert function["timeout"] == 900  # the longest that Lambda allows
    assert function["memory_size"] == COMPACT_MEMORY
    again = only(planned, "aws_lambda_function_event_invoke_config", "compact")
    assert again["maximum_retry_attempts"] == 0
    schedule = only(planned, "aws_scheduler_schedule", "compact")
    assert schedule["schedule_expression"] == "cron(10 * * * ? *)"
    (target,) = schedule["target"]
    assert len(target["dead_letter_config"]) == 1
    alarm = by_index(planned, "aws_cloudwatch_metric_alarm")["compact-errors"]
    assert alarm["dimensions"] == {"FunctionName": "mcloud-compact"}
    assert (alarm["metric_name"], alarm["threshold"], alarm["period"]) == ("Errors", 0, 3600)


def test_the_compaction_function_reads_no_candles_and_writes_only_its_note(
    aws_plan: dict[str, Any],
) -> None:
    assert allowed(aws_plan, "compact") == {
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"),
        *("dynamodb:GetItem", "dynamodb:PutItem", "sqs:SendMessage"),
        *("logs:CreateLogStream", "logs:PutLogEvents"),
        *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    }
    by_sid = {each["sid"]["constant_value"]: each for each in statements(aws_plan, "compact")}
    (condition,) = by_sid["Note"]["condition"]
    assert condition["variable"]["constant_value"] == "dynamodb:LeadingKeys"
    assert condition["values"]["constant_value"] == [COMPACTIONS.name]


def test_the_anomaly_function_must_not_change_candles(aws_plan: dict[str, Any]) -> None:
    for statement in statements(aws_plan, "anomaly"):
        if "dynamodb:PutItem" in statement["actions"]["constant_value"]:
            tables = {each for each in statement["resources"]["references"] if "table" in each}
            assert tables == {"aws_dynamodb_table.control.arn", "aws_dynamodb_table.control"}


def test_failed_calls_of_the_schedule_are_kept(aws_plan: dict[str, Any]) -> None:
    assert allowed(aws_plan, "scheduler") == {"lambda:InvokeFunction", "sqs:SendMessage"}


def test_only_the_named_roles_may_publish_alerts(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]], small_aws_plan: dict[str, Any]
) -> None:
    granted = [each for each in planned if each["address"].startswith(PUBLISHER)]
    assert sorted(each["index"] for each in granted) == ["operator", "replicator"]
    assert allowed(aws_plan, "publisher") == {
        *("sns:Publish", "kms:Decrypt", "kms:GenerateDataKey")
    }
    small = resources(small_aws_plan["planned_values"])
    assert [each for each in small if each["address"].startswith(PUBLISHER)] == []


PUBLISHER = "aws_iam_role_policy.publisher"


def test_the_budget_is_in_the_currency_of_the_partition(aws_plan: dict[str, Any]) -> None:
    (budget,) = (
        each
        for each in aws_plan["configuration"]["root_module"]["resources"]
        if each["type"] == "aws_budgets_budget"
    )
    assert budget["expressions"]["limit_unit"]["references"] == ["local.partition"]


PROVIDER_6 = json.loads((Path(__file__).parent / "aws-6.25.0.json").read_text())
"""Arguments of hashicorp/aws 6.25.0, of the resources in the module.

Taken from the PyPI package cdktf-cdktf-provider-aws 21.22.0.
"""


def test_the_module_fits_provider_6_as_well(aws_plan: dict[str, Any]) -> None:
    """``versions.tf`` admits it; the plan itself is of provider 5."""
    used = [
        each
        for each in aws_plan["configuration"]["root_module"]["resources"]
        if each["type"].startswith("aws_")
    ]
    assert len(used) > 40
    wrong = []
    for each in used:
        kind = "data" if each["mode"] == "data" else "resource"
        wrong += [
            f"{each['address']}: {problem}"
            for problem in problems(each.get("expressions", {}), PROVIDER_6[kind][each["type"]])
        ]
    assert wrong == []


def problems(given: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield what a block gives against the schema, and what it lacks."""
    yield from (f"no argument {name}" for name in given.keys() - schema.keys())
    yield from (
        f"{name} is missing"
        for name, argument in schema.items()
        if argument.get("required") and name not in given
    )
    for name, value in given.items():
        argument = schema.get(name, {})
        blocks = value if isinstance(value, list) else [value]
        constant = value.get("constant_value") if isinstance(value, dict) else None
        if "block" in argument:
            # A dynamic block has one expression for all of them.
            for block in blocks:
                if "references" not in block and "constant_value" not in block:
                    yield from (f"{name}: {each}" for each in problems(block, argument["block"]))
        elif isinstance(value, list):
            yield f"{name} is no block"
        elif constant is not None and not isinstance(constant, TYPES[argument["type"]]):
            yield f"{name} is a {argument['type']}, not {constant!r}"


TYPES: dict[str, Any] = {
    "string": str,
    "number": int | float,
    "bool": bool,
    "list": list,
    "map": dict,
}


def test_the_check_for_provider_6_finds_what_is_wrong() -> None:
    schema = PROVIDER_6["resource"]["aws_sqs_queue"]
    assert sorted(problems({"nam": {}, "delay_seconds": {"constant_value": "a"}}, schema)) == [
        "delay_seconds is a number, not 'a'",
        "no argument nam",
    ]
    mapping = PROVIDER_6["resource"]["aws_lambda_event_source_mapping"]
    given = {"scaling_config": [{"most": {}}]}
    assert sorted(problems(given, mapping)) == [
        "function_name is missing",
        "scaling_config: no argument most",
    ]


def test_only_traces_metrics_bills_and_quotas_are_allowed_everywhere(
    aws_plan: dict[str, Any],
) -> None:
    everywhere = {
        action
        for role in (
            "processor",
            "producer",
            "replicator",
            "operator",
            "anomaly",
            "compact",
            "scheduler",
        )
        for statement in statements(aws_plan, role)
        if statement["resources"].get("constant_value") == ["*"]
        for action in statement["actions"]["constant_value"]
    }
    assert everywhere == {
        *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        *("cloudwatch:GetMetricData", "lambda:GetAccountSettings"),
        *("cloudwatch:DescribeAlarms", "logs:DescribeLogGroups", "ce:GetCostAndUsage"),
    }


def by_index(planned: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """Return the resources of a kind that are made for each of several names, by name."""
    return {
        each["index"]: each["values"]
        for each in planned
        if each["type"] == kind and "index" in each
        # Other resources of the kind have an index of their own.
        if isinstance(each["index"], str)
    }


def allowed(plan: dict[str, Any], role: str) -> set[str]:
    """Return the actions in the policy of a role."""
    return {
        action
        for statement in statements(plan, role)
        for action in statement["actions"]["constant_value"]
    }


def statements(plan: dict[str, Any], role: str) -> list[dict[str, Any]]:
    """Return the policy of a role as written, since its values are unknown before an apply."""
    (document,) = [
        each
        for each in plan["configuration"]["root_module"]["resources"]
        if (each["type"], each["name"]) == ("aws_iam_policy_document", role)
    ]
    found: list[dict[str, Any]] = document["expressions"]["statement"]
    return found
