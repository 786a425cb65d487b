"""The plan of the AWS module, whose roles must allow the calls of the code."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from mcloud.alerts.rules import Rules
from mcloud.failover.audit import KIND
from mcloud.infra.bundle import PACKAGE
from mcloud.market.trade import CANARY

from .module import Module, only, resources, values


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


def test_mapping_answers_by_the_message(planned: list[dict[str, Any]]) -> None:
    mapping = only(planned, "aws_lambda_event_source_mapping", "trades")
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert mapping["batch_size"] == 100
    assert 1 <= mapping["maximum_batching_window_in_seconds"] <= 5  # SQS requires one above 10
    (scaling,) = mapping["scaling_config"]
    assert scaling["maximum_concurrency"] == 10


def test_nothing_is_reserved_and_nothing_traced_unless_somebody_wants_it(
    planned: list[dict[str, Any]],
) -> None:
    """A new account may run 10 functions in all, and Lambda refuses to reserve any of them."""
    for name in ("processor", "anomaly"):
        function = only(planned, "aws_lambda_function", name)
        assert function["reserved_concurrent_executions"] == -1
        assert [each["mode"] for each in function["tracing_config"]] == ["PassThrough"]


@pytest.mark.slow
def test_concurrency_may_be_reserved(aws: Module, bundles: dict[str, str]) -> None:
    plan = aws.plan(bundle=bundles["aws"], reserve_concurrency=True)
    planned = resources(plan["planned_values"])
    reserved = [
        only(planned, "aws_lambda_function", name)["reserved_concurrent_executions"]
        for name in ("processor", "anomaly")
    ]
    assert reserved == [10, 1]


def test_processor(planned: list[dict[str, Any]]) -> None:
    function = only(planned, "aws_lambda_function", "processor")
    assert function["architectures"] == ["arm64"]
    assert function["handler"] == "processor.handler"
    (environment,) = function["environment"]
    assert environment["variables"]["CANDLES_TABLE"] == "mcloud-candles"
    assert environment["variables"]["CONTROL_TABLE"] == "mcloud-control"
    assert function["logging_config"][0]["log_format"] == "JSON"


def test_tables(planned: list[dict[str, Any]]) -> None:
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
        "mcloud-function-throttles": ("Throttles", above, 0, "notBreaching"),
        "mcloud-candles-throttles": ("WriteThrottleEvents", above, 0, "notBreaching"),
        "mcloud-control-throttles": ("WriteThrottleEvents", above, 0, "notBreaching"),
        "mcloud-silence": ("TradesStored", "LessThanThreshold", 1, "breaching"),
    }
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
    }
    assert values(small, "aws_budgets_budget") == []


def test_anomaly_function_is_called_once_and_what_it_misses_is_seen(
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
    missed = only(planned, "aws_sqs_queue", "missed")
    assert missed["sqs_managed_sse_enabled"]
    assert missed["message_retention_seconds"] == 86_400
    alarms = {
        each["index"]: each["values"]
        for each in planned
        if each["type"] == "aws_cloudwatch_metric_alarm"
    }
    alarm = alarms["anomaly-errors"]
    assert alarm["dimensions"] == {"FunctionName": "mcloud-anomaly"}
    assert (alarm["metric_name"], alarm["threshold"]) == ("Errors", 0)


# The methods of the adapters that each component calls.
PROCESSOR = {
    "archive.S3Archive": ["put"],
    "candles.DynamoCandles": ["update"],
    "control.DynamoControl": ["beat", "keep"],
}
ANOMALY = {
    "candles.DynamoCandles": ["last", "range"],
    "control.DynamoControl": ["heartbeats", "keep", "add", "kept", "forget"],
}
PRODUCER = {"queue.SqsQueue": ["send"], "control.DynamoControl": ["heartbeats", "get"]}
REPLICATOR = {
    "archive.S3Archive": ["put", "replace", "swap", "remove", "get", "list", "symbols"],
    "candles.DynamoCandles": ["update", "rewrite", "create", "range", "last"],
    "changes.DynamoChanges": ["tip", "changes"],
    # A guard runs with the role of the replicator.
    "control.DynamoControl": [
        *("beat", "heartbeats", "note_lag", "lags", "record"),
        *("write_record", "keep", "add", "kept", "forget"),
    ],
    "probe.AwsProbe": ["__init__"],
    "queue.SqsQueue": [
        *("send", "depth", "dead_letter_depth", "dead_letters"),
        *("take_dead_letters", "delete_dead_letters", "release_dead_letters"),
    ],
}
OPERATOR = {
    "access.AwsAccess": ["identity", "permissions", "quotas"],
    "billing.CostExplorer": ["bill"],
    "queue.SqsQueue": ["depth", "dead_letter_depth", "dead_letters"],
    "archive.S3Archive": ["get", "list", "symbols"],
    "candles.DynamoCandles": ["range", "last"],
    "control.DynamoControl": ["heartbeats", "lags", "kept", "record"],
    "logs.CloudWatchLogs": ["find"],
    "metrics.CloudWatchMetrics": ["figures"],
    "probe.AwsProbe": ["__init__"],
    "usage.CloudWatchUsage": ["metered"],
}
# Actions that Lambda itself takes with the role of a function.
LAMBDA = {
    *("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"),  # the mapping
    "sqs:SendMessage",  # dead_letter_config
    *("logs:CreateLogStream", "logs:PutLogEvents"),
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
}
SERVICES = {
    "access": ["iam", "lambda", "dynamodb", "sns"],  # and STS, which needs no permission
    "archive": ["s3"],
    "billing": ["ce"],
    "candles": ["dynamodb"],
    "changes": ["dynamodb", "dynamodbstreams"],
    "control": ["dynamodb"],
    "logs": ["logs"],
    "metrics": ["cloudwatch"],
    "probe": ["sqs", "lambda", "dynamodb", "s3"],
    "queue": ["sqs"],
    "usage": ["cloudwatch", "lambda", "dynamodb", "logs"],
}
# Calls that have another name in a policy.
ACTIONS = {
    "dynamodbstreams:DescribeStream": "dynamodb:DescribeStream",
    "dynamodbstreams:GetRecords": "dynamodb:GetRecords",
    "dynamodbstreams:GetShardIterator": "dynamodb:GetShardIterator",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:ListObjectsV2": "s3:ListBucket",
}


def test_processor_may_do_what_it_does_and_no_more(aws_plan: dict[str, Any]) -> None:
    own = {"sqs:GetQueueUrl", "sqs:SendMessage"}  # functions/aws/processor.py, for the rest
    assert allowed(aws_plan, "processor") == calls(PROCESSOR) | LAMBDA | own


def test_the_processor_uses_these_methods() -> None:
    # The table above is compared with the source of the function.
    assert stores_used("ingest.py", "pulse.py") == {
        *("archive.put", "candles.update", "_control.beat", "_control.keep")
    }


def test_anomaly_function_may_do_what_it_does_and_no_more(aws_plan: dict[str, Any]) -> None:
    own = {"sns:Publish", "kms:Decrypt", "kms:GenerateDataKey"}  # functions/aws/anomalies.py
    lambdas = LAMBDA - {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    assert allowed(aws_plan, "anomaly") == calls(ANOMALY) | own | lambdas
    assert allowed(aws_plan, "scheduler") == {"lambda:InvokeFunction", "sqs:SendMessage"}
    # The anomaly function must not change candles.
    for statement in statements(aws_plan, "anomaly"):
        if "dynamodb:PutItem" in statement["actions"]["constant_value"]:
            tables = {each for each in statement["resources"]["references"] if "table" in each}
            assert tables == {"aws_dynamodb_table.control.arn", "aws_dynamodb_table.control"}


def test_the_anomaly_function_uses_these_methods() -> None:
    used = stores_used("anomalies.py")
    methods = {each.partition(".")[2] for each in used}
    assert methods == {method for each in ANOMALY.values() for method in each}


def stores_used(*names: str) -> set[str]:
    """Return the store calls in the source of ``mcloud/processor``, such as ``candles.update``."""
    tree = ast.parse("".join((PACKAGE / "processor" / name).read_text() for name in names))
    used = {
        (node.func.value.id if isinstance(node.func.value, ast.Name) else node.func.value.attr)
        + f".{node.func.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name | ast.Attribute)
    }
    return {each for each in used if each.split(".")[0].strip("_") in STORES}


STORES = ("archive", "candles", "control")


def test_operator_may_look_and_no_more(aws_plan: dict[str, Any]) -> None:
    assert allowed(aws_plan, "operator") == calls(OPERATOR)


def test_producer_and_replicator_may_do_what_they_do(aws_plan: dict[str, Any]) -> None:
    assert calls(PRODUCER) <= allowed(aws_plan, "producer")
    assert calls(REPLICATOR) == allowed(aws_plan, "replicator")
    # In the control table it deletes only entries of the audit.
    (delete,) = (
        each
        for each in statements(aws_plan, "replicator")
        if each["actions"]["constant_value"] == ["dynamodb:DeleteItem"]
    )
    (only_of,) = delete["condition"]
    assert only_of["variable"]["constant_value"] == "dynamodb:LeadingKeys"
    assert only_of["values"]["constant_value"] == [KIND]


def test_alerts_are_published_by_whom_the_user_names(
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
    used = aws_plan["configuration"]["root_module"]["resources"]
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
        for role in ("processor", "producer", "replicator", "operator", "anomaly", "scheduler")
        for statement in statements(aws_plan, role)
        if statement["resources"].get("constant_value") == ["*"]
        for action in statement["actions"]["constant_value"]
    }
    assert everywhere == {
        *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        *("cloudwatch:GetMetricData", "lambda:GetAccountSettings"),
        *("cloudwatch:DescribeAlarms", "logs:DescribeLogGroups", "ce:GetCostAndUsage"),
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


def calls(component: dict[str, list[str]]) -> set[str]:
    """Return the actions of all calls of these methods, from the source of the adapters."""
    found = set()
    for adapter, methods in component.items():
        module, _, name = adapter.partition(".")
        body = methods_of(PACKAGE / "clouds" / "aws" / f"{module}.py", name)
        seen: set[str] = set()
        todo = list(methods)
        while todo:
            method = todo.pop()
            seen.add(method)
            words = words_in(body[method])
            found |= {
                ACTIONS.get(f"{service}:{operations[word]}", f"{service}:{operations[word]}")
                for service in SERVICES[module]
                for operations in [operations_of(service)]
                for word in words & set(operations)
            }
            todo += (words & set(body)) - seen
    return found


def methods_of(path: Path, name: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text())
    (found,) = [each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name]
    return {each.name: each for each in found.body if isinstance(each, ast.FunctionDef)}


def words_in(method: ast.FunctionDef) -> set[str]:
    """Return all attributes and strings: ``client.query`` and ``get_paginator("query")``."""
    attributes = {node.attr for node in ast.walk(method) if isinstance(node, ast.Attribute)}
    texts = {node.value for node in ast.walk(method) if isinstance(node, ast.Constant)}
    return attributes | {text for text in texts if isinstance(text, str)}


def operations_of(service: str) -> dict[str, str]:
    """Return the operations of an API by the names of boto3's methods."""
    client = boto3.client(
        service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )
    mapping: dict[str, str] = client.meta.method_to_api_mapping
    return mapping
