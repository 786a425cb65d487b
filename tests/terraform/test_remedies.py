"""The advice for problems with Terraform's state, followed with the real Terraform.

The module has one built-in resource, so that each run is fast. The messages are Terraform's own,
and the state is a file or an object in the embedded S3.
"""

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from cli.conftest import Terminal
from remedies import advised, follow

from mcloud.clouds.aws.client import make_client
from mcloud.errors import McloudError
from mcloud.infra.state import STATE
from mcloud.infra.state_errors import BACKEND, BACKUP
from mcloud.infra.terraform import Terraform
from mcloud.local.state import State

from .module import terraform

Trouble = Callable[[Path], object]


class Stack:
    """A folder with a module, like mcloud's folder of a site."""

    def __init__(self, folder: Path, backend: dict[str, Any], environment: dict[str, str]) -> None:
        self.folder = folder / "a site"  # a name that a shell would split
        self.folder.mkdir()
        if backend:
            text = json.dumps({"terraform": {"backend": {"s3": backend}}})
            (self.folder / BACKEND).write_text(text)
        (folder / "empty.tfrc").touch()
        self.terminal = Terminal(folder, folder / "state")
        self.terminal.environment |= {
            **environment,
            "TF_CLI_CONFIG_FILE": str(folder / "empty.tfrc"),
        }
        self.binary = terraform()

    def apply(self, value: str) -> None:
        """Create the resource, or change its value."""
        module = f'resource "terraform_data" "a" {{ input = "{value}" }}\n'
        (self.folder / "main.tf").write_text(module)
        runner = Terraform(
            self.folder, self.binary, environment=self.terminal.environment, stop=Event()
        )
        runner.init()
        runner.plan("plan", lambda event: None)
        runner.apply("plan", lambda event: None)

    def trouble(self) -> McloudError:
        with pytest.raises(McloudError) as caught:
            self.apply("third")
        return caught.value


@pytest.fixture
def local(tmp_path: Path) -> Stack:
    """Return a stack that was deployed and changed once, so that its state has a backup."""
    stack = Stack(tmp_path, {}, {})
    stack.apply("first")
    stack.apply("second")
    return stack


@pytest.fixture
def remote(tmp_path: Path, embedded: State) -> Callable[..., Stack]:
    """Return a function that makes a stack with its state in a bucket.

    ``options`` are additional options of the backend.
    """
    url = embedded.outputs["aws"]["endpoint_url"]
    # For the AWS CLI and for Terraform.
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }

    def make(bucket: str, **options: Any) -> Stack:
        if shutil.which("aws") is None:
            pytest.skip("no AWS CLI, whose commands are advised")
        backend = {
            "bucket": bucket,
            "key": "mcloud/prod/mcloud/aws.tfstate",
            "region": "us-east-1",
            "use_path_style": True,
            "skip_credentials_validation": True,
            "skip_requesting_account_id": True,
            "skip_metadata_api_check": True,
            **options,
        }
        return Stack(tmp_path, backend, environment)

    return make


@pytest.fixture
def bucket(embedded: State) -> str:
    name = f"states-{uuid.uuid4().hex[:8]}"
    s3 = make_client("s3", "us-east-1", embedded.outputs["aws"]["endpoint_url"])
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def cut(state: Path) -> None:
    state.write_text(state.read_text()[:100])


def without(field: str) -> Trouble:
    def harm(state: Path) -> None:
        document = json.loads(state.read_text())
        del document[field]
        state.write_text(json.dumps(document))

    return harm


def mistyped(field: str) -> Trouble:
    def harm(state: Path) -> None:
        state.write_text(json.dumps({**json.loads(state.read_text()), field: "x"}))

    return harm


@pytest.mark.parametrize(
    "harm",
    [
        cut,
        lambda state: state.write_bytes(bytes(500)),
        lambda state: state.write_text("{}"),
        without("version"),
        mistyped("version"),
        mistyped("serial"),
        mistyped("resources"),
    ],
    ids=["cut", "zeros", "empty object", "no version", "version", "serial", "resources"],
)
def test_a_damaged_state_is_put_back_from_its_backup(local: Stack, harm: Trouble) -> None:
    harm(local.folder / STATE)
    error = local.trouble()
    assert error.message.startswith(f"the state {local.folder / STATE} is damaged: ")
    command, _ = advised(error.remedy)
    assert (local.folder / BACKUP).exists()
    follow(local.terminal, command)
    local.apply("third")


def test_a_damaged_state_without_a_backup_is_no_matter_of_waiting(local: Stack) -> None:
    good = (local.folder / STATE).read_bytes()
    cut(local.folder / STATE)
    (local.folder / BACKUP).write_text("")
    error = local.trouble()
    assert error.remedy == f"restore {local.folder / STATE} from a backup of this machine"
    (local.folder / STATE).write_bytes(good)
    local.apply("third")


def test_a_newer_state_asks_for_a_newer_terraform(local: Stack) -> None:
    document = json.loads((local.folder / STATE).read_text())
    newer = {**document, "version": 5, "terraform_version": "2.0.0"}
    (local.folder / STATE).write_text(json.dumps(newer))
    error = local.trouble()
    assert re.fullmatch(
        r"the state was written by Terraform 2\.0\.0, and this is [\d.]+, which does not know its"
        r" format",
        error.message,
    )
    assert error.remedy == "install a version that does, or name one in MCLOUD_TERRAFORM"


def test_a_state_of_another_mode_is_made_writable(
    local: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (local.folder / STATE).chmod(0o400)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root may write everything, and there is no setpriv to change that")
        wrapper = tmp_path / "terraform"
        wrapper.write_text(
            "#!/bin/sh\nexec setpriv --bounding-set -dac_override,-dac_read_search"
            f' {local.binary} "$@"\n'
        )
        wrapper.chmod(0o755)
        local.binary = str(wrapper)
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).stat().st_mode & 0o200)
    error = local.trouble()
    assert error.message == (
        f"Terraform cannot open its state {local.folder / STATE}: permission denied"
    )
    (command,) = advised(error.remedy)
    assert command.startswith("chmod ")
    follow(local.terminal, command)
    local.apply("third")


def test_a_folder_in_the_place_of_the_state(local: Stack) -> None:
    state = local.folder / STATE
    kept = state.rename(local.folder / "kept")
    state.mkdir()
    error = local.trouble()
    assert error.message.endswith("terraform.tfstate: is a directory")
    assert error.remedy.startswith(f"move {state} away, and put the state back in its place;")
    state.rename(local.folder / "away")
    kept.rename(state)
    local.apply("third")


def test_a_missing_lock_table_is_made(remote: Callable[..., Stack], bucket: str) -> None:
    stack = remote(bucket, dynamodb_table=f"locks-{bucket}")
    with pytest.raises(McloudError) as caught:
        stack.apply("first")
    assert caught.value.message == (
        f"the table locks-{bucket} for the lock of the state does not exist"
    )
    follow(stack.terminal, advised(caught.value.remedy)[0])
    stack.apply("first")


def test_a_missing_bucket_is_made(remote: Callable[..., Stack]) -> None:
    name = f"none-{uuid.uuid4().hex[:8]}"
    stack = remote(name, use_lockfile=True)
    with pytest.raises(McloudError) as caught:
        stack.apply("first")
    assert caught.value.message == f"the bucket {name} for the state does not exist"
    make, keep, *_ = advised(caught.value.remedy)
    follow(stack.terminal, make)
    follow(stack.terminal, keep)
    stack.apply("first")


def test_a_damaged_object_is_put_back_from_its_versions(
    remote: Callable[..., Stack], bucket: str, embedded: State
) -> None:
    stack = remote(bucket, use_lockfile=True)
    stack.apply("first")
    s3 = make_client("s3", "us-east-1", embedded.outputs["aws"]["endpoint_url"])
    key = "mcloud/prod/mcloud/aws.tfstate"
    s3.put_object(Bucket=bucket, Key=key, Body=b'{"version": 4,')
    error = stack.trouble()
    assert error.message.startswith(f"the state s3://{bucket}/{key} is damaged: ")
    listing, copy = advised(error.remedy)
    listed = json.loads(follow(stack.terminal, listing))["Versions"]
    earlier = [each for each in listed if each["Key"] == key and not each["IsLatest"]]
    follow(stack.terminal, copy, fill={"VERSION": earlier[0]["VersionId"]})
    stack.apply("second")


@pytest.mark.slow  # Terraform itself waits for 10 s
def test_a_digest_of_another_state_is_removed(
    remote: Callable[..., Stack], bucket: str, embedded: State
) -> None:
    """This happens after somebody restored the object by hand."""
    table = f"locks-{bucket}"
    stack = remote(bucket, dynamodb_table=table)
    with pytest.raises(McloudError) as caught:
        stack.apply("first")
    follow(stack.terminal, advised(caught.value.remedy)[0])
    stack.apply("first")
    url = embedded.outputs["aws"]["endpoint_url"]
    key = f"{bucket}/mcloud/prod/mcloud/aws.tfstate-md5"
    make_client("dynamodb", "us-east-1", url).put_item(
        TableName=table, Item={"LockID": {"S": key}, "Digest": {"S": "0" * 32}}
    )
    error = stack.trouble()
    assert "not the one that was saved last" in error.message
    follow(stack.terminal, advised(error.remedy)[-1])
    stack.apply("second")
