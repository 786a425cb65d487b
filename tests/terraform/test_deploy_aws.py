"""The real module, applied by ``mcloud`` with the real provider on the embedded AWS."""

import io
import json
import os
import re
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import recording
from cli.conftest import Terminal
from patience import PATIENCE, eventually

from mcloud.clouds.aws.client import make_client
from mcloud.clouds.factory import open_site
from mcloud.clouds.resources import AwsResources
from mcloud.feed.simulate import Simulate
from mcloud.local import control
from mcloud.rehearsal.demo import stored_rows
from mcloud.rehearsal.oracle import expected_rows
from mcloud.sites.provisioning import LOCAL_STACK

from .module import provider_mirror, terraform
from .test_deploy_gcp import copy_of_mcloud, read_until

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
START = 1_723_075_200_000  # 2024-08-08T00:00:00Z
LONGEST = 900.0  # seconds for one command: the provider waits 25 s after each change of a queue
TERRAFORM = ("aws", "--provisioner", "terraform")


@pytest.mark.nightly
@pytest.mark.timeout(3000)
def test_the_life_of_a_stack(tmp_path: Path) -> None:
    terraform()
    mcloud = Terminal(tmp_path, tmp_path / "state")
    mcloud.environment["TF_PLUGIN_DIR"] = provider_mirror()
    try:
        live(mcloud, tmp_path)
    finally:
        control.down(tmp_path / "state" / "local")


def live(mcloud: Terminal, tmp_path: Path) -> None:
    assert mcloud.run("local", "up", "--ports", "auto").returncode == 0
    embedded = json.loads(mcloud.run("outputs", "aws", "-o", "json").stdout)["aws"]

    # After a Ctrl-C in the middle no lock is left, and the next run creates the rest.
    process = mcloud.start("deploy", *TERRAFORM, "--yes", "-v")
    said = read_until(process, "created    aws_dynamodb_table.candles")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said + err
    assert out.startswith("aws: interrupted after ")
    workspace = tmp_path / "state" / "terraform" / "local" / "aws"
    assert not (workspace / ".terraform.tfstate.lock.info").exists()
    finished = run(mcloud, "deploy", *TERRAFORM, "--yes")
    assert finished["result"] == "deployed"
    # Resources that the provider was still waiting for are created again; the others stay.
    kept = {each["address"] for each in finished["plan"]["changes"] if each["action"] != "replace"}
    assert "aws_dynamodb_table.candles" not in kept

    # The outputs equal those of the embedded provisioner, except for the name of the stack.
    outputs = finished["outputs"]
    # The embedded provisioner deploys for any freshness.
    assert outputs == {"freshness": "5"} | {
        name: value.replace("mcloud-", f"{LOCAL_STACK}-") for name, value in embedded.items()
    }
    assert json.loads(mcloud.run("outputs", "aws", "-o", "json").stdout)["aws"] == outputs

    # The resources that Terraform made turn trades into exact candles.
    trades = list(Simulate(SYMBOLS, seed=1, start_time=START, count=10_000, rate=20))
    path = recording.write(tmp_path / "trades.jsonl", trades)
    source = ("--source", f"replay:{path}", "--market", "spot")
    produced = mcloud.run("produce", *source, "--to", "aws")
    assert produced.returncode == 0, produced.stderr
    expected = expected_rows(trades)
    site = open_site("aws", AwsResources.from_outputs(outputs))
    eventually(lambda: stored_rows(site, SYMBOLS) == expected, pause=0.5)
    shown = mcloud.run("candles", SYMBOLS[0], "--from", "aws", "-o", "json")
    shown_trades = sum(each["trade_count"] for each in json.loads(shown.stdout))
    assert shown_trades == sum(trade.symbol == SYMBOLS[0] for trade in trades)

    assert run(mcloud, "deploy", *TERRAFORM, "--yes")["result"] == "unchanged"

    # The code of a function whose update failed is updated again, in place.
    function = make_client("lambda", "us-east-1", embedded["endpoint_url"])
    name = f"{LOCAL_STACK}-processor"
    ours = function.get_function_configuration(FunctionName=name)["CodeSha256"]
    mapping = event_source(function, name)
    function.update_function_code(FunctionName=name, ZipFile=earlier_code())
    assert function.get_function_configuration(FunctionName=name)["CodeSha256"] != ours
    again = run(mcloud, "deploy", *TERRAFORM, "--yes")
    assert {(each["address"], each["action"]) for each in again["plan"]["changes"]} == {
        ("terraform_data.build", "replace"),
        *FUNCTIONS,
    }
    assert function.get_function_configuration(FunctionName=name)["CodeSha256"] == ours
    assert event_source(function, name) == mapping
    assert run(mcloud, "deploy", *TERRAFORM, "--yes")["result"] == "unchanged"

    # Terraform itself deletes nothing that is protected.
    by_hand = subprocess.run(
        (terraform(), "destroy", "-input=false", "-no-color", "-auto-approve"),
        cwd=workspace,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        capture_output=True,
        text=True,
    )
    assert by_hand.returncode == 1
    assert "deletion_protection is on" in by_hand.stderr
    assert "Destruction complete" not in by_hand.stdout

    # Changed code updates only the function.
    upgraded = copy_of_mcloud(tmp_path / "upgraded")
    with (upgraded / "functions" / "aws" / "processor.py").open("a") as processor:
        processor.write("# other code\n")
    path = mcloud.environment["PYTHONPATH"]
    mcloud.environment["PYTHONPATH"] = str(upgraded)
    changed = run(mcloud, "deploy", *TERRAFORM, "--yes")
    mcloud.environment["PYTHONPATH"] = path
    assert {(each["address"], each["action"]) for each in changed["plan"]["changes"]} == FUNCTIONS
    assert changed["result"] == "deployed"
    assert stored_rows(site, SYMBOLS) == expected

    process = mcloud.start("destroy", *TERRAFORM, "--yes", "--confirm", LOCAL_STACK)
    out, err = process.communicate(timeout=LONGEST)
    assert out.startswith("aws: destroyed, "), err
    assert re.search(r"^aws: deleted [\d,]+ versions of objects in mcloud", err, re.MULTILINE)
    assert left(embedded["endpoint_url"]) == []
    assert not workspace.exists()
    assert json.loads(mcloud.run("outputs", "aws", "-o", "json").stdout)["aws"] == embedded


FUNCTIONS = {
    ("aws_lambda_function.processor", "change"),
    ('aws_lambda_function.scheduled["anomaly"]', "change"),
    ('aws_lambda_function.scheduled["compact"]', "change"),
}


def event_source(client: Any, function: str) -> str:
    """Return the id of the only trigger of a function."""
    (found,) = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    return str(found["UUID"])


def earlier_code() -> bytes:
    """Return a bundle with other code."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as bundle:
        bundle.writestr("processor.py", "def handler(event, context): raise SystemError\n")
    return content.getvalue()


def run(mcloud: Terminal, *arguments: str) -> dict[str, Any]:
    process = mcloud.start(*arguments, "-o", "json")
    out, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 0, err
    outcome: dict[str, Any] = json.loads(out)["sites"]["aws"]
    return outcome


def left(endpoint_url: str) -> list[str]:
    """Return the resources of the stack that still exist in the embedded AWS."""

    def client(service: str) -> Any:
        return make_client(service, "us-east-1", endpoint_url)

    found = [
        *client("sqs").list_queues().get("QueueUrls", []),
        *client("dynamodb").list_tables()["TableNames"],
        *(each["Name"] for each in client("s3").list_buckets()["Buckets"]),
        *(each["FunctionName"] for each in client("lambda").list_functions()["Functions"]),
        *(each["RoleName"] for each in client("iam").list_roles()["Roles"]),
        *(each["TopicArn"] for each in client("sns").list_topics()["Topics"]),
        *(each["AliasName"] for each in client("kms").list_aliases()["Aliases"]),
        *(each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]),
    ]
    return [name for name in found if LOCAL_STACK in name]
