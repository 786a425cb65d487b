"""``mcloud.toml``: its settings, their precedence, and errors."""

from dataclasses import fields
from pathlib import Path

import pytest

from mcloud import config
from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.errors import ConfigError, LocalError, UsageError
from mcloud.sites.resources import site_resources

PROD = """\
profile = "prod"

[profiles.prod.sites.aws]
cloud = "aws"
region = "us-east-1"

[profiles.prod.sites.gcp]
cloud = "gcp"
project = "my-project"

[profiles.test.sites.aws]
cloud = "aws"

[local]
aws_port = 14566

[exchange]
name = "binance-us"
rest_url = "http://127.0.0.1:9443"
"""


def load(
    folder: Path, text: str | None = None, profile: str | None = None, **environment: str
) -> config.Config:
    if text is not None:
        (folder / config.FILE).write_text(text)
    return config.load(profile, folder, environment)


def wrong(folder: Path, text: str) -> str:
    """Return the error for an invalid file, without the path at its beginning."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    message = str(caught.value)
    path = f"{folder / config.FILE}:"
    assert message.startswith(path)
    return message.removeprefix(path)


def test_without_a_file_the_profile_is_local(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert found == config.Config(
        "local", {}, config.LocalPorts(), config.ExchangeConfig(), tmp_path / ".mcloud"
    )
    assert found.local == tmp_path / ".mcloud" / "local"


def test_sites_ports_and_the_exchange_are_read(tmp_path: Path) -> None:
    found = load(tmp_path, PROD)
    assert found.profile == "prod"
    assert found.sites == {
        "aws": config.SiteConfig("aws", "aws", {"region": "us-east-1"}, "mcloud", {}, {}),
        "gcp": config.SiteConfig("gcp", "gcp", {"project": "my-project"}, "mcloud", {}, {}),
    }
    assert found.ports == config.LocalPorts(aws_port=14566)
    assert found.exchange == config.ExchangeConfig("binance-us", rest_url="http://127.0.0.1:9443")
    # The setting is the same in every profile.
    assert load(tmp_path, profile="local").exchange == found.exchange


@pytest.mark.parametrize(
    ("flag", "variable", "text", "profile"),
    [
        ("local", "test", PROD, "local"),
        ("prod", "test", PROD, "prod"),
        (None, "test", PROD, "test"),
        (None, "", PROD, "prod"),
        (None, None, PROD, "prod"),
        (None, None, PROD.partition("\n")[2], "local"),
        (None, "local", PROD, "local"),
    ],
)
def test_the_flag_wins_then_the_variable_then_the_file(
    tmp_path: Path, flag: str | None, variable: str | None, text: str, profile: str
) -> None:
    environment = {} if variable is None else {"MCLOUD_PROFILE": variable}
    assert load(tmp_path, text, flag, **environment).profile == profile


def test_an_unknown_profile_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown profile 'prodd' in .*; choose from local, prod, test"
    ):
        load(tmp_path, PROD, "prodd")
    with pytest.raises(ConfigError, match=r"did you mean 'prod'\?"):
        load(tmp_path, PROD, MCLOUD_PROFILE="prodd")


@pytest.mark.parametrize(("variable", "expected"), [("state", "state"), ("/var/x", "/var/x")])
def test_the_state_folder_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, expected: str
) -> None:
    """The path may be relative to the folder, whose own path may be relative as well."""
    assert load(tmp_path, MCLOUD_STATE=variable).state == tmp_path / expected
    monkeypatch.chdir(tmp_path)
    assert config.load(None, Path(), {"MCLOUD_STATE": variable}).state == tmp_path / expected


def test_the_default_is_the_current_folder_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCLOUD_STATE", "here")
    monkeypatch.delenv("MCLOUD_PROFILE", raising=False)
    (tmp_path / config.FILE).write_text(PROD)
    assert config.current("test").profile == "test"
    assert config.current().state == tmp_path / "here"


SITE = '[profiles.prod.sites.aws]\ncloud = "aws"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\nprofil = "x"\n', "2: unknown key 'profil'; did you mean 'profile'?"),
        (
            "zzz = 1\n",
            "1: unknown key 'zzz'; known: alerts, anomalies, channels, cost, exchange, guard,"
            " local, monitor, produce, profile, profiles, terraform, trace",
        ),
        (
            "[local]\n\naws_prot = 1\n",
            "3: unknown key 'aws_prot' in [local]; did you mean 'aws_port'?",
        ),
        (
            '[exchange]\nws_ulr = "ws://x"\n',
            "2: unknown key 'ws_ulr' in [exchange]; did you mean 'ws_url'?",
        ),
        (
            '[terraform]\nplugindir = "x"\n',
            "2: unknown key 'plugindir' in [terraform]; did you mean 'plugin_dir'?",
        ),
        (
            '# a comment\n[profiles.prod]\nregion = "x"\n',
            "3: unknown key 'region' in [profiles.prod]; known: sites",
        ),
        (
            f'{SITE}\nregoin = "x"\n',
            "4: unknown key 'regoin' in [profiles.prod.sites.aws]; did you mean 'region'?",
        ),
        (
            '[profiles.prod.sites]\naws = { cloud = "aws", regoin = "x" }\n',
            "2: unknown key 'regoin' in [profiles.prod.sites.aws]; did you mean 'region'?",
        ),
        (
            'profiles.prod.sites.aws.cloud = "aws"\nprofiles.prod.sites.aws.regoin = "x"\n',
            "2: unknown key 'regoin' in [profiles.prod.sites.aws]; did you mean 'region'?",
        ),
        (
            f'{SITE}[profiles.prod.sites.gcp]\n"cloud" = "gcp"\ntopics = "x"\n',
            "5: unknown key 'topics' in [profiles.prod.sites.gcp]; did you mean 'topic'?",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert wrong(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("profile = 1\n", "1: profile must be a text, not 1"),
        ("[profile]\n", "1: profile must be a text, not a table"),
        ("local = 1\n", "1: local must be a table, not 1"),
        ("[terraform]\nbinary = 1\n", "2: terraform.binary must be a text, not 1"),
        ('[local]\naws_port = "1"\n', "2: local.aws_port must be a whole number, not '1'"),
        ("[local]\naws_port = true\n", "2: local.aws_port must be a whole number, not True"),
        ("[local]\naws_port = 1.5\n", "2: local.aws_port must be a whole number, not 1.5"),
        ("[local]\naws_port = 1\ngcp_port = 0\n", "3: local.gcp_port must be 1 or more, not 0"),
        ("[local]\naws_port = 65536\n", "2: local.aws_port must be 65535 or less, not 65536"),
        ('exchange = "binance"\n', "1: exchange must be a table, not 'binance'"),
        ("[exchange]\nname = 1\n", "2: exchange.name must be a text, not 1"),
        ("\n[[profiles]]\n", "2: profiles must be a table, not [{}]"),
        ("[profiles]\nprod = 1\n", "2: profiles.prod must be a table, not 1"),
        ("[profiles.prod]\nsites = []\n", "2: profiles.prod.sites must be a table, not []"),
        (
            '[profiles.prod.sites]\naws = "aws"\n',
            "2: profiles.prod.sites.aws must be a table, not 'aws'",
        ),
        (f"{SITE}region = 1\n", "3: profiles.prod.sites.aws.region must be a text, not 1"),
        (
            '[profiles.prod.sites.aws]\ncloud = ["aws"]\n',
            "2: profiles.prod.sites.aws.cloud must be a text, not ['aws']",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_named_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    assert wrong(tmp_path, text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[profiles.prod.sites.aws]\nregion = "x"\n',
            '1: [profiles.prod.sites.aws] needs cloud = "aws" or "gcp"',
        ),
        (
            '[profiles.prod.sites.x]\n\ncloud = "awss"\n',
            '3: [profiles.prod.sites.x] needs cloud = "aws" or "gcp"; did you mean \'aws\'?',
        ),
    ],
)
def test_a_site_needs_a_cloud(tmp_path: Path, text: str, message: str) -> None:
    assert wrong(tmp_path, text) == message


def test_the_local_profile_cannot_be_another(tmp_path: Path) -> None:
    text = '[profiles.local.sites.aws]\ncloud = "aws"\n'
    assert wrong(tmp_path, text).startswith("1: the profile 'local' is built in")


def test_invalid_toml_is_reported_with_its_line(tmp_path: Path) -> None:
    assert "line 2, column 7" in wrong(tmp_path, 'profile = "x"\n[local\n')


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / config.FILE).write_bytes(b'profile = "\xff"\n')
    with pytest.raises(ConfigError, match=r"mcloud\.toml:1: profile has a byte that is not UTF-8"):
        load(tmp_path)


def test_a_folder_called_mcloud_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / config.FILE).mkdir()
    with pytest.raises(ConfigError, match=r"mcloud\.toml cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, ["aws", "gcp", "aws-west"]),
        ("", ["aws", "gcp", "aws-west"]),
        ("gcp", ["gcp"]),
        (" gcp , aws,", ["gcp", "aws"]),
        ("gcp,gcp", ["gcp"]),
    ],
)
def test_sites_are_selected_in_the_order_given(wanted: str | None, chosen: list[str]) -> None:
    assert config.select(["aws", "gcp", "aws-west"], wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("aws,gpc", r"unknown site 'gpc'; choose from aws, gcp; did you mean 'gcp'\?"),
        ("mars", "unknown site 'mars'; choose from aws, gcp$"),
        (" , ", "' , ' names no site; choose from aws, gcp$"),
    ],
)
def test_an_unknown_site_is_reported(wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.select(["aws", "gcp"], wanted)


@pytest.mark.parametrize(("cloud", "kind"), [("aws", AwsResources), ("gcp", GcpResources)])
def test_resources_are_those_of_the_profile(
    tmp_path: Path, cloud: str, kind: type[AwsResources] | type[GcpResources]
) -> None:
    values = {field.name: f"its {field.name}" for field in fields(kind)}
    text = f'[profiles.prod.sites.east]\ncloud = "{cloud}"\n'
    text += "".join(f'{name} = "{value}"\n' for name, value in values.items())
    assert site_resources(load(tmp_path, text, "prod")) == {"east": kind(**values)}


def test_a_site_that_is_not_deployed_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        site_resources(load(tmp_path, PROD))
    assert str(caught.value) == (
        "site 'aws' of profile 'prod' is not deployed; run `mcloud deploy aws`, or give queue_url, "
        "dlq_url, candles_table, control_table, raw_bucket, function in mcloud.toml"
    )


def test_a_profile_without_sites_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the profile 'prod' has no sites"):
        site_resources(load(tmp_path, "[profiles.prod]\n", "prod"))


def test_the_local_profile_needs_the_embedded_clouds(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"are down; run `mcloud local up`"):
        site_resources(load(tmp_path))
