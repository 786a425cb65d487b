"""``mcloud permissions``: the documents that grant what a deployment needs."""

import json
from typing import Any

import pytest

from .conftest import Terminal

SITES = """
profile = "prod"
[profiles.prod.sites.aws]
cloud = "aws"
region = "cn-north-1"
name = "desk"
backend = { type = "s3", bucket = "states" }
[profiles.prod.sites.gcp]
cloud = "gcp"
region = "us-central1"
project = "my-project"
"""


@pytest.fixture
def described(mcloud: Terminal) -> Terminal:
    (mcloud.folder / "mcloud.toml").write_text(SITES)
    return mcloud


def printed(terminal: Terminal, *arguments: str) -> Any:
    done = terminal.run("permissions", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("role", ["deployer", "planner"])
def test_the_policy_of_a_site_on_aws(described: Terminal, role: str) -> None:
    statements = {
        each["Sid"]: each for each in printed(described, "aws", "--role", role)["Statement"]
    }
    assert statements["Queues"]["Resource"] == "arn:aws-cn:sqs:cn-north-1:*:desk-*"
    assert ("sqs:CreateQueue" in statements["Queues"]["Action"]) == (role == "deployer")
    tag = {"StringEquals": {"aws:ResourceTag/stack": "desk"}}
    assert statements["Keys"]["Condition"] == tag
    state = statements["State"]
    assert state["Resource"] == "arn:aws-cn:s3:::states/mcloud/prod/desk/aws.tfstate"
    assert ("s3:PutObject" in state["Action"]) == (role == "deployer")
    assert "s3:PutObject" in statements["Lock"]["Action"]


def test_the_role_of_a_site_on_google_cloud(described: Terminal) -> None:
    deployer, planner = (printed(described, "gcp", "--role", r) for r in ("deployer", "planner"))
    assert set(planner["includedPermissions"]) < set(deployer["includedPermissions"])
    assert "cloudscheduler.jobs.create" in deployer["includedPermissions"]
    assert not [each for each in planner["includedPermissions"] if each.endswith("create")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["aws", "--role", "operator"], "unknown role 'operator'; choose from deployer, planner"),
        (["azure"], "unknown site 'azure'; choose from aws, gcp"),
        (["aws", "--profile", "local"], "the embedded clouds need no permissions"),
    ],
)
def test_unknown_roles_and_embedded_sites_are_refused(
    described: Terminal, arguments: list[str], words: str
) -> None:
    done = described.run("permissions", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
