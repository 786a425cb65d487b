"""Precedence: flags, environment, .env files, mcloud.toml, Terraform's outputs, defaults."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from mcloud import config
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config import variables
from mcloud.errors import ConfigError, McloudError
from mcloud.local.state import READY, Home, State
from mcloud.sites.explain import MASK, explain
from mcloud.sites.resources import FRESH, known_settings, site_resources

from .test_config import PROD, load

AWS = {field.name: f"its {field.name}" for field in fields(AwsResources)}
GCP = {field.name: f"its {field.name}" for field in fields(GcpResources)}
BOTH = """\
[profiles.prod.sites.aws]
cloud = "aws"
[profiles.prod.sites.gcp]
cloud = "gcp"
"""


def deployed(folder: Path, text: str = BOTH, **environment: str) -> config.Config:
    """Return the profile prod, with both sites deployed."""
    found = load(folder, text, "prod", **environment)
    found.outputs.write("aws", AWS)
    found.outputs.write("gcp", GCP)
    return found


def test_each_source_overrides_the_next_one(tmp_path: Path) -> None:
    def region() -> tuple[str, str]:
        found = config.load("prod", tmp_path, environment)
        each = explain(found)["sites.aws.region"]
        assert known_settings(found, found.sites["aws"])["region"] == each
        return each.value, each.origin

    environment: dict[str, str] = {}
    (tmp_path / config.FILE).write_text(BOTH)
    assert region() == ("us-east-1", "default")
    deployed(tmp_path)
    assert region() == ("its region", "Terraform outputs")
    (tmp_path / config.FILE).write_text(BOTH.replace('"aws"\n', '"aws"\nregion = "from-toml"\n'))
    assert region() == ("from-toml", "mcloud.toml:3")
    (tmp_path / ".env").write_text("\n# ours\nexport AWS_REGION='from-env'  # not theirs\n")
    assert region() == ("from-env", ".env:3")
    (tmp_path / ".env.gcp").write_text("AWS_REGION=from-env-gcp\n")
    assert region() == ("from-env-gcp", ".env.gcp:1")
    environment["AWS_REGION"] = "from-environment"
    assert region() == ("from-environment", "environment AWS_REGION")


@pytest.mark.parametrize(
    ("flag", "variable", "file", "origin"),
    [
        ("test", "x", "x", "flag"),
        (None, "test", "x", "environment MCLOUD_PROFILE"),
        (None, None, "test", ".env:1"),
        (None, "", "test", ".env:1"),
        (None, None, "", "mcloud.toml:1"),
    ],
)
def test_the_profile_follows_the_same_precedence(
    tmp_path: Path, flag: str | None, variable: str | None, file: str, origin: str
) -> None:
    (tmp_path / ".env").write_text(f"MCLOUD_PROFILE={file}\n")
    environment = {} if variable is None else {"MCLOUD_PROFILE": variable}
    found = load(tmp_path, PROD.replace("prod", "test", 1), flag, **environment)
    assert (found.profile, found.origins["profile"]) == ("test", origin)


def test_every_variable_of_the_bash_version_counts(tmp_path: Path) -> None:
    names = {**variables.OF_SITES["aws"], **variables.OF_SITES["gcp"]}
    found = deployed(tmp_path, **{name: f"from {name}" for name in names}, TRADING_SYMBOL="ethusdt")
    resources = site_resources(found)
    for cloud in ("aws", "gcp"):
        for name, key in variables.OF_SITES[cloud].items():
            assert getattr(resources[cloud], key) == f"from {name}"
    assert found.symbol == "ethusdt"
    assert found.ignored == {}


def test_other_settings_are_terraforms_outputs(tmp_path: Path) -> None:
    found = deployed(tmp_path, SQS_QUEUE_URL="https://mine")
    assert site_resources(found) == {
        "aws": AwsResources(**{**AWS, "queue_url": "https://mine"}),
        "gcp": GcpResources(**GCP),
    }
    found.outputs.path("gcp").unlink(missing_ok=True)
    with pytest.raises(ConfigError, match="site 'gcp' of profile 'prod' is not deployed"):
        site_resources(found)


def test_old_outputs_cause_one_warning_in_a_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = '[profiles.prod.sites.aws.backend]\ntype = "s3"\nbucket = "states"\n'
    text = f'[profiles.prod.sites.aws]\ncloud = "aws"\n{backend}'
    found = load(tmp_path, text, "prod", MCLOUD_TERRAFORM="missing")
    made = found.outputs.write_remote("aws", AWS, "s3://states/aws.tfstate")
    copy = {**asdict(made), "at": made.at - 2 * FRESH}
    (found.outputs.folder / "aws.remote.json").write_text(json.dumps(copy))
    for _ in range(2):
        assert site_resources(found) == {"aws": AwsResources(**AWS)}
    assert [each.levelname for each in caplog.records] == ["WARNING"]


def test_variables_are_ignored_if_several_sites_could_be_meant(tmp_path: Path) -> None:
    text = BOTH + '[profiles.prod.sites.west]\ncloud = "aws"\nregion = "us-west-2"\n'
    found = deployed(tmp_path, text, AWS_REGION="x", GCP_REGION="y")
    assert "region" not in found.sites["aws"].settings
    assert found.sites["west"].settings == {"region": "us-west-2"}
    assert found.sites["gcp"].settings == {"region": "y"}
    assert found.ignored == {"AWS_REGION": "it could mean aws or west"}
    assert found.origins["AWS_REGION"] == "environment AWS_REGION"


def test_variables_are_ignored_if_the_profile_has_no_such_site(tmp_path: Path) -> None:
    text = '[profiles.prod.sites.aws]\ncloud = "aws"\n'
    found = load(tmp_path, text, "prod", GCP_REGION="y")
    assert found.ignored == {"GCP_REGION": "the profile 'prod' has no site of gcp"}


def up(found: config.Config) -> Home:
    """Write a state that claims running embedded clouds."""
    home = Home(found.local)
    home.create()
    home.write(State(os.getpid(), READY, outputs={"aws": AWS, "gcp": GCP}))
    return home


def test_no_variable_moves_the_embedded_clouds(tmp_path: Path) -> None:
    names = {**variables.OF_SITES["aws"], **variables.OF_SITES["gcp"]}
    (tmp_path / ".env").write_text("".join(f"{name}=prod\n" for name in names))
    found = load(tmp_path, **dict.fromkeys(names, "prod"), TRADING_SYMBOL="ETHUSDT")
    with up(found).locked():
        assert site_resources(found) == {"aws": AwsResources(**AWS), "gcp": GcpResources(**GCP)}
    assert found.ignored == dict.fromkeys(names, "the profile 'local' has its own")
    assert found.symbol == "ETHUSDT"


def test_a_stack_that_terraform_made_on_the_embedded_clouds_is_used(tmp_path: Path) -> None:
    found = load(tmp_path)
    needed = {k: f"Terraform's {k}" for k in AWS if k != "endpoint_url"}
    found.outputs.write("aws", needed)
    with up(found).locked():
        mine = AwsResources(**needed, endpoint_url="its endpoint_url")
        assert site_resources(found) == {"aws": mine, "gcp": GcpResources(**GCP)}
        # An outdated address, or one that would lead to the real cloud, is not used.
        found.outputs.write("aws", {**needed, "endpoint_url": ""})
        assert site_resources(found)["aws"] == mine
        found.outputs.path("aws").unlink(missing_ok=True)
        assert site_resources(found)["aws"] == AwsResources(**AWS)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("TRADING_SYMBOL=A", "A"),
        ("export TRADING_SYMBOL=A", "A"),
        ("TRADING_SYMBOL = 'A B' # comment", "A B"),
        ('TRADING_SYMBOL="A\\"B"', 'A"B'),
        ("TRADING_SYMBOL='${HOME}'", "${HOME}"),
        ("TRADING_SYMBOL=$HOME", "$HOME"),
        ("TRADING_SYMBOL=", None),
        ("TRADING_SYMBOL", None),
        ("#TRADING_SYMBOL=A", None),
        ("TRADING_SYMBOL=A\nTRADING_SYMBOL=B", "B"),
        ("TRADING_SYMBOL=A\nTRADING_SYMBOL=", "A"),
        ("TRADING_SYMBOL=A\r", "A"),
    ],
)
def test_a_line_of_env_is_read_as_by_a_shell(tmp_path: Path, line: str, value: str | None) -> None:
    (tmp_path / ".env").write_bytes(f"{line}\n".encode())
    before = dict(os.environ)
    assert load(tmp_path).symbol == value
    assert os.environ == before


def test_an_unreadable_line_with_a_known_variable_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("what is this\n\nS3_BUCKET='raw\n")
    with pytest.raises(ConfigError, match=r"\.env:3: not of the form NAME=value"):
        load(tmp_path)
    (tmp_path / ".env").write_text("what is this\nTHEIRS='raw\nTRADING_SYMBOL=A\n")
    assert load(tmp_path).symbol == "A"


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env.gcp").write_bytes(b"GCP_REGION=\xff\n")
    with pytest.raises(ConfigError, match=r"\.env\.gcp:1: GCP_REGION has a byte that is not UTF-8"):
        load(tmp_path)


def test_a_folder_called_env_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load(tmp_path).profile == "local"


def test_all_settings_of_a_profile_are_explained(tmp_path: Path) -> None:
    text = f"""{PROD}
[profiles.prod.sites.aws.variables]
tags = {{ team = "desk" }}
admin_password = "hush"
tokens = {{ desk = "hush" }}
alerts = "https://hooks.slack.com/services/hush"

[profiles.prod.sites.aws.backend]
type = "s3"
bucket = "states"
key = "mcloud.tfstate"
secret_key = "hush"

[terraform]
binary = "tofu"

[guard]
fails = 5

[channels.desk]
type = "webhook"
url = "http://127.0.0.1:1/hooks.slack.com/hush"
"""
    found = explain(load(tmp_path, text))
    assert found["profile"] == config.Setting("prod", "mcloud.toml:1")
    assert found["state"] == config.Setting(str(tmp_path / ".mcloud"), "default")
    assert found["terraform.binary"] == config.Setting("tofu", "mcloud.toml:34")
    assert found["guard.fails"] == config.Setting(5, "mcloud.toml:37")
    assert found["channels.desk.type"] == config.Setting("webhook", "mcloud.toml:40")
    assert found["channels.desk.url"] == config.Setting(MASK, "mcloud.toml:41")
    assert found["exchange.name"] == config.Setting("binance-us", "mcloud.toml:18")
    assert found["sites.aws.name"] == config.Setting("mcloud", "default")
    assert found["sites.aws.variables.tags.team"] == config.Setting("desk", "mcloud.toml:22")
    assert found["sites.aws.variables.admin_password"] == config.Setting(MASK, "mcloud.toml:23")
    assert found["sites.aws.variables.tokens.desk"].value == MASK
    assert found["sites.aws.variables.alerts"].value == MASK
    assert found["sites.aws.backend.key"] == config.Setting("mcloud.tfstate", "mcloud.toml:30")
    assert found["sites.aws.backend.secret_key"] == config.Setting(MASK, "mcloud.toml:31")
    assert found["sites.gcp.project"] == config.Setting("my-project", "mcloud.toml:9")
    assert not any(name.startswith(("local.", "sites.test")) for name in found)
    assert explain(load(tmp_path, profile="local"))["local.aws_port"] == config.Setting(
        14566, "mcloud.toml:15"
    )


def test_the_ports_of_running_clouds_are_shown_instead_of_the_configured_ones(
    embedded: State, tmp_path: Path
) -> None:
    folder = Path(embedded.options["home"]).parent
    found = explain(config.load(None, tmp_path, {"MCLOUD_STATE": str(folder)}))
    for name, service in embedded.services.items():
        port = int(service.address.rpartition(":")[2])
        assert found[f"local.{name}_port"] == config.Setting(port, "running embedded clouds")
    assert not any(
        name.endswith("_port") and each.origin == "default" for name, each in found.items()
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"queue_url": 1}', "\udcff"])
def test_stored_outputs_that_are_damaged_are_reported(tmp_path: Path, text: str) -> None:
    found = deployed(tmp_path)
    path = found.outputs.path("aws")
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(McloudError, match=r"aws\.json cannot be read: .*`mcloud deploy aws`"):
        site_resources(found)


def test_outputs_are_for_their_owner_only(tmp_path: Path) -> None:
    found = deployed(tmp_path)
    path = found.outputs.path("aws")
    assert found.outputs.read("aws") == AWS
    assert path.stat().st_mode & 0o777 == 0o600
    for folder in (path.parent, path.parent.parent, found.state):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert load(tmp_path, profile="local").outputs.read("aws") == {}
    found.outputs.path("aws").unlink(missing_ok=True)
    found.outputs.path("aws").unlink(missing_ok=True)
    assert found.outputs.read("aws") == {}
    assert [each.name for each in path.parent.iterdir()] == ["gcp.json"]


def test_an_impossible_state_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = load(tmp_path, MCLOUD_STATE="file")
    with pytest.raises(McloudError, match="file cannot be made: File exists"):
        found.outputs.write("aws", AWS)
