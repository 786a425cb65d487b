"""``mcloud.toml``: profiles, their sites, and the ports of the embedded clouds.

    profile = "local"                       # or: mcloud --profile prod

    [profiles.prod.sites.aws]
    cloud = "aws"
    region = "us-east-1"

    [local]
    aws_port = 4566

    [exchange]
    name = "binance"                        # or ws_url and rest_url of another server

The profile ``local`` needs no file: its sites are ``aws`` and ``gcp`` on the embedded clouds.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.errors import ConfigError, UsageError

FILE = "mcloud.toml"
LOCAL = "local"

_EXCHANGE = {"name", "ws_url", "rest_url"}


@dataclass(frozen=True)
class LocalPorts:
    """Where the embedded clouds listen, on 127.0.0.1."""

    aws_port: int = 4566
    gcp_port: int = 8085
    storage_port: int = 4443
    function_port: int = 8088


@dataclass(frozen=True)
class Config:
    profile: str
    sites: dict[str, dict[str, str]]
    """Settings of each site of the profile, ``cloud`` among them; empty for ``local``."""
    ports: LocalPorts
    exchange: dict[str, str]
    """``name``, ``ws_url`` and ``rest_url``, as far as they are given."""
    state: Path
    """Where mcloud keeps what it writes, ``.mcloud``."""

    @property
    def local(self) -> Path:
        """The folder of the embedded clouds."""
        return self.state / "local"


def load(profile: str | None, folder: Path, environment: Mapping[str, str]) -> Config:
    """Read ``mcloud.toml`` in ``folder``, if there is one.

    The profile is, in this order: the argument (a flag), MCLOUD_PROFILE, the file's, ``local``.

    Raises:
        ConfigError: the file cannot be read, or holds an unknown key or a value of a wrong type,
            named with its line; or there is no such profile.
    """
    path = folder / FILE
    document = _Document.read(path)
    document.check()
    name = profile or environment.get("MCLOUD_PROFILE") or document.values.get("profile") or LOCAL
    profiles: dict[str, Any] = document.values.get("profiles", {})
    if name != LOCAL and name not in profiles:
        known = [*profiles, LOCAL]
        raise ConfigError(
            f"no profile {name!r} in {path}; there is {', '.join(sorted(known))}"
            + did_you_mean(name, known)
        )
    return Config(
        profile=name,
        sites=profiles.get(name, {}).get("sites", {}),
        ports=LocalPorts(**document.values.get("local", {})),
        exchange=document.values.get("exchange", {}),
        # Absolute, whatever the variable says: it marks processes that run elsewhere.
        state=folder.absolute() / (environment.get("MCLOUD_STATE") or ".mcloud"),
    )


def current(profile: str | None = None) -> Config:
    """The configuration of the current folder and this process's environment."""
    return load(profile, Path.cwd(), os.environ)


def resources(config: Config) -> dict[str, Resources]:
    """The resources of every site of the profile, by name.

    Raises:
        LocalError: the embedded clouds are not up.
        ConfigError: another profile has no sites, or one that does not say what its resources are.
    """
    if config.profile == LOCAL:
        from mcloud.local.state import Home

        return Home(config.local).require_ready().resources()
    if not config.sites:
        raise ConfigError(f"the profile {config.profile!r} has no sites")
    found: dict[str, Resources] = {}
    for name, settings in config.sites.items():
        try:
            found[name] = _KINDS[settings["cloud"]].from_outputs(settings)
        except ConfigError as error:
            raise ConfigError(f"site {name!r} of profile {config.profile!r}: {error}") from None
    return found


def select(names: Iterable[str], wanted: str | None) -> list[str]:
    """The sites of a comma-separated list, or all; UsageError for one that is not there."""
    known = list(names)
    if not wanted:
        return known
    chosen = [name.strip() for name in wanted.split(",") if name.strip()]
    if not chosen:
        raise UsageError(f"no site is named in {wanted!r}; there is {', '.join(known)}")
    for name in chosen:
        if name not in known:
            raise UsageError(
                f"no site {name!r}; there is {', '.join(known)}{did_you_mean(name, known)}"
            )
    return list(dict.fromkeys(chosen))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'aws'?`` where one is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


_KINDS: dict[str, type[AwsResources] | type[GcpResources]] = {
    "aws": AwsResources,
    "gcp": GcpResources,
}


@dataclass(frozen=True)
class _Document:
    path: Path
    text: str
    values: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "_Document":
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path, "", {})
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        try:
            return cls(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: {error}") from error

    def check(self) -> None:
        self._keys(self.values, (), {"profile", "local", "exchange", "profiles"})
        self._type(self.values, (), "profile", str)
        local = self._table(self.values, (), "local")
        self._keys(local, ("local",), {field.name for field in fields(LocalPorts)})
        for key in local:
            self._type(local, ("local",), key, int)
            if not 1 <= local[key] <= 65535:
                raise self._error(("local",), key, f"local.{key} must be a port, 1 to 65535")
        exchange = self._table(self.values, (), "exchange")
        self._keys(exchange, ("exchange",), _EXCHANGE)
        for key in exchange:
            self._type(exchange, ("exchange",), key, str)
        profiles = self._table(self.values, (), "profiles")
        if LOCAL in profiles:
            message = f"the profile {LOCAL!r} is built in; call this one something else"
            raise self._error(("profiles",), LOCAL, message)
        for profile in profiles:
            where: tuple[str, ...] = ("profiles", profile)
            table = self._table(profiles, ("profiles",), profile)
            self._keys(table, where, {"sites"})
            sites = self._table(table, where, "sites")
            for site in sites:
                self._site(self._table(sites, (*where, "sites"), site), (*where, "sites", site))

    def _site(self, settings: dict[str, Any], where: tuple[str, ...]) -> None:
        self._type(settings, where, "cloud", str)
        cloud = settings.get("cloud", "")
        if cloud not in _KINDS:
            message = f'[{".".join(where)}] needs cloud = "aws" or "gcp"'
            raise self._error(where, "cloud", message + did_you_mean(cloud, _KINDS))
        self._keys(settings, where, {"cloud", *(field.name for field in fields(_KINDS[cloud]))})
        for key in settings:
            self._type(settings, where, key, str)

    def _table(self, parent: dict[str, Any], where: tuple[str, ...], key: str) -> dict[str, Any]:
        self._type(parent, where, key, dict)
        table: dict[str, Any] = parent.get(key, {})
        return table

    def _keys(self, table: dict[str, Any], where: tuple[str, ...], known: set[str]) -> None:
        for key in table:
            if key not in known:
                place = f" in [{'.'.join(where)}]" if where else ""
                hint = did_you_mean(key, known) or f"; known: {', '.join(sorted(known))}"
                raise self._error(where, key, f"unknown key {key!r}{place}{hint}")

    def _type(self, table: dict[str, Any], where: tuple[str, ...], key: str, wanted: type) -> None:
        if key in table and type(table[key]) is not wanted:
            words = {str: "a text", int: "a whole number", dict: "a table"}
            value = "a table" if isinstance(table[key], dict) else repr(table[key])
            name = ".".join((*where, key))
            raise self._error(where, key, f"{name} must be {words[wanted]}, not {value}")

    def _error(self, where: tuple[str, ...], key: str, message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{self._line(where, key)}: {message}")

    def _line(self, where: tuple[str, ...], key: str) -> int:
        """The line of a key, or of the innermost table around it; tomllib does not tell."""
        wanted = (*where, key)
        table: tuple[str, ...] = ()
        best, line = 0, 1
        for number, text in enumerate(self.text.splitlines(), start=1):
            header = re.match(r"\s*\[+([^\[\]]+)\]", text)
            assigned = re.match(r"\s*([\w.\"'-]+)\s*=", text)
            if header:
                table = path = _parts(header[1])
            elif assigned:
                path = (*table, *_parts(assigned[1]))
            else:
                continue
            while len(path) > best and path[: best + 1] == wanted[: best + 1]:
                best, line = best + 1, number
        return line


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
