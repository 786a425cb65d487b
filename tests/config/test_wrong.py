"""Any content of mcloud.toml and .env is either used or refused with a clear message."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from mcloud import config
from mcloud.alerts.rules import rules
from mcloud.config import settings
from mcloud.config.produce import ProduceSettings
from mcloud.cost.settings import money
from mcloud.errors import McloudError
from mcloud.failover.settings import guard_settings
from mcloud.market.anomaly import Thresholds
from mcloud.notify.channels import channels
from mcloud.observing.queries import MonitorSettings
from mcloud.producer.message_log import TraceSettings
from mcloud.sites.explain import explain

Table = dict[str, Any]
Where = tuple[str, ...]

EVERYTHING: Table = {
    "profile": "prod",
    "local": {"aws_port": 4566, "gcp_port": 8085, "storage_port": 4443, "function_port": 8088},
    "exchange": {"name": "binance", "ws_url": "ws://127.0.0.1:1", "rest_url": "http://127.0.0.1:1"},
    "terraform": {"binary": "tofu", "plugin_dir": "providers"},
    "profiles": {
        "prod": {
            "sites": {
                "aws": {
                    "cloud": "aws",
                    "region": "us-east-1",
                    "name": "mcloud",
                    "variables": {"monthly_budget": 100, "alert_email": "desk@example.com"},
                    "backend": {"type": "s3", "bucket": "states", "encrypt": True},
                },
                "gcp": {"cloud": "gcp", "region": "us-central1", "project": "my-project"},
            }
        }
    },
    "monitor": {"interval": 5.0, "port": 9464},
    "produce": {"freshness": 5},
    "trace": {"one_in": 100, "keep_mib": 64},
    "guard": {
        "interval": 2.0,
        "suspect_interval": 0.5,
        "timeout": 1.0,
        "fails": 3,
        "goods": 10,
        "lease": 8.0,
        "dwell": 10.0,
        "cooldown": 600.0,
        "max_lag": 300.0,
        "require_lag": True,
        "backlog_limit": 120.0,
        "services_every": 120.0,
        "look_every": 60.0,
        "canary_every": 300.0,
        "failback": False,
    },
    "alerts": {
        "interval": 60.0,
        "unknown_for": 900.0,
        "deep": {
            "figure": "sites.*.queue.ready",
            "above": 5000.0,
            "clear": 1000.0,
            "for": 120.0,
            "recover": 1.0,
            "severity": "warning",
            "text": "Deep.",
            "enabled": True,
            "channels": ["desk"],
            "stale": 600.0,
            "unknown": "tell",
        },
        "silence": {"enabled": False},
        "low": {"figure": "sites.*.up", "below": 1.0},
    },
    "channels": {
        "desk": {"type": "webhook", "url_env": "HOOK", "severity": "info", "repeat": 1.0},
        "here": {"type": "webhook", "url": "http://127.0.0.1:9/"},
        "call": {"type": "pagerduty", "routing_key_env": "KEY", "url": "https://example.com"},
        "mail": {"type": "sns", "topic": "arn:aws:sns:us-east-1:123456789012:alerts"},
        "bots": {"type": "pubsub", "topic": "projects/my-project/topics/alerts"},
    },
    "cost": {
        "free_tier": True,
        "budget_usd": 20.0,
        "billed": True,
        "billed_hours": 6.0,
        "gcp_billing_table": "p.d.t",
        "budgets": {"aws": 15.0},
    },
    "anomalies": {
        "window": 60,
        "jump_score": 8.0,
        "jump_least": 0.01,
        "volume_score": 5.0,
        "volume_least": 10.0,
        "drift_score": 4.0,
        "drift_least": 0.02,
    },
}

VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 10**30, 10**400, 0.5, -0.5, 1e308, math.nan, math.inf, -math.inf),
    *(True, "", "x", "aws", "nan", "${HOME}", "~nobody-of-that-name", "\x7f", "é" * 300),
    *([], ["webhook"], [1, "x", [2.5, math.nan]], [{}], {}, {"type": "webhook"}, {"": {"a": []}}),
    *(date(2024, 8, 8), time(23, 54)),
)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date | time) else repr(value)


def document(values: Table) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in values.items())


def places(table: Table, where: Where = ()) -> Iterator[Where]:
    for key, value in table.items():
        yield *where, key
        if isinstance(value, dict):
            yield from places(value, (*where, key))


def read_everything(folder: Path, text: str) -> None:
    (folder / config.FILE).write_text(text, encoding="utf-8")
    found = config.load(None, folder, {})
    explain(found)
    for name, kind in (
        ("monitor", MonitorSettings),
        ("produce", ProduceSettings),
        ("trace", TraceSettings),
        ("anomalies", Thresholds),
    ):
        settings(found, name, kind).__hash__()
    guard_settings(found)
    rules(found)
    channels(found)
    money(found)
    assert all(not isinstance(each, float) or math.isfinite(each) for each in numbers(found))


def numbers(found: config.Config) -> Iterator[object]:
    """Yield all numbers of a configuration that was accepted."""
    yield from vars(guard_settings(found)).values()
    yield from vars(settings(found, "monitor", MonitorSettings)).values()
    yield from vars(settings(found, "anomalies", Thresholds)).values()
    yield from vars(money(found).settings).values()
    for rule in rules(found).rules:
        yield from vars(rule).values()
    for channel in channels(found).values():
        yield channel.repeat
    for site in found.sites.values():
        yield from site.variables.values()


def test_the_examples_are_valid(tmp_path: Path) -> None:
    read_everything(tmp_path, document(EVERYTHING))


@pytest.mark.parametrize("where", list(places(EVERYTHING)), ids=".".join)
def test_a_value_of_any_type_is_used_or_refused(tmp_path: Path, where: Where) -> None:
    refused = 0
    for value in VALUES:
        values = deepcopy(EVERYTHING)
        table = values
        for key in where[:-1]:
            table = table[key]
        table[where[-1]] = value
        said = refusal(tmp_path, values)
        refused += bool(said)
        assert "\n" not in said
        assert not said or str(tmp_path) in said or where[-1] in said or "[guard]" in said
    assert refused > len(VALUES) / 4 or "variables" in where  # Terraform's, of any type


def refusal(folder: Path, values: Table) -> str:
    """Return the error for a document; empty if all of it is valid."""
    try:
        read_everything(folder, document(values))
    except McloudError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("where", list(places(EVERYTHING)), ids=".".join)
def test_a_name_of_another_version_is_refused(tmp_path: Path, where: Where) -> None:
    values = deepcopy(EVERYTHING)
    table = values
    for key in where[:-1]:
        table = table[key]
    table["key of a newer version"] = table.pop(where[-1])
    said = refusal(tmp_path, values)
    # Terraform checks these itself.
    assert (config.FILE in said) != ("variables" in where[:-1] or where[-1] == "encrypt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xef\xbb\xbfprofile = 'prod'\n", None),
        (b"# caf\xe9\nprofile = 'prod' # \xff\xfe\n", None),
        (b"profile = 'prod'\r\n[profiles.prod]\r\n", None),
        ("profile = 'prod'".encode("utf-16"), "mcloud.toml is UTF-16; save the file as UTF-8"),
        ("profile = 'prod'".encode("utf-32"), "mcloud.toml is UTF-32; save the file as UTF-8"),
        (b"\n\nprofile = 'pr\xf6d'\n", "mcloud.toml:3: profile has a byte that is not UTF-8"),
        (
            b"[profiles.'pr\xf6d']\n",
            "mcloud.toml:1: profiles.pr\ufffdd has a byte that is not UTF-8",
        ),
        (b"x = ['\xf6']\n", "mcloud.toml:1: x has a byte that is not UTF-8"),
        (b"profile = 'a\0b'\n", "mcloud.toml is not a text file: it has a zero byte"),
        (b"x = " + b"[" * 5000, "mcloud.toml: lists or tables are nested too deeply"),
        (b"x = " + b"9" * 5000, "mcloud.toml: a number has too many digits"),
    ],
)
def test_encodings_of_mcloud_toml(tmp_path: Path, content: bytes, words: str | None) -> None:
    path = tmp_path / config.FILE
    path.write_bytes(content)
    if words is None:
        path.write_bytes(content + b"\n[profiles.prod.sites]\n" * (b"[profiles" not in content))
        assert config.load(None, tmp_path, {}).profile == "prod"
        return
    with pytest.raises(McloudError) as caught:
        config.load(None, tmp_path, {})
    assert str(caught.value).startswith(f"{tmp_path}/{words}")


HOME = "/home/desk"


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"MCLOUD_STATE=there", "{folder}/there"),
        (b"\xef\xbb\xbfMCLOUD_STATE=there", "{folder}/there"),
        (b"# caf\xe9\nOTHER=\xe9\nMCLOUD_STATE=there # \xe9", "{folder}/there"),
        (b"MCLOUD_STATE=~/there", f"{HOME}/there"),
        (b"MCLOUD_STATE=${HOME}/there", f"{HOME}/there"),
        (b'MCLOUD_STATE="${HOME}/there"', f"{HOME}/there"),
        (b"A=a\nB=${A}b\nMCLOUD_STATE=${B}/${NONE:-c}", "{folder}/ab/c"),
        (b"HOME=/elsewhere\nMCLOUD_STATE=${HOME}", HOME),
        (b"MCLOUD_STATE=${NONE:-}", "{folder}/.mcloud"),
    ],
)
def test_values_of_lines_in_env(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, state: str
) -> None:
    monkeypatch.setenv("HOME", HOME)
    (tmp_path / ".env").write_bytes(content)
    found = config.load(None, tmp_path, {"HOME": HOME})
    assert str(found.state) == state.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\nMCLOUD_STATE=th\xe9re", ".env:2: MCLOUD_STATE has a byte that is not UTF-8; save"),
        ("MCLOUD_STATE=x".encode("utf-16"), ".env is UTF-16; save the file as UTF-8"),
        (
            b"MCLOUD_STATE=x\0y",
            ".env is not a text file: it has a zero byte; save the file as UTF-8",
        ),
        (b"MCLOUD_STATE=${NONE}", ".env:1: MCLOUD_STATE refers to NONE, which is not set; set it"),
    ],
)
def test_errors_in_env_are_reported(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(McloudError) as caught:
        config.load(None, tmp_path, {})
    assert str(caught.value).startswith(f"{tmp_path}/{words}")


@pytest.mark.parametrize("value", ["'${HOME}/x'", "$HOME/x", "~nobody-of-that-name/x"])
@pytest.mark.parametrize("variable", ["MCLOUD_STATE", "MCLOUD_TERRAFORM", "TF_PLUGIN_DIR"])
def test_a_path_with_an_unknown_variable_or_user_is_refused(
    tmp_path: Path, variable: str, value: str
) -> None:
    (tmp_path / ".env").write_text(f"{variable}={value}\n")
    with pytest.raises(McloudError, match=r"is not replaced there|there is no such user"):
        config.load(None, tmp_path, {"HOME": HOME})
