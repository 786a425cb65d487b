"""The plan of the Google module, with checks for which checkov has no rule."""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcloud.alerts.rules import Rules
from mcloud.cost.unmetered import IMAGE, fixed
from mcloud.market.anomaly import Anomaly
from mcloud.market.trade import CANARY
from mcloud.processor.anomalies import logged

from .conftest import PROJECT
from .module import Module, gcp_module, only, resources, values
from .permissions.google_roles import granted

DATABASE = f'resource.name == "projects/{PROJECT}/databases/mcloud"'


def test_messages_that_fail_are_dead_lettered(gcp_state: list[dict[str, Any]]) -> None:
    subscription = only(gcp_state, "google_pubsub_subscription", "processor")
    dlq_topic = only(gcp_state, "google_pubsub_topic", "dlq")
    (policy,) = subscription["dead_letter_policy"]
    assert policy == {"dead_letter_topic": dlq_topic["id"], "max_delivery_attempts": 20}
    # A topic without a subscription keeps nothing.
    dlq = only(gcp_state, "google_pubsub_subscription", "dlq")
    assert dlq["topic"] == dlq_topic["id"]
    for each in (subscription, dlq):
        assert each["message_retention_duration"] == f"{14 * 86_400}s"
        assert each["expiration_policy"] == [{"ttl": ""}]


def test_small_raw_objects_keep_their_storage_class(gcp_state: list[dict[str, Any]]) -> None:
    """Each move to another class is billed, and only large objects have a custom time."""
    bucket = only(gcp_state, "google_storage_bucket", "raw")
    moves = [
        rule["condition"][0]
        for rule in bucket["lifecycle_rule"]
        if rule["action"][0]["type"] == "SetStorageClass"
    ]
    assert [each["days_since_custom_time"] for each in moves] == [90]


def test_pubsub_may_dead_letter(gcp_state: list[dict[str, Any]]) -> None:
    publisher = only(gcp_state, "google_pubsub_topic_iam_member", "dlq_publisher")
    subscriber = only(gcp_state, "google_pubsub_subscription_iam_member", "dlq_subscriber")
    assert (publisher["topic"], publisher["role"]) == (
        "mcloud-trades-dlq",
        "roles/pubsub.publisher",
    )
    assert subscriber["subscription"] == "mcloud-trades-processor"
    assert subscriber["role"] == "roles/pubsub.subscriber"
    for member in (publisher["member"], subscriber["member"]):
        assert member.endswith("@gcp-sa-pubsub.iam.gserviceaccount.com")


def test_the_builder_reads_sources_only(gcp_state: list[dict[str, Any]]) -> None:
    """Cloud Functions copies the sources of all functions into a bucket of the region."""
    builder = only(gcp_state, "google_service_account", "builder")["member"]
    on_project = only(gcp_state, "google_project_iam_member", "builder_source")
    assert (on_project["role"], on_project["member"]) == ("roles/storage.objectViewer", builder)
    (condition,) = on_project["condition"]
    number = only(gcp_state, "google_billing_budget", "monthly")["budget_filter"][0]["projects"][0]
    number = number.removeprefix("projects/")
    bucket = f"projects/_/buckets/gcf-v2-sources-{number}-us-central1"
    assert condition["expression"].split(" || ") == [
        f'resource.name == "{bucket}"',
        *(
            f'resource.name.startsWith("{bucket}/objects/{function}/")'
            for function in ("mcloud-processor", "mcloud-anomaly", "mcloud-compact")
        ),
    ]
    on_bucket = only(gcp_state, "google_storage_bucket_iam_member", "builder")
    assert on_bucket["bucket"] == only(gcp_state, "google_storage_bucket", "source")["name"]


def test_compaction_changes_only_what_it_moves(gcp_state: list[dict[str, Any]]) -> None:
    bucket = f"projects/_/buckets/{only(gcp_state, 'google_storage_bucket', 'staging')['name']}"
    for name in ("replicator_writes_staged", "compact_writes_staged"):
        (condition,) = only(gcp_state, "google_storage_bucket_iam_member", name)["condition"]
        assert condition["expression"].split(" || ") == [
            f'resource.name.startsWith("{bucket}/objects/{folder}/")'
            for folder in ("staged", "foreign")
        ]


def test_everything_is_labelled(gcp_state: list[dict[str, Any]]) -> None:
    fields = ("labels", "user_labels")
    labels = [
        each["values"][name] for each in gcp_state for name in fields if each["values"].get(name)
    ]
    channel = only(gcp_state, "google_monitoring_notification_channel", "email")["labels"]
    labels.remove(channel)  # its address
    assert len(labels) > 5
    for each in labels:
        # Nobody's labels take the place of these two: bills and alert policies are found by them.
        assert each == {"team": "desk", "application": "mcloud", "stack": "mcloud"}


def test_a_project_of_a_domain_is_refused(gcp: Module, bundles: dict[str, str]) -> None:
    gcp.set(project="example.com:desk", bundle=bundles["gcp"])
    said = gcp.run("plan", "-input=false", "-no-color", codes=(1,))
    assert (
        "A project that belongs to a domain, such as example.com:desk, cannot be used"
        in " ".join(said.split())
    )


def test_pubsub_calls_the_function_with_its_own_account(gcp_state: list[dict[str, Any]]) -> None:
    function = only(gcp_state, "google_cloudfunctions2_function", "processor")
    uri = function["service_config"][0]["uri"]
    invoker = only(gcp_state, "google_service_account", "invoker")
    subscription = only(gcp_state, "google_pubsub_subscription", "processor")
    (push,) = subscription["push_config"]
    assert push["push_endpoint"] == uri
    assert push["oidc_token"] == [{"service_account_email": invoker["email"], "audience": uri}]
    grant = only(gcp_state, "google_cloud_run_v2_service_iam_member", "invoker")
    assert (grant["role"], grant["member"]) == ("roles/run.invoker", invoker["member"])
    # It is not called again while it is still running.
    assert subscription["ack_deadline_seconds"] > function["service_config"][0]["timeout_seconds"]
    assert subscription["retry_policy"] == [{"minimum_backoff": "30s", "maximum_backoff": "600s"}]


def test_scheduler_calls_the_function_with_its_own_account(gcp_state: list[dict[str, Any]]) -> None:
    function = only(gcp_state, "google_cloudfunctions2_function", "scheduled", "anomaly")
    uri = function["service_config"][0]["uri"]
    scheduler = only(gcp_state, "google_service_account", "scheduler")
    (target,) = only(gcp_state, "google_cloud_scheduler_job", "scheduled", "anomaly")["http_target"]
    assert target["uri"] == uri
    assert target["oidc_token"] == [{"service_account_email": scheduler["email"], "audience": uri}]
    grant = only(gcp_state, "google_cloud_run_v2_service_iam_member", "scheduler", "anomaly")
    assert (grant["role"], grant["member"]) == ("roles/run.invoker", scheduler["member"])

    # A late call is useless, and a slow call is not interrupted.
    job = only(gcp_state, "google_cloud_scheduler_job", "scheduled", "anomaly")
    assert (job["schedule"], job["time_zone"]) == ("* * * * *", "Etc/UTC")
    assert job["attempt_deadline"] == f"{function['service_config'][0]['timeout_seconds']}s"
    (retry,) = job["retry_config"]
    assert (retry["retry_count"], retry["max_retry_duration"]) == (2, "60s")


def test_the_anomaly_function_has_its_settings(gcp_state: list[dict[str, Any]]) -> None:
    function = only(gcp_state, "google_cloudfunctions2_function", "scheduled", "anomaly")
    (build,), (service,) = function["build_config"], function["service_config"]
    assert (build["runtime"], build["entry_point"]) == ("python313", "anomaly")
    assert (service["ingress_settings"], service["max_instance_count"]) == (
        "ALLOW_INTERNAL_ONLY",
        1,
    )
    variables = service["environment_variables"]
    assert set(variables) == {
        *("GOOGLE_CLOUD_PROJECT", "FIRESTORE_DATABASE", "CONTROL_COLLECTION", "LOG_EXECUTION_ID")
    }
    # Both functions have the same source.
    processor = only(gcp_state, "google_cloudfunctions2_function", "processor")
    assert build["source"] == processor["build_config"][0]["source"]


def test_a_subscription_writes_staged_objects(gcp_state: list[dict[str, Any]]) -> None:
    bucket = only(gcp_state, "google_storage_bucket", "staging")
    assert bucket["name"] == f"mcloud-staging-{PROJECT}"
    assert bucket["uniform_bucket_level_access"]
    assert bucket["public_access_prevention"] == "enforced"
    assert bucket["versioning"] == []
    assert [each["retention_duration_seconds"] for each in bucket["soft_delete_policy"]] == [0]
    # Nothing but compaction removes or moves a staged object: it may hold the only copy of a trade.
    actions = {rule["action"][0]["type"] for rule in bucket["lifecycle_rule"]}
    assert actions == {"AbortIncompleteMultipartUpload"}
    export = only(gcp_state, "google_pubsub_subscription", "export")
    (written,) = export["cloud_storage_config"]
    expected = {
        "bucket": bucket["name"],
        "filename_prefix": "staged/",
        "filename_datetime_format": "YYYY/MM/DD/hh/mm_ss",
        "max_duration": "300s",
        "max_bytes": 32 * 1024 * 1024,
        "avro_config": [],
    }
    assert {key: written[key] for key in expected} == expected
    # Pub/Sub refuses a window that is longer than the deadline.
    assert export["ack_deadline_seconds"] >= 300
    assert export["message_retention_duration"] == f"{14 * 86_400}s"
    assert export["expiration_policy"] == [{"ttl": ""}]
    agent = "serviceAccount:service-"
    grants = {
        each["values"]["role"]
        for each in gcp_state
        if each["type"] == "google_storage_bucket_iam_member"
        and each["values"]["bucket"] == bucket["name"]
        and each["values"]["member"].startswith(agent)
    }
    assert grants == {"roles/storage.objectCreator", "roles/storage.legacyBucketReader"}


def test_compaction_alone_needs_the_scheduler(gcp: Module, bundles: dict[str, str]) -> None:
    plan = gcp.plan(project=PROJECT, bundle=bundles["gcp"], anomalies=False)
    planned = resources(plan["planned_values"])
    services = {each["service"] for each in values(planned, "google_project_service")}
    assert "cloudscheduler.googleapis.com" in services
    assert [each["name"] for each in values(planned, "google_cloud_scheduler_job")] == [
        "mcloud-compact"
    ]


def test_compaction_function_runs_once_an_hour(gcp_state: list[dict[str, Any]]) -> None:
    function = only(gcp_state, "google_cloudfunctions2_function", "scheduled", "compact")
    (build,), (service,) = function["build_config"], function["service_config"]
    assert build["entry_point"] == "compact"
    assert service["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
    assert (service["max_instance_count"], service["available_memory"]) == (1, "1024Mi")
    assert service["environment_variables"]["TIMEOUT_SECONDS"] == str(service["timeout_seconds"])
    job = only(gcp_state, "google_cloud_scheduler_job", "scheduled", "compact")
    assert (job["schedule"], job["time_zone"]) == ("10 * * * *", "Etc/UTC")
    # Cloud Scheduler waits until the function has ended, and does not call it again.
    assert service["timeout_seconds"] < int(job["attempt_deadline"].rstrip("s")) <= 1800
    assert [each["retry_count"] for each in job["retry_config"]] == [0]
    scheduler = only(gcp_state, "google_service_account", "scheduler")
    (target,) = job["http_target"]
    assert target["uri"] == service["uri"]
    assert target["oidc_token"][0]["service_account_email"] == scheduler["email"]
    grant = only(gcp_state, "google_cloud_run_v2_service_iam_member", "scheduler", "compact")
    assert (grant["role"], grant["member"]) == ("roles/run.invoker", scheduler["member"])


def test_compaction_function_may_change_raw_trades_and_single_documents(
    gcp_state: list[dict[str, Any]],
) -> None:
    allowed = granted(gcp_state, "compact")
    assert {(on, right) for on, right in allowed if on not in ("bucket", "staging")} == {
        *(("database", f"datastore.entities.{verb}") for verb in ("create", "get", "update")),
        *(("raw", f"storage.objects.{verb}") for verb in ("create", "delete")),
        *(("staged", f"storage.objects.{verb}") for verb in ("create", "delete")),
    }
    for bucket in ("bucket", "staging"):
        assert {(bucket, f"storage.objects.{verb}") for verb in ("get", "list")} <= allowed


def test_the_anomaly_function_may_only_read_and_delete_documents(
    gcp_state: list[dict[str, Any]],
) -> None:
    account = only(gcp_state, "google_service_account", "scheduled", "anomaly")["member"]
    grants = [each for each in gcp_state if each.get("values", {}).get("member") == account]
    (grant,) = [each["values"] for each in grants if each["type"] != "google_service_account"]
    role = only(gcp_state, "google_project_iam_custom_role", "anomaly")
    assert grant["role"] == role["name"]
    assert set(role["permissions"]) == {
        f"datastore.entities.{verb}" for verb in ("delete", "get", "list")
    }


def test_producers_may_not_delete_documents(gcp_state: list[dict[str, Any]]) -> None:
    on_database = {right for on, right in granted(gcp_state, "producer") if on == "database"}
    assert on_database == {
        f"datastore.entities.{verb}" for verb in ("create", "get", "list", "update")
    }


def test_anomalies_raise_an_alert(gcp_state: list[dict[str, Any]]) -> None:
    """The alert reads the log: message and fields are those of ``mcloud.processor.anomalies``."""
    policy = only(gcp_state, "google_monitoring_alert_policy", "anomaly")
    (matched,) = policy["conditions"][0]["condition_matched_log"]
    assert 'service_name = "mcloud-anomaly"' in matched["filter"]
    assert 'jsonPayload.message = "anomaly"' in matched["filter"]
    record = logged(Anomaly("X", 0, "drift", *[Decimal(1)] * 4, 1, True))
    for name, rule in matched["label_extractors"].items():
        assert rule == f"EXTRACT(jsonPayload.{name})"
        assert name in record
        assert "${log.extracted_label." + name + "}" in policy["documentation"][0]["content"]
    (strategy,) = policy["alert_strategy"]
    assert strategy["notification_rate_limit"] == [{"period": "300s"}]
    assert policy["notification_channels"] != []


def test_the_database_has_recovery_and_deletion_protection(gcp_state: list[dict[str, Any]]) -> None:
    database = only(gcp_state, "google_firestore_database", "this")
    assert database["type"] == "FIRESTORE_NATIVE"
    assert database["point_in_time_recovery_enablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    assert database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    backup = only(gcp_state, "google_firestore_backup_schedule", "daily")
    assert backup["retention"] == "604800s"
    assert backup["database"] == "mcloud"
    assert not only(gcp_state, "google_storage_bucket", "raw")["force_destroy"]


def test_protection_can_be_lifted(gcp: Module, bundles: dict[str, str]) -> None:
    plan = gcp.plan(project=PROJECT, bundle=bundles["gcp"], deletion_protection=False)
    planned = resources(plan["planned_values"])
    database = only(planned, "google_firestore_database", "this")
    assert database["delete_protection_state"] == "DELETE_PROTECTION_DISABLED"
    assert database["deletion_policy"] == "DELETE"  # not ABANDON: destroy leaves nothing
    assert only(planned, "google_storage_bucket", "raw")["force_destroy"]


def test_the_operator_may_read_the_billing_export(
    gcp: Module, bundles: dict[str, str], gcp_state: list[dict[str, Any]]
) -> None:
    assert not any("bigquery" in each["type"] for each in gcp_state)
    given = {"project": PROJECT, "bundle": bundles["gcp"]}
    plan = gcp.plan(**given, billing_dataset="bills-1.export_all")
    planned = resources(plan["planned_values"])
    reader = only(planned, "google_bigquery_dataset_iam_member", "operator_bill")
    assert (reader["project"], reader["dataset_id"]) == ("bills-1", "export_all")
    assert reader["role"] == "roles/bigquery.dataViewer"
    for state, allows in ((planned, True), (gcp_state, False)):
        role = only(state, "google_project_iam_custom_role", "this", "operator_project")
        assert ("bigquery.jobs.create" in role["permissions"]) == allows


def test_the_index_of_candles_serves_the_newest_first(gcp_state: list[dict[str, Any]]) -> None:
    index = only(gcp_state, "google_firestore_index", "newest")
    assert index["collection"] == "candles"
    assert [(field["field_path"], field["order"]) for field in index["fields"]] == [
        ("symbol", "ASCENDING"),
        ("timestamp", "DESCENDING"),
    ]
    exempt = [each["values"] for each in gcp_state if each["type"] == "google_firestore_field"]
    assert {each["field"] for each in exempt} == {
        *("fragments", "open", "high", "low", "close", "volume", "quote_volume"),
        *("first_id", "last_id", "trade_count", "void_count"),
    }
    for each in exempt:
        assert each["index_config"] == [{"indexes": []}]


def test_the_processor_has_its_settings(gcp_state: list[dict[str, Any]]) -> None:
    function = only(gcp_state, "google_cloudfunctions2_function", "processor")
    (build,), (service,) = function["build_config"], function["service_config"]
    assert (build["runtime"], build["entry_point"]) == ("python313", "process")
    assert service["ingress_settings"] == "ALLOW_INTERNAL_ONLY"
    variables = dict(service["environment_variables"])
    since = datetime.fromisoformat(variables.pop("EXPORTED_SINCE"))
    assert since.tzinfo is not None
    assert variables == {
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "RAW_BUCKET": f"mcloud-raw-{PROJECT}",
        "THREADS": "8",
        "FIRESTORE_DATABASE": "mcloud",
        "CANDLES_COLLECTION": "candles",
        "CONTROL_COLLECTION": "control",
        "LOG_EXECUTION_ID": "true",
    }


def test_each_build_has_the_digest_of_the_code(
    gcp_state: list[dict[str, Any]], bundles: dict[str, str]
) -> None:
    """``status`` and ``doctor`` compare it with what was built here."""
    digest = hashlib.sha256(Path(bundles["gcp"]).read_bytes()).hexdigest()
    functions = values(gcp_state, "google_cloudfunctions2_function")
    assert len(functions) == 3
    for function in functions:
        (build,) = function["build_config"]
        assert build["environment_variables"]["BUNDLE_SHA256"] == digest


def test_the_processor_writes_spans_and_the_operator_reads_logs(
    gcp_state: list[dict[str, Any]],
) -> None:
    assert ("project", "cloudtrace.traces.patch") in granted(gcp_state, "processor")
    assert ("project", "logging.logEntries.list") in granted(gcp_state, "operator")


def test_rights_in_firestore_end_at_the_stacks_database(gcp_state: list[dict[str, Any]]) -> None:
    grants = [
        each["values"]
        for each in gcp_state
        if each["type"] == "google_project_iam_member"
        and each["name"] in ("operator", "processor", "producer", "replicator", "scheduled")
    ]
    assert len(grants) == 6  # processor, producer, replicator, operator, anomaly, compact
    for grant in grants:
        (condition,) = grant["condition"]
        assert DATABASE in condition["expression"]


def test_the_replicator_sends_and_the_operator_does_not(gcp_state: list[dict[str, Any]]) -> None:
    replicator = only(gcp_state, "google_service_account", "replicator")["member"]
    publisher = only(gcp_state, "google_pubsub_topic_iam_member", "replicator")
    assert (publisher["topic"], publisher["role"]) == ("mcloud-trades", "roles/pubsub.publisher")
    letters = only(gcp_state, "google_pubsub_subscription_iam_member", "replicator_dead_letters")
    assert letters["subscription"] == "mcloud-trades-dlq"
    assert letters["role"] == "roles/pubsub.subscriber"
    assert publisher["member"] == letters["member"] == replicator
    # As a guard it checks whether the queue exists.
    looks = only(gcp_state, "google_pubsub_subscription_iam_member", "replicator_looks")
    assert looks["member"] == replicator
    assert ("subscription", "pubsub.subscriptions.get") in granted(gcp_state, "replicator")
    operator = only(gcp_state, "google_service_account", "operator")["member"]
    assert not any(
        each["values"]["member"] == operator
        for each in gcp_state
        if each["type"] == "google_pubsub_topic_iam_member"
    )


def test_fields_of_queries_are_indexed(gcp_state: list[dict[str, Any]]) -> None:
    from mcloud.clouds.gcp.changes import STAMP

    exempt = {
        each["values"]["field"] for each in gcp_state if each["type"] == "google_firestore_field"
    }
    assert not {STAMP, "symbol", "timestamp"} & exempt


def test_services_stay_enabled_after_a_destroy(gcp_state: list[dict[str, Any]]) -> None:
    services = [each["values"] for each in gcp_state if each["type"] == "google_project_service"]
    assert {"pubsub.googleapis.com", "firestore.googleapis.com", "run.googleapis.com"} <= {
        each["service"] for each in services
    }
    assert not any(each["disable_on_destroy"] for each in services)


def test_life_of_a_stack(
    tmp_path: Path, bundles: dict[str, str], gcp_everything: dict[str, object]
) -> None:
    module = gcp_module(tmp_path / "gcp")
    module.set(**gcp_everything)
    module.apply()
    assert module.changes() == {}
    assert module.move_back() > 10  # a stack from before
    assert module.changes() == {}
    other = tmp_path / "other.zip"
    other.write_bytes(Path(bundles["gcp"]).read_bytes() + b"\0")
    module.set(**{**gcp_everything, "bundle": str(other)})
    assert set(module.changes()) == {
        "google_cloudfunctions2_function.processor",
        'google_cloudfunctions2_function.scheduled["anomaly"]',
        'google_cloudfunctions2_function.scheduled["compact"]',
        "google_storage_bucket_object.bundle",
    }
    module.set(**gcp_everything | {"deletion_protection": False})
    module.apply()
    module.run("destroy", "-input=false", "-no-color", "-auto-approve")
    assert module.state() == []


def test_a_role_that_is_made_again_has_another_id(
    tmp_path: Path, gcp_everything: dict[str, object]
) -> None:
    module = gcp_module(tmp_path / "gcp")

    def role_ids(**more: object) -> dict[str, str]:
        module.set(**gcp_everything | more)
        module.apply()
        assert module.changes() == {}
        return {
            each["index"] if each["name"] == "this" else each["name"]: each["values"]["role_id"]
            for each in module.state()
            if each["type"] == "google_project_iam_custom_role"
        }

    first = role_ids()
    assert re.fullmatch(r"mcloud_anomaly_\d{14}", first["anomaly"])
    kept = {name: each for name, each in first.items() if name != "anomaly"}
    assert len(kept) == 9
    assert role_ids(anomalies=False) == kept
    again = role_ids()
    assert again["anomaly"] > first["anomaly"]
    assert again == kept | {"anomaly": again["anomaly"]}
    module.set(**gcp_everything | {"deletion_protection": False})
    module.apply()
    module.run("destroy", "-input=false", "-no-color", "-auto-approve")
    assert not set(role_ids().values()) & {*first.values(), *again.values()}


def test_another_name_leaves_no_metric_behind(
    tmp_path: Path, gcp_everything: dict[str, object]
) -> None:
    module = gcp_module(tmp_path / "gcp")
    module.set(**gcp_everything)
    module.apply()
    module.set(**gcp_everything | {"name": "other"})
    assert module.changes()["google_logging_metric.stored[0]"] == ["delete", "create"]


def test_dashboard_draws_what_the_alerts_watch(gcp_state: list[dict[str, Any]]) -> None:
    dashboard = json.loads(only(gcp_state, "google_monitoring_dashboard", "this")["dashboard_json"])
    drawn = json.dumps(dashboard)
    policies = [each for each in of_rules(gcp_state) if each["display_name"] != "mcloud-silence"]
    assert len(policies) == 8
    for policy in policies:
        assert json.dumps(watched(policy)["filter"])[1:-1] in drawn
        assert policy["notification_channels"] != []


def test_alerts_are_those_of_the_rules(
    gcp_state: list[dict[str, Any]], small_gcp_plan: dict[str, Any]
) -> None:
    """The important rules of ``mcloud alerts`` work without a machine of the user."""
    rules = {rule.name: rule for rule in Rules().rules}
    policies = {each["display_name"]: watched(each) for each in of_rules(gcp_state)}
    # It counts stored messages without canaries, and is 0 if the metric does not exist yet.
    silence = policies.pop("mcloud-silence")
    assert silence["query"] == (
        "(sum(increase(logging_googleapis_com:user_mcloud_stored"
        '{monitored_resource="cloud_run_revision"}[900s])) or vector(0)) == 0'
    )
    assert silence["disable_metric_validation"]
    counted = only(gcp_state, "google_logging_metric", "stored")
    assert counted["name"] == "mcloud-stored"
    assert counted["filter"].endswith(
        f'jsonPayload.message = "stored" AND jsonPayload.symbol != "{CANARY}"'
    )
    assert {name: each["threshold_value"] for name, each in policies.items()} == {
        "mcloud-dead-letters": rules["dead-letters"].above,
        "mcloud-message-age": rules["message-age"].above,
        "mcloud-function-errors": 0,
        "mcloud-anomaly-errors": 0,
        "mcloud-compact-errors": 0,
        "mcloud-staging-age": 600,
        "mcloud-function-throttles": 0,
        "mcloud-function-unreachable": 0,
    }
    assert {each["comparison"] for each in policies.values()} == {"COMPARISON_GT"}
    (budget,) = values(gcp_state, "google_billing_budget")
    percents = [each["threshold_percent"] for each in budget["threshold_rules"]]
    assert percents == [rules["budget"].above, 1]
    # A standby site has no alerts, and no billing account was set.
    small = resources(small_gcp_plan["planned_values"])
    names = {each["display_name"] for each in of_rules(small)}
    assert names == {name.replace("mcloud", "other") for name in policies} - {
        "other-anomaly-errors",
        "other-compact-errors",
    }
    assert values(small, "google_billing_budget") == []


def of_rules(planned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the alert policies that correspond to rules."""
    return [
        each["values"]
        for each in planned
        if each["type"] == "google_monitoring_alert_policy" and each["name"] != "anomaly"
    ]


def watched(policy: dict[str, Any]) -> dict[str, Any]:
    """Return the only condition of a policy."""
    (condition,) = policy["conditions"]
    (found,) = condition["condition_threshold"] or condition["condition_prometheus_query_language"]
    kept: dict[str, Any] = found
    return kept


@pytest.mark.parametrize(
    ("function", "grants"),
    [
        (
            "google_cloudfunctions2_function.processor",
            {
                "google_cloud_run_v2_service_iam_member.invoker",
                "google_cloudfunctions2_function_iam_member.operator",
                "google_cloudfunctions2_function_iam_member.replicator_looks",
            },
        ),
        (
            'google_cloudfunctions2_function.scheduled["anomaly"]',
            {
                'google_cloud_run_v2_service_iam_member.scheduler["anomaly"]',
                'google_cloudfunctions2_function_iam_member.operator_scheduled["anomaly"]',
                'google_cloudfunctions2_function_iam_member.replicator_looks_scheduled["anomaly"]',
            },
        ),
        (
            'google_cloudfunctions2_function.scheduled["compact"]',
            {
                'google_cloud_run_v2_service_iam_member.scheduler["compact"]',
                'google_cloudfunctions2_function_iam_member.operator_scheduled["compact"]',
                'google_cloudfunctions2_function_iam_member.replicator_looks_scheduled["compact"]',
            },
        ),
    ],
)
def test_a_function_that_is_replaced_gets_its_grants_again(
    applied_gcp: Module, function: str, grants: set[str]
) -> None:
    changes = applied_gcp.changes(f"-replace={function}")
    replaced = {address for address, actions in changes.items() if "create" in actions}
    assert replaced == {function, *grants}


def test_the_last_good_source_remains_until_the_functions_are_built_again(
    applied_gcp: Module, gcp_plan: dict[str, Any]
) -> None:
    changes = applied_gcp.changes("-replace=google_storage_bucket_object.bundle")
    assert changes["google_storage_bucket_object.bundle"] == ["create", "delete"]
    # Terraform changes the functions in between, because they refer to the object.
    configured = gcp_plan["configuration"]["root_module"]["resources"]
    functions = [each for each in configured if each["type"] == "google_cloudfunctions2_function"]
    assert sorted(each["name"] for each in functions) == ["processor", "scheduled"]
    for each in functions:
        (build,) = each["expressions"]["build_config"]
        (place,) = build["source"][0]["storage_source"]
        assert "google_storage_bucket_object.bundle" in place["object"]["references"]


def test_fixed_charges_are_those_of_the_functions_and_jobs(gcp_state: list[dict[str, Any]]) -> None:
    functions = values(gcp_state, "google_cloudfunctions2_function")
    jobs = values(gcp_state, "google_cloud_scheduler_job")
    assert fixed("gcp") == {
        "scheduler_job_months": len(jobs),
        "image_gib_months": len(functions) * IMAGE,
    }


def test_logs_leave_out_pushes_that_succeeded(
    gcp_state: list[dict[str, Any]], small_gcp_plan: dict[str, Any]
) -> None:
    """Two stacks of a project have one exclusion each, for their own function only."""
    kind = "google_logging_project_exclusion"
    (one,) = values(gcp_state, kind)
    (other,) = values(resources(small_gcp_plan["planned_values"]), kind)
    assert (one["name"], other["name"]) == ("mcloud-pushes", "other-pushes")
    push = {
        "resource.type": "cloud_run_revision",
        "resource.labels.service_name": "mcloud-processor",
        "resource.labels.location": "us-central1",
        "log_id": "run.googleapis.com/requests",
        "httpRequest.requestMethod": "POST",
        "httpRequest.userAgent": "CloudPubSub-Google",
        "httpRequest.status": "204",
    }
    agent = "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"
    assert is_matched(one["filter"], push)
    assert is_matched(one["filter"], {**push, "httpRequest.userAgent": agent})
    assert not is_matched(other["filter"], push)
    for name, value in {
        "resource.labels.service_name": "mcloud-anomaly",
        "log_id": "run.googleapis.com/stderr",
        "httpRequest.requestMethod": "GET",
        "httpRequest.userAgent": "curl/8.5.0",
        "httpRequest.status": "503",
    }.items():
        assert not is_matched(one["filter"], {**push, name: value}), name


def is_matched(conditions: str, entry: dict[str, str]) -> bool:
    """Return whether a log entry meets all conditions of a filter.

    https://cloud.google.com/logging/docs/view/logging-query-language
    """
    compare: dict[str, Callable[[str, str], bool]] = {
        "=": lambda has, wanted: has == wanted,
        "=~": lambda has, wanted: re.search(wanted, has) is not None,
        ">=": lambda has, wanted: int(has) >= int(wanted),
        "<": lambda has, wanted: int(has) < int(wanted),
    }
    simple = re.sub(r'log_id\((".+?")\)', r"log_id = \1", conditions).split(" AND ")
    parts = [condition.split(" ", 2) for condition in simple]
    return all(
        compare[operator](entry[field], wanted.strip('"')) for field, operator, wanted in parts
    )


def test_the_dashboard_omits_positions_of_0(
    gcp_state: list[dict[str, Any]],
) -> None:
    """Cloud Monitoring leaves out positions of 0, so that each plan would show a change."""
    dashboard = json.loads(only(gcp_state, "google_monitoring_dashboard", "this")["dashboard_json"])
    tiles = dashboard["mosaicLayout"]["tiles"]
    places = {(tile.get("xPos", 0), tile.get("yPos", 0)) for tile in tiles}
    assert len(places) == len(tiles) > 4
    assert all(0 not in tile.values() for tile in tiles)


def test_requests_name_the_project_whose_quota_they_use(gcp_plan: dict[str, Any]) -> None:
    """The API of budgets refuses requests of user accounts without a project."""
    settings = gcp_plan["configuration"]["provider_config"]["google"]["expressions"]
    assert settings["user_project_override"] == {"constant_value": True}
    assert settings["billing_project"] == {"references": ["var.project"]}
