"""``mcloud.toml``, ``.env`` and the environment: profiles, sites, and the source of each value.

    profile = "local"                       # or: mcloud --profile prod

    [profiles.prod.sites.aws]
    cloud = "aws"
    region = "us-east-1"
    name = "mcloud"                         # prefix of all names from Terraform
    variables = { alert_email = "desk@example.com" }
    backend = { type = "s3", bucket = "my-states" }

    [terraform]
    binary = "tofu"                         # or MCLOUD_TERRAFORM
    plugin_dir = "/srv/providers"           # or TF_PLUGIN_DIR

    [local]
    aws_port = 4566

    [exchange]
    name = "binance"                        # or ws_url and rest_url of another server

The first source that has a value wins: a flag, the environment, ``.env.gcp``, ``.env``,
``mcloud.toml``, Terraform's outputs, and the default. The profile ``local`` needs no file: its
sites are ``aws`` and ``gcp`` on the embedded clouds, and no variable moves them elsewhere.
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mcloud.config import variables
from mcloud.config.document import Document
from mcloud.config.model import (
    LOCAL,
    Config,
    ExchangeConfig,
    LocalPorts,
    Setting,
    SiteConfig,
    TerraformConfig,
)
from mcloud.config.schema import KINDS, check, stack_of
from mcloud.config.settings import Settings, read, setting
from mcloud.config.words import Name, chosen, did_you_mean, unknown
from mcloud.errors import ConfigError, McloudError, UsageError

__all__ = [
    "FILE",
    "LOCAL",
    "REGIONS",
    "Config",
    "ExchangeConfig",
    "LocalPorts",
    "Setting",
    "SiteConfig",
    "TerraformConfig",
    "chosen",
    "current",
    "did_you_mean",
    "load",
    "select",
    "setting",
    "settings",
    "unknown",
    "working_folder",
]

FILE = "mcloud.toml"

REGIONS = {"aws": "us-east-1", "gcp": "us-central1"}
"""Region of a site without one, as in the modules."""


def load(profile: str | None, folder: Path, environment: Mapping[str, str]) -> Config:
    """Read ``mcloud.toml``, ``.env`` and ``.env.gcp`` in ``folder``, if they exist.

    Raises:
        ConfigError: a file cannot be read, or holds an unknown key or a value of a wrong type,
            named with its line; or there is no such profile.
    """
    folder = folder.absolute()  # other processes get this path and run in other folders
    document = Document.read(folder / FILE)
    check(document)
    given = variables.read(folder, environment)
    if profile:
        given["MCLOUD_PROFILE"] = Setting(profile, "flag")
    origins = document.origins()

    def choose(variable: str, key: str) -> str | None:
        """Return the value of the variable, or else that of the file."""
        if variable in given:
            origins[key] = given[variable].origin
            return str(given[variable].value)
        value: Any = document.values
        for part in key.split("."):
            value = value.get(part, {})
        return str(value) if value else None

    name = choose("MCLOUD_PROFILE", "profile") or LOCAL
    profiles: dict[str, Any] = document.values.get("profiles", {})
    if name != LOCAL and name not in profiles:
        there = [*profiles, LOCAL]
        raise ConfigError(
            f"unknown profile {name!r} in {document.path}; choose from {', '.join(sorted(there))}"
            + did_you_mean(name, there)
        )
    binary = choose("MCLOUD_TERRAFORM", "terraform.binary")
    plugin_dir = choose("TF_PLUGIN_DIR", "terraform.plugin_dir")
    mine = f"profiles.{name}."
    origins = {key.removeprefix(mine): line for key, line in origins.items()}
    tables: dict[str, Any] = profiles.get(name, {}).get("sites", {})
    sites = {site: _site(site, table) for site, table in tables.items()}
    ignored = _apply(given, name, sites, origins)
    return Config(
        profile=name,
        sites=sites,
        ports=read(document, ("local",), LocalPorts),
        exchange=read(document, ("exchange",), ExchangeConfig),
        state=Path(_path(folder, "MCLOUD_STATE", choose("MCLOUD_STATE", "state") or ".mcloud")),
        terraform=TerraformConfig(
            binary=_path(folder, "the Terraform binary", binary)
            if binary and "/" in binary
            else binary,
            plugin_dir=_path(folder, "plugin_dir", plugin_dir) if plugin_dir else None,
        ),
        symbol=choose("TRADING_SYMBOL", "symbol"),
        document=document,
        origins=origins,
        ignored=ignored,
    )


def current(profile: str | None = None) -> Config:
    """Return the configuration of the current folder and this process's environment."""
    return load(profile, working_folder(), os.environ)


def settings(config: Config, name: str, kind: type[Settings]) -> Settings:
    """Read the table ``[name]`` of mcloud.toml as ``kind``, a dataclass made of ``setting``.

    Raises:
        ConfigError: an unknown key, a wrong type or a value out of bounds, with its line.
    """
    return read(config.document, (name,), kind)


def working_folder() -> Path:
    """Return the current folder.

    Raises:
        McloudError: it was deleted, or a folder above it cannot be entered.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise McloudError(
            f"the working folder cannot be found: {error.strerror}",
            remedy="it may have been deleted; change to another folder with `cd`",
        ) from error


def select(names: Iterable[Name], wanted: str | None) -> list[Name]:
    """Return the sites of a comma-separated list, or all. Raise UsageError for an unknown site."""
    there = list(names)
    if not wanted:
        return there
    asked = [name.strip() for name in wanted.split(",") if name.strip()]
    if not asked:
        raise UsageError(f"{wanted!r} names no site; choose from {', '.join(there)}")
    return list(dict.fromkeys(chosen("site", name, there) for name in asked))


def _site(name: str, table: dict[str, Any]) -> SiteConfig:
    of_resources = {field.name for field in fields(KINDS[table["cloud"]])}
    return SiteConfig(
        name=name,
        cloud=table["cloud"],
        settings={key: value for key, value in table.items() if key in of_resources},
        stack=stack_of(name, table),
        variables=table.get("variables", {}),
        backend=table.get("backend", {}),
    )


def _apply(
    given: dict[str, Setting], profile: str, sites: dict[str, SiteConfig], origins: dict[str, str]
) -> dict[str, str]:
    """Apply variables to the settings of a cloud's only site. Return the ignored ones with the
    reasons.
    """
    ignored: dict[str, str] = {}
    for cloud, names in variables.OF_SITES.items():
        there = [site for site in sites.values() if site.cloud == cloud]
        for variable, key in names.items():
            if variable not in given:
                continue
            if len(there) == 1:
                there[0].settings[key] = given[variable].value
                origins[f"sites.{there[0].name}.{key}"] = given[variable].origin
                continue
            origins[variable] = given[variable].origin
            if profile == LOCAL:
                ignored[variable] = f"the profile {LOCAL!r} has its own"
            elif there:
                ignored[variable] = f"it could mean {' or '.join(site.name for site in there)}"
            else:
                ignored[variable] = f"the profile {profile!r} has no site of {cloud}"
    return ignored


def _path(folder: Path, what: str, text: str) -> str:
    if left := re.search(r"\$\{?(\w+)", text):
        raise ConfigError(
            f"{what} is {text!r}, and {left[0]!r} is not replaced there",
            remedy=f"write the path itself, or ${{{left[1]}}} in .env, where it is replaced",
        )
    try:
        return str(folder / Path(text).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"{what} is {text!r}, and there is no such user") from error
