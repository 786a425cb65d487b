"""Reading Terraform's plan documents, without Terraform."""

import json
from pathlib import Path
from typing import Any

import pytest

from mcloud.documents import encode
from mcloud.errors import McloudError
from mcloud.infra.plan import (
    CREATE,
    DELETE,
    REPLACE,
    UPDATE,
    StackPlan,
    change,
    check_protection,
    parse,
    to_build_again,
    unconfirmed,
)

SAMPLES = Path(__file__).parent / "plans"


def sample(name: str) -> dict[str, Any]:
    """Return a part of the output of ``terraform show -json`` for the Google module."""
    shown: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return shown


def entry(
    before: object, after: object, *actions: str, kind: str = "aws_sqs_queue", **more: Any
) -> dict[str, Any]:
    how = {"actions": list(actions), "before": before, "after": after, **more}
    return {"address": f"{kind}.trades", "type": kind, "mode": "managed", "change": how}


def test_a_first_deployment_only_creates_resources() -> None:
    plan = parse(sample("create"))
    assert plan.counts() == {CREATE: len(plan.changes), UPDATE: 0, REPLACE: 0, DELETE: 0}
    assert plan.changes
    assert plan.at_risk == ()
    assert "topic" in plan.outputs


def test_nothing_to_do() -> None:
    plan = parse(sample("none"))
    assert plan == StackPlan(())
    assert plan.empty


def test_changed_code_only_updates_the_function() -> None:
    plan = parse(sample("code"))
    assert {each.address: each.action for each in plan.changes} == {
        "google_cloudfunctions2_function.processor": UPDATE,
        "google_storage_bucket_object.processor": UPDATE,
    }
    assert plan.at_risk == ()


def test_a_replacement_has_its_reason_and_the_lost_data() -> None:
    plan = parse(sample("replace"))
    (bucket,) = plan.at_risk
    assert bucket.address == "google_storage_bucket.raw"
    assert (bucket.action, bucket.because) == (REPLACE, ("location",))
    assert bucket.summary == "cannot be changed in place: location"
    with pytest.raises(McloudError, match=r"^the plan would delete or replace google_storage_buc"):
        check_protection(plan)
    # The other bucket can be rebuilt at any time.
    assert "google_storage_bucket.source" in {each.address for each in plan.changes}


@pytest.mark.parametrize(
    ("kind", "protection"),
    [
        ("aws_dynamodb_table", {"deletion_protection_enabled": True}),
        ("aws_s3_bucket", {"force_destroy": False}),
        ("google_firestore_database", {"delete_protection_state": "DELETE_PROTECTION_ENABLED"}),
        ("google_storage_bucket", {"force_destroy": False}),
    ],
)
@pytest.mark.parametrize("actions", [("delete", "create"), ("create", "delete"), ("delete",)])
def test_a_deployment_deletes_or_replaces_nothing_protected(
    kind: str, protection: dict[str, object], actions: tuple[str, ...]
) -> None:
    after = None if actions == ("delete",) else {}
    held = parse({"resource_changes": [entry(protection, after, *actions, kind=kind)]})
    with pytest.raises(McloudError, match=rf"^the plan would delete or replace {kind}\.trades, "):
        check_protection(held)
    free = parse({"resource_changes": [entry({}, after, *actions, kind=kind)]})
    check_protection(free)


FUNCTION, LAMBDA = "google_cloudfunctions2_function", "aws_lambda_function"
BUILD = ["terraform_data.build"]


@pytest.mark.parametrize(
    ("kind", "before", "actions", "replaced"),
    [
        (FUNCTION, {"state": "FAILED"}, "no-op", BUILD),
        (FUNCTION, {"state": "ACTIVE"}, "no-op", []),
        # Another change of the function does not build it.
        (FUNCTION, {"state": "FAILED"}, "update", BUILD),
        (FUNCTION, {"state": "FAILED"}, "delete", []),
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": "b= 2026"}, "no-op", BUILD),
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": "a= 2026"}, "no-op", []),
        # Another change of the function does not update its code.
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": "b= 2026"}, "update", BUILD),
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": "b= 2026"}, "delete", []),
        # The state of a function that was imported has no hash.
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": None}, "delete", []),
        (LAMBDA, {"code_sha256": "a=", "source_code_hash": None}, "no-op", BUILD),
        ("aws_sqs_queue", {}, "no-op", []),
    ],
)
def test_a_function_that_a_plan_would_leave_with_earlier_code(
    kind: str, before: dict[str, Any], actions: str, replaced: list[str]
) -> None:
    change = entry(before, before, actions, kind=kind)
    assert to_build_again({"resource_changes": [change, change]}) == replaced


def test_a_plan_that_updates_the_code_of_a_function_repeats_nothing() -> None:
    before = {"code_sha256": "a=", "source_code_hash": "b= 2026"}
    change = entry(before, before | {"source_code_hash": "c= 2026"}, "update", kind=LAMBDA)
    assert to_build_again({"resource_changes": [change]}) == []


def test_a_failed_function_of_google_with_other_code_is_built_anyway() -> None:
    before = {"state": "FAILED", "build_config": [{"environment_variables": {"a": "1"}}]}
    after = before | {"build_config": [{"environment_variables": {"a": "2"}}]}
    change = entry(before, after, "update", kind=FUNCTION)
    assert to_build_again({"resource_changes": [change]}) == []


def test_drift_is_listed_separately() -> None:
    plan = parse(sample("drift"))
    assert [(each.address, each.action, each.changed) for each in plan.drift] == [
        (
            "google_pubsub_subscription.dlq",
            UPDATE,
            ("ack_deadline_seconds 60 → 11",),
        ),
        (
            "google_pubsub_subscription.processor",
            UPDATE,
            ("ack_deadline_seconds 90 → 11",),
        ),
    ]
    assert {each.address for each in plan.changes} == {each.address for each in plan.drift}


def test_programs_get_everything_of_a_plan() -> None:
    changed = entry({"size": 1}, {"size": 2}, "update")
    bucket = {"bucket": "mcloud-raw"}
    lost = entry(bucket, None, "delete", kind="aws_s3_bucket")
    plan = parse(
        {
            "resource_changes": [changed, lost],
            "output_changes": {"queue_url": {"actions": ["update"]}},
        }
    )
    assert json.dumps(encode(plan.document)) == json.dumps(
        {
            "changes": [
                {
                    "address": "aws_sqs_queue.trades",
                    "kind": "aws_sqs_queue",
                    "action": "change",
                    "because": [],
                    "changed": ["size 1 → 2"],
                    "loses": None,
                    "name": None,
                    "protected": False,
                },
                {
                    "address": "aws_s3_bucket.trades",
                    "kind": "aws_s3_bucket",
                    "action": "destroy",
                    "because": [],
                    "changed": [],
                    "loses": "raw trades",
                    "name": "mcloud-raw",
                    "protected": False,
                },
            ],
            "drift": [],
            "outputs": ["queue_url"],
            "counts": {"create": 0, "change": 1, "replace": 0, "destroy": 1},
        }
    )


def test_values_that_terraform_only_learned_are_no_drift() -> None:
    learned = entry({"tags": None, "url": "u"}, {"tags": {}, "url": "u"}, "update")
    code = entry({"tags": {}, "size": 1}, {"tags": {}, "size": 2}, "update")
    assert parse({"resource_drift": [learned], "resource_changes": [code]}).drift == ()
    assert parse({"resource_drift": [learned]}).drift == ()


def test_a_deleted_resource_is_drift() -> None:
    gone = entry({"name": "mcloud-trades"}, None, "delete")
    again = entry(None, {"name": "mcloud-trades"}, "create")
    plan = parse({"resource_drift": [gone], "resource_changes": [again]})
    assert [each.action for each in plan.drift] == [DELETE]
    assert plan.at_risk == ()  # it is lost already


def test_an_unfinished_resource_is_replaced_and_holds_no_data() -> None:
    begun = entry({"name": "q", "url": "u"}, {"name": "q"}, "delete", "create")
    begun["action_reason"] = "replace_because_tainted"
    learned = entry({"url": None}, {"url": "u"}, "update")
    plan = parse({"resource_changes": [begun], "resource_drift": [learned]})
    (one,) = plan.changes
    assert (one.action, one.summary) == (REPLACE, "was created only in part")
    assert plan.at_risk == plan.drift == ()


def test_a_destroy_marks_data_and_protection() -> None:
    plan = parse(sample("destroy"))
    assert {each.action for each in plan.changes} == {DELETE}
    assert {each.name: each.holds for each in plan.at_risk} == {
        "mcloud-raw-mcloud-local": "raw trades",
        "(default)": "candles and control records",
        "mcloud-trades": "waiting messages",
        "mcloud-trades-dlq": "waiting messages",
        "mcloud-trades-processor": "waiting messages",
    }
    assert {each.address for each in plan.changes if each.protected} == {
        "google_firestore_database.this",
        "google_storage_bucket.raw",
    }


@pytest.mark.parametrize(
    ("marks", "shown"),
    [
        ({"before_sensitive": {"key": True}}, ("key (sensitive)",)),
        ({"after_sensitive": {"key": True}}, ("key (sensitive)",)),
        ({"after_sensitive": True}, ("key (sensitive)",)),
        ({"after_sensitive": {"key": [False, {"inner": True}]}}, ("key (sensitive)",)),
        ({"after_sensitive": {"other": True}}, ("key old → new",)),
        ({}, ("key old → new",)),
    ],
)
def test_secrets_are_masked(marks: dict[str, Any], shown: tuple[str, ...]) -> None:
    plan = parse({"resource_changes": [entry({"key": "old"}, {"key": "new"}, "update", **marks)]})
    assert plan.changes[0].changed == shown
    text = json.dumps(encode(plan.document))
    assert ("old" in text) == (shown == ("key old → new",))


def test_short_known_values_are_shown() -> None:
    before = {"memory": 512, "policy": "x" * 99, "arn": "a", "on": False, "list": [1]}
    after = {"memory": 1024, "policy": "y" * 99, "on": True, "list": [2]}
    plan = parse(
        {"resource_changes": [entry(before, after, "update", after_unknown={"arn": True})]}
    )
    assert plan.changes[0].changed == (
        "arn",
        "list",
        "memory 512 → 1024",
        "on false → true",
        "policy",
    )


def test_data_that_is_only_read_is_no_change() -> None:
    read = {**entry(None, {}, "read"), "mode": "data"}
    assert parse({"resource_changes": [read, entry({}, {}, "no-op")]}).empty


def test_changed_outputs_need_an_apply() -> None:
    plan = parse({"output_changes": {"a": {"actions": ["create"]}, "b": {"actions": ["no-op"]}}})
    assert plan.outputs == ("a",)
    assert not plan.empty


@pytest.mark.parametrize(
    ("confirmed", "left"),
    [
        ((), ["raw", "queue"]),
        (("raw",), ["queue"]),
        (("raw", "queue"), []),
        (("mcloud",), []),
        (("Raw",), ["raw", "queue"]),
    ],
)
def test_each_store_is_agreed_to_by_name(confirmed: tuple[str, ...], left: list[str]) -> None:
    plan = StackPlan(
        (
            change("aws_s3_bucket.raw", "aws_s3_bucket", DELETE, "raw"),
            change("aws_sqs_queue.trades", "aws_sqs_queue", REPLACE, "queue"),
            change("aws_sqs_queue.dlq", "aws_sqs_queue", UPDATE, "dlq"),
        )
    )
    assert [each.name for each in unconfirmed(plan, "mcloud", confirmed)] == left
