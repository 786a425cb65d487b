"""All settings in effect, with their sources."""

import re
from collections.abc import Iterator

from mcloud.config.model import LOCAL, Config, Setting
from mcloud.config.schema import KINDS, TABLES
from mcloud.local.state import Home
from mcloud.sites.resources import known_settings

MASK = "********"

# The `key` of an S3 backend is a path; anything else that ends like one may be a key.
_SECRET = re.compile(r"secret|passw|token|credential|webhook|.key", re.IGNORECASE)
_TELLTALE = re.compile(r"://[^/\s]*@|hooks\.slack\.com")


def explain(config: Config) -> dict[str, Setting]:
    """Return the settings of the profile by dotted name, without those that have no value.

    Values that look like secrets are masked.
    """
    return {name: _masked(name, setting) for name, setting in _settings(config)}


def _settings(config: Config) -> Iterator[tuple[str, Setting]]:
    """Yield each setting with its name. Of two with one name, the second counts."""
    yield from _given(config, "profile", config.profile)
    yield from _given(config, "state", str(config.state))
    yield from _given(config, "symbol", config.symbol)
    yield from _given(config, "terraform.binary", config.terraform.binary)
    yield from _given(config, "terraform.plugin_dir", config.terraform.plugin_dir)
    for key, value in vars(config.exchange).items():
        yield from _given(config, f"exchange.{key}", value or None)
    if config.profile == LOCAL:
        yield from _given(config, "local", vars(config.ports))
        yield from _running_ports(config)
    for name, site in config.sites.items():
        yield from _given(config, f"sites.{name}.cloud", site.cloud)
        yield from _given(config, f"sites.{name}.name", site.stack)
        for key, setting in known_settings(config, site).items():
            yield f"sites.{name}.{key}", setting
        yield from _given(config, f"sites.{name}.variables", site.variables)
        yield from _given(config, f"sites.{name}.backend", site.backend)
    for table in TABLES:
        yield from _given(config, table, config.document.values.get(table, {}))
    if config.profile == LOCAL:
        for name in KINDS:
            for key, value in config.outputs.read(name).items():
                yield f"sites.{name}.{key}", Setting(value, "Terraform outputs")


def _running_ports(config: Config) -> Iterator[tuple[str, Setting]]:
    """Yield the ports of running embedded clouds, which may have been started with others."""
    home = Home(config.local)
    state = home.read() if home.is_up() else None
    for name, service in (state.services if state else {}).items():
        _, _, port = service.address.rpartition(":")
        yield f"local.{name}_port", Setting(int(port), "running embedded clouds")


def _given(config: Config, name: str, value: object) -> Iterator[tuple[str, Setting]]:
    """Yield a setting that has a value, or each setting of a table, with its origin."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _given(config, f"{name}.{key}", child)
    elif value is not None:
        yield name, Setting(value, config.origins.get(name, "default"))


def _masked(name: str, setting: Setting) -> Setting:
    secret = any(map(_SECRET.search, name.split(".")[1:])) or _TELLTALE.search(str(setting.value))
    return Setting(MASK, setting.origin) if secret else setting
