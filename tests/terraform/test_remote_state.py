"""State in the embedded S3, with the lock file that Terraform keeps beside it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from cli.conftest import Terminal

from mcloud.clouds.aws.client import make_client
from mcloud.local.state import State
from mcloud.sites.resources import FRESH

from .module import terraform

pytest.importorskip("tf", reason="the stand-in provider needs the PyPI package tf")

from .permissions.proxies import http_door
from .provider import Google, serving
from .test_deploy_gcp import describe, only, workspace

BUCKET = "states"
KEY = "mcloud/prod/mcloud/gcp.tfstate"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    terraform()
    with serving(tmp_path_factory.mktemp("provider")) as google:
        yield google


@pytest.fixture
def s3(embedded: State) -> Any:
    client = make_client("s3", "us-east-1", embedded.outputs["aws"]["endpoint_url"])
    client.create_bucket(Bucket=BUCKET)
    yield client
    for each in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=each["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def site(tmp_path: Path, embedded: State, google: Google, s3: Any) -> Terminal:
    terminal = Terminal(tmp_path, tmp_path / "state")
    describe(
        tmp_path,
        embedded,
        "[profiles.prod.sites.gcp.backend]\n"
        f'type = "s3"\nbucket = "{BUCKET}"\nregion = "us-east-1"\n'
        "use_path_style = true\nskip_credentials_validation = true\n"
        "skip_requesting_account_id = true\nskip_metadata_api_check = true\n",
    )
    (tmp_path / "empty.tfrc").touch()
    terminal.environment |= {
        **google.environment,
        "MCLOUD_PROFILE": "prod",
        "TF_CLI_CONFIG_FILE": str(tmp_path / "empty.tfrc"),
        "AWS_ENDPOINT_URL_S3": embedded.outputs["aws"]["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return terminal


def test_two_machines_share_a_site(site: Terminal, s3: Any, tmp_path: Path) -> None:
    deployed = site.run("deploy", "--yes")
    assert deployed.returncode == 0, deployed.stderr
    assert not (workspace(site) / "terraform.tfstate").exists()
    state = json.loads(s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
    assert state["outputs"]["topic"]["value"] == "mcloud-trades"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [KEY]

    # Another machine only has mcloud.toml.
    site.environment["MCLOUD_STATE"] = str(tmp_path / "elsewhere")
    again = site.run("deploy", "--yes", "-o", "json")
    assert again.returncode == 0, again.stderr
    assert only(again)["result"] == "unchanged"
    assert site.run("outputs").returncode == 0


def test_a_second_machine_reads_the_outputs_from_the_state(
    site: Terminal, s3: Any, tmp_path: Path
) -> None:
    assert site.run("deploy", "--yes").returncode == 0
    here = json.loads(site.run("outputs", "-o", "json").stdout)
    elsewhere = tmp_path / "elsewhere"
    site.environment["MCLOUD_STATE"] = str(elsewhere)
    # Nothing but the backend: no provider is fetched, and none could be.
    providers = {name: site.environment.pop(name) for name in list(site.environment) if name in OWN}
    refused: list[str] = []

    def may_read_the_state(method: str, path: str) -> bool:
        """Allow what docs/guide/deploy.md names: ListBucket, and GetObject on the key."""
        target = urlsplit(path)
        is_list = target.path in (f"/{BUCKET}", f"/{BUCKET}/") and "list-type=2" in target.query
        passes = method in ("GET", "HEAD") and (is_list or target.path == f"/{BUCKET}/{KEY}")
        if not passes:
            refused.append(f"{method} {path}")
        return passes

    s3_url = site.environment["AWS_ENDPOINT_URL_S3"]
    with http_door(urlsplit(s3_url).netloc, may_read_the_state) as address:
        site.environment["AWS_ENDPOINT_URL_S3"] = address
        there = site.run("outputs", "-o", "json")
    site.environment["AWS_ENDPOINT_URL_S3"] = s3_url
    assert there.returncode == 0, there.stderr
    assert refused == []
    assert json.loads(there.stdout) == here
    assert f"gcp: state in s3://{BUCKET}/{KEY}, read " in there.stderr
    assert not list(elsewhere.glob("state-*"))
    shown = site.run("config", "show", "-o", "json")
    assert f"state in s3://{BUCKET}/{KEY}, read" in shown.stdout

    # The copy is used for an hour, also where the state cannot be read.
    state = s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    assert json.loads(site.run("outputs", "-o", "json").stdout) == here
    (copy,) = elsewhere.glob("outputs/prod/gcp.remote.json")
    made = json.loads(copy.read_text())
    copy.write_text(json.dumps({**made, "at": made["at"] - 2 * FRESH}))
    old = site.run("outputs", "-o", "json")
    assert json.loads(old.stdout) == here
    assert "warning: gcp: uses the outputs read 2 h 0" in old.stderr
    assert f" ago: the state in s3://{BUCKET}/{KEY} is empty now\n" in old.stderr
    copy.unlink()
    lost = site.run("outputs")
    assert lost.returncode == 2
    assert "site 'gcp' of profile 'prod' is not deployed" in lost.stderr
    site.environment["AWS_ENDPOINT_URL_S3"] = "http://127.0.0.1:1"
    away = site.run("outputs")
    assert away.returncode == 1
    assert f"the state of gcp in s3://{BUCKET}/{KEY} cannot be read" in away.stderr
    site.environment |= providers
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=state)


OWN = ("TF_REATTACH_PROVIDERS", "TF_PLUGIN_DIR")


def test_another_key_in_the_bucket_loses_no_state(site: Terminal, s3: Any) -> None:
    """The state is at the earlier key, which Terraform no longer knows."""
    assert site.run("deploy", "--yes").returncode == 0
    state = s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
    document = site.folder / "mcloud.toml"
    document.write_text(document.read_text() + 'key = "elsewhere.tfstate"\n')
    shutil.rmtree(workspace(site) / ".terraform")
    for command in (("destroy", "--yes", "--confirm", "mcloud"), ("deploy", "--yes")):
        lost = site.run(*command)
        assert lost.returncode == 1
        assert "the state of gcp holds no resources, but " in lost.stderr
        assert "outputs/prod/gcp.json shows that the site is deployed" in lost.stderr
        assert "find the state (in another backend" in lost.stderr
    assert s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == state
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [KEY]


def test_sites_that_share_a_data_folder_keep_their_states_apart(
    site: Terminal, embedded: State, s3: Any, tmp_path: Path
) -> None:
    """Terraform remembers a backend in its data folder, and offers to copy its state."""
    document = site.folder / "mcloud.toml"
    other = document.read_text().replace("sites.gcp", "sites.other").replace(BUCKET, "others")
    document.write_text(f"{document.read_text()}{other}")
    site.environment["TF_DATA_DIR"] = str(tmp_path / "shared")
    s3.create_bucket(Bucket="others")
    try:
        for name in ("gcp", "other"):
            planned = site.run("plan", name, "--detailed-exitcode")
            assert planned.returncode == 3, planned.stderr
            assert "TF_DATA_DIR of this shell is not passed to Terraform" in planned.stderr
        assert not (tmp_path / "shared").exists()
    finally:
        s3.delete_bucket(Bucket="others")


def test_the_state_is_in_another_account(site: Terminal, embedded: State) -> None:
    """Terraform assumes a role there, for the state only."""
    account, bucket = "123456789012", "states-of-another-account"
    address = embedded.outputs["aws"]["endpoint_url"]
    # In the embedded AWS the key of an account is its number.
    other = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=account,
        aws_secret_access_key="test",
    )
    other.create_bucket(Bucket=bucket)
    document = site.folder / "mcloud.toml"
    document.write_text(document.read_text().replace(f'"{BUCKET}"', f'"{bucket}"'))
    try:
        assert site.run("plan").returncode == 1  # our account may not read it
        shutil.rmtree(workspace(site))
        backend = "[profiles.prod.sites.gcp.backend"
        document.write_text(
            f"{document.read_text()}{backend}.assume_role]\n"
            f'role_arn = "arn:aws:iam::{account}:role/terraform-state"\n'
            'session_name = "mcloud"\nexternal_id = "desk"\ntags = { team = "desk" }\n'
            'transitive_tag_keys = ["team"]\n'
            f'{backend}.endpoints]\ns3 = "{address}"\nsts = "{address}"\n'
        )
        deployed = site.run("deploy", "--yes")
        assert deployed.returncode == 0, deployed.stderr
        assert [each["Key"] for each in other.list_objects_v2(Bucket=bucket)["Contents"]] == [KEY]
    finally:
        for each in other.list_objects_v2(Bucket=bucket).get("Contents", ()):
            other.delete_object(Bucket=bucket, Key=each["Key"])
        other.delete_bucket(Bucket=bucket)


def test_a_stale_lock_is_explained(site: Terminal, s3: Any) -> None:
    assert site.run("plan").returncode == 0
    lock = {
        "ID": "4d1a9d2e-0000-4000-8000-000000000001",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "ada@desk",
        "Version": "1.11.4",
        "Created": "2026-01-02T03:04:05.000000Z",
        "Path": f"{BUCKET}/{KEY}",
    }
    s3.put_object(Bucket=BUCKET, Key=f"{KEY}.tflock", Body=json.dumps(lock).encode())
    locked = site.run("plan")
    assert locked.returncode == 1
    command = f"{terraform()} -chdir={workspace(site)} force-unlock {lock['ID']}"
    assert locked.stderr == (
        "error: gcp: the state is locked since 2026-01-02 03:04:05 +0000 UTC by ada@desk"
        f" (apply, lock {lock['ID']}); wait until that has ended, as with --lock-timeout 10m; only"
        f" where its process is gone: `{command}`\n"
    )
    # The command in the message solves the problem.
    site.program = command.split()[:1]
    freed = site.run(command.split()[1], "force-unlock", "-force", lock["ID"])
    assert freed.returncode == 0, freed.stderr
    assert s3.list_objects_v2(Bucket=BUCKET).get("KeyCount") == 0


def test_a_state_that_is_to_move_is_explained(site: Terminal, embedded: State) -> None:
    moved = (site.folder / "mcloud.toml").read_text()
    describe(site.folder, embedded)
    assert site.run("deploy", "--yes").returncode == 0
    (site.folder / "mcloud.toml").write_text(moved)
    failed = site.run("plan")
    assert failed.returncode == 1
    command = f"{terraform()} -chdir={workspace(site)} init -migrate-state"
    assert f"; move it with `{command}`, or restore `backend`;" in failed.stderr
    site.program = command.split()[:1]
    assert site.run(*command.split()[1:], "-force-copy").returncode == 0
    site.program = Terminal(site.folder, site.folder).program
    again = site.run("plan")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "gcp: no changes\n"
