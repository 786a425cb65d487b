"""All settings in effect, with their sources."""

import re
from typing import Any

from mcloud.config.model import LOCAL, Config, Setting
from mcloud.config.schema import KINDS, TABLES
from mcloud.sites.resources import known_settings

MASK = "********"

# The `key` of an S3 backend is a path; anything else that ends like one may be a key.
_SECRET = re.compile(r"secret|passw|token|credential|webhook|.key", re.IGNORECASE)
_TELLTALE = re.compile(r"://[^/\s]*@|hooks\.slack\.com")


def explain(config: Config) -> dict[str, Setting]:
    """Return the settings of the profile by dotted name, without those that have no value.

    Values that look like secrets are masked.
    """
    values: dict[str, Any] = {
        "profile": config.profile,
        "state": str(config.state),
        "symbol": config.symbol,
        "terraform.binary": config.terraform.binary,
        "terraform.plugin_dir": config.terraform.plugin_dir,
    }
    values |= {f"exchange.{key}": value for key, value in vars(config.exchange).items() if value}
    if config.profile == LOCAL:
        values |= {f"local.{key}": value for key, value in vars(config.ports).items()}
    for name, site in config.sites.items():
        values |= {f"sites.{name}.cloud": site.cloud, f"sites.{name}.name": site.stack}
        values |= {
            f"sites.{name}.{key}": each for key, each in known_settings(config, site).items()
        }
        values |= _flat(f"sites.{name}.variables", site.variables)
        values |= _flat(f"sites.{name}.backend", site.backend)
    for table in TABLES:
        values |= _flat(table, config.document.values.get(table, {}))
    if config.profile == LOCAL:
        for name in KINDS:
            for key, value in config.outputs.read(name).items():
                values[f"sites.{name}.{key}"] = Setting(value, "Terraform outputs")
    return {
        key: _masked(
            key,
            value
            if isinstance(value, Setting)
            else Setting(value, config.origins.get(key, "default")),
        )
        for key, value in values.items()
        if value is not None
    }


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {
        inner: each
        for key, child in value.items()
        for inner, each in _flat(f"{name}.{key}", child).items()
    }


def _masked(name: str, setting: Setting) -> Setting:
    secret = any(map(_SECRET.search, name.split(".")[1:])) or _TELLTALE.search(str(setting.value))
    return Setting(MASK, setting.origin) if secret else setting
