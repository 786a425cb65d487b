"""Errors of Terraform and its providers, and their diagnosis."""

from pathlib import Path

import pytest

from mcloud.infra.diagnosis import explain, from_text
from mcloud.infra.state_errors import FailedRun

BOXED = """\
There are some problems with the CLI configuration:
╷
│ Warning: Unable to open CLI configuration file
╵
╷
│ Error: Unsupported argument
│
│   on messaging.tf line 12, in resource "aws_sqs_queue" "trades":
│   12:   nam = "x"
│
│ An argument named "nam" is not expected here. Did you mean "name"?
╵
"""


def said(text: str, run: FailedRun, **more: object) -> str:
    summary, _, detail = text.partition("\n")
    return str(explain([{"summary": summary, "detail": detail, **more}], run))


@pytest.fixture
def run(tmp_path: Path) -> FailedRun:
    return FailedRun(tmp_path, "tofu")


def test_text_without_json_has_its_place() -> None:
    (found,) = from_text(BOXED)
    assert found["summary"] == "Unsupported argument"
    assert found["range"] == {"filename": "messaging.tf", "start": {"line": 12}}
    assert found["detail"].startswith("An argument named")


def test_an_unknown_error_is_reported_with_its_location(run: FailedRun) -> None:
    broken = {
        "summary": "Invalid reference",
        "detail": "There is\nno such thing.",
        "address": "aws_sqs_queue.trades",
        "range": {"filename": "messaging.tf", "start": {"line": 12}},
    }
    vague = {"summary": "Something is wrong", "detail": ""}
    assert str(explain([vague, broken], run)).startswith(
        "Invalid reference There is no such thing. (aws_sqs_queue.trades, messaging.tf:12)"
        " (and 1 more: -vv shows all); fix that, then run the same command again"
    )


def test_a_failure_without_output_is_reported(run: FailedRun) -> None:
    assert str(explain([], run)) == "Terraform failed and did not say why; run again with -vv"


def test_a_lock_names_its_holder_and_the_command(run: FailedRun) -> None:
    text = (
        "Error acquiring the state lock\nError message: resource temporarily unavailable\n"
        "Lock Info:\n  ID:        0c7f\n  Path:      terraform.tfstate\n"
        "  Operation: OperationTypeApply\n  Who:       ada@desk\n  Version:   1.11.4\n"
        "  Created:   2026-11-24 02:00:00 +0000 UTC\n  Info:      \n"
    )
    assert said(text, run) == (
        "the state is locked since 2026-11-24 02:00:00 +0000 UTC by ada@desk (apply, lock 0c7f);"
        " wait until that has ended, as with --lock-timeout 10m; only where its process is gone:"
        f" `tofu -chdir={run.folder} force-unlock 0c7f`"
    )
    assert "could not lock the state: Who" in said("Error acquiring the state lock\nWho knows", run)


def test_a_state_that_could_not_be_saved(run: FailedRun) -> None:
    text = "Failed to save state\nError saving state: writing S3: AccessDenied."
    (run.folder / "errored.tfstate").touch()
    assert said(text, run) == (
        "Terraform could not save its state (AccessDenied);"
        f" it is in {run.folder}/errored.tfstate; fix the cause and run the same command again:"
        " it saves that state first"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # AWS
        ("No valid credential sources found", "there are no AWS credentials"),
        ("operation error STS: ExpiredToken: The security token", "AWS credentials have expired"),
        ("failed to refresh cached credentials, refresh cached SSO token failed", "have expired"),
        (
            "api error InvalidClientTokenId: The security token",
            "does not recognise these credentials",
        ),
        (
            "creating SQS Queue: AccessDenied: User: arn:aws:iam::1:user/a is not authorized to"
            " perform: sqs:CreateQueue on resource: arn",
            "a permission is missing: creating SQS Queue",
        ),
        (
            "setting concurrency: InvalidParameterValueException: Specified ReservedConcurrent"
            "Executions for function decreases account's UnreservedConcurrentExecution below",
            "leave out `reserve_concurrency`",
        ),
        # Google
        ("could not find default credentials", "there are no Google credentials"),
        ('oauth2: "invalid_grant" "reauth related error"', "Google credentials have expired"),
        ("googleapi: Error 403: Permission 'x.y' denied on resource", "a permission is missing"),
        ("Error 404: The requested project was not found.", "the Google project is wrong"),
        # Terraform
        ("Saved plan is stale", "the state has changed since this was planned"),
        ("Backend configuration changed", "init -migrate-state`"),
        ("Failed to query available provider packages\nCould not", "a provider cannot be fetched"),
        ("Unsupported Terraform Core version\nThis configuration does not", "is too old"),
        ("Inconsistent dependency lock file", ".terraform.lock.hcl and run the same command again"),
        ("cannot write: no space left on device", "the disk is full"),
    ],
)
def test_known_errors_have_a_cause_and_a_remedy(text: str, words: str, run: FailedRun) -> None:
    error = said(text, run)
    assert words in error
    assert "\n" not in error
    assert "{" not in error


def test_long_words_are_cut(run: FailedRun) -> None:
    assert len(said("x" * 5000, run)) < 400


def test_a_command_for_a_person_runs_as_mcloud_runs_it(tmp_path: Path) -> None:
    """With a data folder from the shell it would copy the state of another site."""
    run = FailedRun(tmp_path, "tofu", ("TF_CLI_ARGS", "TF_DATA_DIR"))
    moved = said("Backend configuration changed", run)
    command = f"env -u TF_CLI_ARGS -u TF_DATA_DIR tofu -chdir={tmp_path} init -migrate-state"
    assert f"move it with `{command}`" in moved
