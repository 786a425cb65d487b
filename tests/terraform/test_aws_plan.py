"""The plan of the AWS module."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcloud.alerts.rules import Rules
from mcloud.clouds.anomalies import ANOMALIES, UNTOLD_ANOMALIES
from mcloud.clouds.aws.usage import COMPACT_MEMORY
from mcloud.cost.unmetered import fixed
from mcloud.infra.bundle import shipped
from mcloud.market.trade import CANARY
from mcloud.processor.anomalies import EARLIER_WATCH
from mcloud.processor.compaction import COMPACTIONS

from .module import Module, aws_module, only, resources, values

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
    functions = values(planned, "aws_lambda_function")
    assert len(functions) == 3
    for function in functions:
        assert function["reserved_concurrent_executions"] == -1
        assert [each["mode"] for each in function["tracing_config"]] == ["PassThrough"]


def test_concurrency_may_be_reserved(aws: Module, bundles: dict[str, str]) -> None:
    plan = aws.plan(bundle=bundles["aws"], reserve_concurrency=True)
    planned = resources(plan["planned_values"])
    assert {
        each["handler"]: each["reserved_concurrent_executions"]
        for each in values(planned, "aws_lambda_function")
    } == {"processor.handler": 10, "anomalies.handler": 1, "compaction.handler": 1}


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
        "mcloud-staging-age": ("DeliveryToS3.DataFreshness", above, 600, "notBreaching"),
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
    function = only(planned, "aws_lambda_function", "scheduled", "anomaly")
    assert function["handler"] == "anomalies.handler"
    # Their values are unknown before an apply, since they contain the topic's address.
    (written,) = [
        each["expressions"]["environment"][0]["variables"]["references"]
        for each in aws_plan["configuration"]["root_module"]["resources"]
        if (each["type"], each["name"]) == ("aws_lambda_function", "scheduled")
    ]
    assert {"aws_dynamodb_table.control.name", "aws_sns_topic.alerts.arn"} <= set(written)
    assert "aws_dynamodb_table.candles.name" not in written
    again = only(planned, "aws_lambda_function_event_invoke_config", "scheduled", "anomaly")
    assert (again["maximum_retry_attempts"], again["maximum_event_age_in_seconds"]) == (0, 60)
    schedule = only(planned, "aws_scheduler_schedule", "scheduled", "anomaly")
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


def test_firehose_writes_staged_objects(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]]
) -> None:
    stream = only(planned, "aws_kinesis_firehose_delivery_stream", "trades")
    assert (stream["name"], stream["destination"]) == ("mcloud-trades", "extended_s3")
    assert stream["server_side_encryption"][0]["enabled"]
    (written,) = stream["extended_s3_configuration"]
    expected = {
        "prefix": "staged/!{timestamp:yyyy/MM/dd/HH/}",
        "error_output_prefix": "errors/!{firehose:error-output-type}/",
        "buffering_interval": 300,
        "buffering_size": 32,
        "compression_format": "UNCOMPRESSED",
    }
    assert {key: written[key] for key in expected} == expected
    (logged,) = written["cloudwatch_logging_options"]
    assert logged["enabled"]
    assert only(planned, "aws_s3_bucket", "staging")["bucket"] == "mcloud-staging-000000000000"
    # Nothing but compaction removes or moves a staged object: it may hold the only copy of a trade.
    for rule in only(planned, "aws_s3_bucket_lifecycle_configuration", "staging")["rule"]:
        assert not rule["transition"]
        assert not rule["expiration"]
    written_by_it = allowed(aws_plan, "delivery")
    assert {"s3:PutObject", "logs:PutLogEvents"} <= written_by_it
    assert "s3:DeleteObject" not in written_by_it


def test_compaction_function_runs_once_an_hour_and_an_alarm_sees_its_errors(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]]
) -> None:
    function = only(planned, "aws_lambda_function", "scheduled", "compact")
    assert function["handler"] == "compaction.handler"
    assert function["timeout"] == 900  # the longest that Lambda allows
    assert function["memory_size"] == COMPACT_MEMORY
    again = only(planned, "aws_lambda_function_event_invoke_config", "scheduled", "compact")
    assert again["maximum_retry_attempts"] == 0
    schedule = only(planned, "aws_scheduler_schedule", "scheduled", "compact")
    assert schedule["schedule_expression"] == "cron(10 * * * ? *)"
    (target,) = schedule["target"]
    assert len(target["dead_letter_config"]) == 1
    alarm = by_index(planned, "aws_cloudwatch_metric_alarm")["compact-errors"]
    assert alarm["dimensions"] == {"FunctionName": "mcloud-compact"}
    assert (alarm["metric_name"], alarm["threshold"], alarm["period"]) == ("Errors", 0, 3600)


def test_the_compaction_function_reads_no_candles_and_writes_only_its_note(
    aws_plan: dict[str, Any],
) -> None:
    assert allowed(aws_plan, "compact") | allowed(aws_plan, "scheduled") == {
        *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"),
        *("dynamodb:GetItem", "dynamodb:PutItem", "sqs:SendMessage"),
        *("logs:CreateLogStream", "logs:PutLogEvents"),
        *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    }
    by_sid = {each["sid"]["constant_value"]: each for each in statements(aws_plan, "compact")}
    (condition,) = by_sid["Note"]["condition"]
    assert condition["variable"]["constant_value"] == "dynamodb:LeadingKeys"
    assert condition["values"]["constant_value"] == [COMPACTIONS.name]


def test_the_anomaly_function_sends_what_producers_store(aws_plan: dict[str, Any]) -> None:
    """Neither touches other documents, and the function reads no candles."""
    kinds = [ANOMALIES.name, UNTOLD_ANOMALIES.name]
    assert allowed(aws_plan, "anomaly") == {"dynamodb:Query", "dynamodb:DeleteItem"}
    assert allowed(aws_plan, "producer") == {
        *("sqs:SendMessage", "sqs:GetQueueAttributes"),
        *("dynamodb:GetItem", "dynamodb:Query", "dynamodb:PutItem"),
    }
    for role, expected in (("producer", kinds), ("anomaly", [*kinds, EARLIER_WATCH])):
        by_sid = {each["sid"]["constant_value"]: each for each in statements(aws_plan, role)}
        (condition,) = by_sid["Anomalies"]["condition"]
        assert condition["variable"]["constant_value"] == "dynamodb:LeadingKeys"
        assert condition["values"]["constant_value"] == expected
        tables = set(by_sid["Anomalies"]["resources"]["references"])
        assert tables == {"aws_dynamodb_table.control.arn", "aws_dynamodb_table.control"}
    assert set(by_sid) == {"Anomalies"}


def test_failed_calls_of_the_schedule_are_kept(aws_plan: dict[str, Any]) -> None:
    assert allowed(aws_plan, "scheduler") == {"lambda:InvokeFunction", "sqs:SendMessage"}


def test_only_the_named_roles_may_publish_alerts(
    aws_plan: dict[str, Any], planned: list[dict[str, Any]], small_aws_plan: dict[str, Any]
) -> None:
    granted = [each for each in planned if each["address"].startswith(PUBLISHER)]
    assert sorted(each["index"] for each in granted) == ["operator", "replicator"]
    assert allowed(aws_plan, "publisher") == {"sns:Publish"}
    assert allowed(aws_plan, "encrypt") == {"kms:Decrypt", "kms:GenerateDataKey"}
    small = resources(small_aws_plan["planned_values"])
    assert [each for each in small if each["address"].startswith(PUBLISHER)] == []


def test_alerts_are_encrypted_with_a_key_only_on_request(
    planned: list[dict[str, Any]], small_aws_plan: dict[str, Any]
) -> None:
    assert only(planned, "aws_kms_key", "alerts")["enable_key_rotation"]
    small = resources(small_aws_plan["planned_values"])
    assert [each for each in small if each["type"].startswith("aws_kms_")] == []
    topic = only(small, "aws_sns_topic", "alerts")
    assert topic["kms_master_key_id"] is None


PUBLISHER = "aws_iam_role_policy.publisher"


def test_the_budget_is_in_the_currency_of_the_partition(aws_plan: dict[str, Any]) -> None:
    (budget,) = (
        each
        for each in aws_plan["configuration"]["root_module"]["resources"]
        if each["type"] == "aws_budgets_budget"
    )
    assert budget["expressions"]["limit_unit"]["references"] == ["local.partition"]


def test_budgets_differ_by_partition(
    endpoint_url: str, bundles: dict[str, str], tmp_path: Path
) -> None:
    module = aws_module(tmp_path / "aws", endpoint_url)
    variables = {"bundle": bundles["aws"], "region": "cn-north-1", "monthly_budget": 50}
    # The embedded AWS says that every region is in the usual partition.
    override = module.folder / "partition_override.tf"
    override.write_text('locals {\n  partition = "aws-cn"\n}\n')
    (budget,) = values(resources(module.plan(**variables)["planned_values"]), "aws_budgets_budget")
    assert budget["limit_unit"] == "CNY"
    override.write_text('locals {\n  partition = "aws-us-gov"\n}\n')
    module.set(**variables)
    refused = " ".join(module.run("plan", "-input=false", "-no-color", codes=(1,)).split())
    assert "AWS Budgets does not exist in cn-north-1: leave monthly_budget out" in refused


PROVIDER_6 = json.loads((Path(__file__).parent / "aws-6.25.0.json").read_text())
"""Arguments and attributes of hashicorp/aws 6.25.0, of the resources in the module.

Taken from the PyPI package cdktf-cdktf-provider-aws 21.22.0.
"""

DEPRECATED_IN_6 = {
    "aws_iam_role": {"inline_policy", "managed_policy_arns"},
    "aws_lambda_function": {"replace_security_groups_on_destroy", "replacement_security_group_ids"},
    "aws_s3_bucket": {
        *("acceleration_status", "acl", "cors_rule", "grant", "lifecycle_rule", "logging"),
        *("object_lock_configuration", "policy", "replication_configuration", "request_payer"),
        *("server_side_encryption_configuration", "versioning", "website", "website_domain"),
        "website_endpoint",
    },
    "data.aws_iam_policy_document": {"override_json", "source_json"},
    "data.aws_region": {"name"},
}
"""Arguments and attributes that the pages of these resources call deprecated, which the package
above leaves out: https://registry.terraform.io/providers/hashicorp/aws/6.25.0/docs."""

READ_BY_MCLOUD = {
    "aws_dynamodb_table": {"deletion_protection_enabled", "name"},
    "aws_lambda_function": {"code_sha256", "source_code_hash"},
    "aws_s3_bucket": {"bucket", "force_destroy"},
    "aws_sqs_queue": {"name"},
}
"""Attributes that mcloud reads in a plan; see ``mcloud.infra.plan``."""


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


def test_the_attributes_that_are_read_are_in_provider_6_as_well() -> None:
    """An attribute of a resource is read where its address is followed by a name."""
    text = "\n".join(path.read_text() for path in (shipped("terraform") / "aws").glob("*.tf"))
    read = {
        (kind, name)
        for kind, name in re.findall(r"\b((?:data\.)?aws_\w+)\.\w+(?:\[[^]]*\])?\.(\w+)", text)
    }
    assert len(read) > 20
    read |= {(kind, name) for kind, names in READ_BY_MCLOUD.items() for name in names}
    for kind, name in sorted(read):
        section = "data" if kind.startswith("data.") else "resource"
        assert name in PROVIDER_6[section][kind.removeprefix("data.")], (kind, name)
        assert name not in DEPRECATED_IN_6.get(kind, ()), (kind, name)


def test_the_module_uses_no_argument_that_is_deprecated_in_provider_6(
    aws_plan: dict[str, Any],
) -> None:
    for each in aws_plan["configuration"]["root_module"]["resources"]:
        kind = f"data.{each['type']}" if each["mode"] == "data" else each["type"]
        given = each.get("expressions", {}).keys()
        assert given.isdisjoint(DEPRECATED_IN_6.get(kind, ())), each["address"]


def problems(given: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield what a block gives against the schema, and what it lacks."""
    arguments = {name for name, argument in schema.items() if not argument.get("computed")}
    yield from (f"no argument {name}" for name in given.keys() - arguments)
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
    wrong = {"nam": {}, "arn": {}, "delay_seconds": {"constant_value": "a"}}
    assert sorted(problems(wrong, schema)) == [
        "delay_seconds is a number, not 'a'",
        "no argument arn",
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
            "scheduled",
            "scheduler",
            "delivery",
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
