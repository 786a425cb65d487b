"""Common properties of both modules: form, names, outputs and checkov's rules."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.infra.bundle import shipped

from .conftest import PROJECT
from .module import Module, resources, terraform

CLOUDS = ("aws", "gcp")

# None of these rules may be skipped for any reason.
ENFORCED = {
    "aws": {
        *(f"CKV_AWS_{n}" for n in (27, 72, 168, 387)),  # SQS
        *(f"CKV_AWS_{n}" for n in (45, 50, 115, 116, 363, 364)),  # Lambda
        "CKV_AWS_28",  # DynamoDB
        *(f"CKV_AWS_{n}" for n in (19, 20, 21, 57)),  # S3
        *("CKV2_AWS_6", "CKV2_AWS_61"),
        *(f"CKV_AWS_{n}" for n in (66, 26, 62, 63, 286, 287, 288, 289, 290, 355)),  # logs, SNS, IAM
    },
    "gcp": {
        *(f"CKV_GCP_{n}" for n in (28, 29, 114, 78)),  # Cloud Storage
        *(f"CKV_GCP_{n}" for n in (107, 124)),  # Cloud Functions
        *(f"CKV_GCP_{n}" for n in (41, 42, 46, 49, 117)),  # IAM
    },
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_modules_are_formatted(cloud: str, tmp_path: Path) -> None:
    settings = tmp_path / "empty.tfrc"
    settings.touch()
    run = subprocess.run(
        (terraform(), "fmt", "-check", "-diff", str(shipped("terraform") / cloud)),
        env={"TF_CLI_CONFIG_FILE": str(settings)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_modules_are_valid_without_warnings(cloud: str, request: pytest.FixtureRequest) -> None:
    module: Module = request.getfixturevalue(cloud)
    answer = json.loads(module.run("validate", "-json"))
    assert answer["valid"]
    assert answer["diagnostics"] == []  # warnings too


def test_same_files_for_both_clouds() -> None:
    aws, gcp = ({path.name for path in (shipped("terraform") / c).glob("*.tf")} for c in CLOUDS)
    assert gcp - aws == {"services.tf"}  # AWS has no services to enable
    assert aws <= gcp


@pytest.mark.parametrize("cloud", CLOUDS)
def test_providers_and_no_backend(cloud: str) -> None:
    text = "\n".join(path.read_text() for path in (shipped("terraform") / cloud).glob("*.tf"))
    assert re.findall(r'source\s*=\s*"(hashicorp/\w+)"', text) == [
        {"aws": "hashicorp/aws", "gcp": "hashicorp/google"}[cloud]
    ]
    assert not re.search(r"^\s*(backend|cloud)\b", text, re.MULTILINE)


def test_aws_outputs_are_the_sites_resources(aws_plan: dict[str, Any]) -> None:
    roles = {f"{name}_role_arn" for name in ("processor", "producer", "replicator", "operator")}
    site = {field.name for field in fields(AwsResources)} - {"endpoint_url"}
    assert set(aws_plan["planned_values"]["outputs"]) == site | roles


def test_gcp_outputs_are_the_sites_resources(gcp_plan: dict[str, Any]) -> None:
    outputs = gcp_plan["planned_values"]["outputs"]
    accounts = {
        f"{name}_service_account" for name in ("processor", "producer", "replicator", "operator")
    }
    site = {field.name for field in fields(GcpResources)}
    emulated = {name for name in site if name.endswith(("_endpoint", "_url", "_log"))}
    assert set(outputs) == (site - emulated) | accounts
    # The names equal those of the embedded site, as far as they are known before an apply.
    known = {name: output["value"] for name, output in outputs.items() if "value" in output}
    assert known == {
        "project": PROJECT,
        "region": "us-central1",
        "topic": "mcloud-trades",
        "subscription": "mcloud-trades-processor",
        "dlq_topic": "mcloud-trades-dlq",
        "dlq_subscription": "mcloud-trades-dlq",
        "database": "mcloud",
        "candles_collection": "candles",
        "control_collection": "control",
        "raw_bucket": f"mcloud-raw-{PROJECT}",
        "staging_bucket": f"mcloud-staging-{PROJECT}",
        "export_subscription": "mcloud-trades-export",
        "function": "mcloud-processor",
        "scheduled_functions": "mcloud-anomaly,mcloud-compact",
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_two_stacks_share_no_name(cloud: str, request: pytest.FixtureRequest) -> None:
    one = names_in(request.getfixturevalue(f"{cloud}_plan"))
    other = names_in(request.getfixturevalue(f"small_{cloud}_plan"))
    assert len(other) > 15
    assert one & other == set()


@pytest.mark.parametrize("cloud", CLOUDS)
def test_optional_resources_can_be_omitted(cloud: str, request: pytest.FixtureRequest) -> None:
    everything = resources(request.getfixturevalue(f"{cloud}_plan")["planned_values"])
    least = resources(request.getfixturevalue(f"small_{cloud}_plan")["planned_values"])
    left_out = {each["type"] for each in everything} - {each["type"] for each in least}
    assert (
        left_out
        == {
            "aws": {
                "aws_scheduler_schedule",
                "aws_lambda_function_event_invoke_config",
                "aws_budgets_budget",
                "aws_cloudwatch_log_metric_filter",
                "aws_kms_alias",
                "aws_kms_key",
                "aws_sns_topic_subscription",
            },
            "gcp": {
                "google_cloud_scheduler_job",
                "google_billing_budget",
                "google_logging_metric",
                "google_monitoring_notification_channel",
            },
        }[cloud]
    )
    assert {"anomaly", "compact", "missed", "scheduled"}.isdisjoint(each["name"] for each in least)
    assert not [each for each in least if re.match("anomal|compact", str(each.get("index", "")))]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_bad_variables_are_refused_by_name(cloud: str, request: pytest.FixtureRequest) -> None:
    module: Module = request.getfixturevalue(cloud)
    common = {
        "name": "Bad_Name",
        "region": "somewhere",
        "anomaly_schedule": "often",
        "compaction_schedule": "hourly",
        "function_timeout": 5,
        "function_memory": 1,
        "function_concurrency": 0,
        "deliveries": 1,
        "trusted_principals": ["*"],
        "alert_email": "nobody",
        "max_message_age": 0,
        "max_silence": 330,
        "monthly_budget": 0,
        "bundle": "missing.zip",
    }
    own: dict[str, dict[str, object]] = {
        "aws": {"batch_window": 30, "freshness": 601, "log_retention": 2},
        "gcp": {
            "project": "My Project",
            "labels": {"Team": "Trading"},
            "database": "D",
            "min_instances": -1,
            "backup_retention": 0,
            "billing_account": "1",
        },
    }
    bad = {**common, **own[cloud]}
    module.set(**bad)
    said = module.run("plan", "-input=false", "-no-color", codes=(1,))
    refused = set(re.findall(r"│ var\.(\w+) is ", said))
    assert refused == set(bad)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_checkov_finds_nothing(cloud: str) -> None:
    report = checkov(shipped("terraform") / cloud)
    results = report["results"]
    assert report["summary"]["parsing_errors"] == 0
    failed = {(each["check_id"], each["resource"]) for each in results["failed_checks"]}
    assert failed == set()
    passed = {each["check_id"] for each in results["passed_checks"]}
    assert len(ENFORCED[cloud] & passed) >= 10
    for each in results["skipped_checks"]:
        assert each["check_id"] not in ENFORCED[cloud]
        reason = each["check_result"]["suppress_comment"]
        assert len(reason.split()) > 4, f"{each['check_id']}: why?"


def checkov(folder: Path) -> dict[str, Any]:
    if importlib.util.find_spec("checkov"):
        command = [sys.executable, "-m", "checkov.main"]
    elif found := shutil.which("checkov"):
        command = [found]
    else:
        pytest.skip("checkov is not installed")
    run = subprocess.run(
        [*command, "-d", str(folder), "--framework", "terraform", "--skip-download", "-o", "json"],
        capture_output=True,
        text=True,
    )
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def names_in(plan: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the names that must be unique in an account or project, with their kinds."""
    found = set()
    for each in resources(plan["planned_values"]):
        values = each.get("values", {})
        # These are distinguished by the resources that they belong to.
        if each["type"].endswith(("_iam_member", "_role_policy", "_bucket_object", "_log_stream")):
            continue
        for key in ("name", "bucket", "function_name", "alarm_name", "account_id", "role_id"):
            if isinstance(values.get(key), str):
                found.add((each["type"], values[key]))
    return found
