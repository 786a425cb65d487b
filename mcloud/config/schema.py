"""The allowed content of ``mcloud.toml``."""

import math
import re
from dataclasses import dataclass, fields
from typing import Any

from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config.document import Document, Where
from mcloud.config.model import LOCAL, ExchangeConfig, LocalPorts, TerraformConfig
from mcloud.config.settings import TEXT, Allowed, choice, read, setting, tables, values

KINDS: dict[str, type[AwsResources] | type[GcpResources]] = {
    "aws": AwsResources,
    "gcp": GcpResources,
}

TABLES = ("alerts", "anomalies", "channels", "cost", "guard", "monitor", "produce", "trace")
"""Tables that belong to one part of mcloud each. That part reads them: see ``settings``."""

_BACKENDS = ("s3", "gcs")
_TEXTS, _TABLE = Allowed(tuple), Allowed(dict)
_ASSUME_ROLE: dict[str, Allowed] = {
    "role_arn": TEXT,
    "duration": TEXT,
    "policy": TEXT,
    "policy_arns": _TEXTS,
    "session_name": TEXT,
}
# Options of a backend that are tables: https://developer.hashicorp.com/terraform/language/backend/s3
_BACKEND_TABLES: dict[str, dict[str, dict[str, Allowed]]] = {
    "s3": {
        "assume_role": {
            **_ASSUME_ROLE,
            "external_id": TEXT,
            "source_identity": TEXT,
            "tags": _TABLE,
            "transitive_tag_keys": _TEXTS,
        },
        "assume_role_with_web_identity": {
            **_ASSUME_ROLE,
            "web_identity_token": TEXT,
            "web_identity_token_file": TEXT,
        },
        "endpoints": dict.fromkeys(("dynamodb", "iam", "s3", "sso", "sts"), TEXT),
    },
    "gcs": {},
}
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.+")
# As in the variables of both modules.
STACK = re.compile(r"[a-z][a-z0-9-]{2,16}[a-z0-9]")


@dataclass(frozen=True)
class _Top:
    profile: str | None = setting(None)


_OWN: dict[str, type] = {
    "local": LocalPorts,
    "exchange": ExchangeConfig,
    "terraform": TerraformConfig,
}


def check(document: Document) -> None:
    """Raise ConfigError for the first error, with its line."""
    read(document, (), _Top, {*_OWN, "profiles", *TABLES})
    for name in TABLES:
        document.table((name,))
    for name, kind in _OWN.items():
        read(document, (name,), kind)
    if LOCAL in document.table(("profiles",)):
        message = f"the profile {LOCAL!r} is built in; use another name"
        raise document.error(("profiles",), LOCAL, message)
    for profile in tables(document, ("profiles",)):
        where: Where = ("profiles", profile)
        values(document, where, {}, {"sites"})
        _check_sites(document, (*where, "sites"))


def stack_of(site: str, settings: dict[str, Any]) -> str:
    """Return the configured name of the stack, or one made from the site's, which is unique."""
    default = "mcloud" if site == settings["cloud"] else f"mcloud-{site}"
    return str(settings.get("name", default))


def _check_sites(document: Document, where: Where) -> None:
    taken: dict[tuple[str, ...], str] = {}
    for site in tables(document, where):
        settings = _site(document, (*where, site))
        stack = stack_of(site, settings)
        if not STACK.fullmatch(stack):
            raise document.error(
                (*where, site),
                "name",
                f"a stack cannot be called {stack!r}: give a name of 4 to 18 lower-case letters, "
                "digits and hyphens, a letter first and no hyphen last, such as "
                f'name = "mcloud-2" in [{".".join((*where, site))}]',
            )
        # Names in one AWS account or one project are shared by all regions.
        key = (settings["cloud"], settings.get("project", ""), stack)
        if key in taken:
            raise document.error(
                (*where, site),
                "name",
                f"the sites {taken[key]!r} and {site!r} have the same stack name, {stack!r}; "
                "use another name for one of them",
            )
        taken[key] = site


def _site(document: Document, where: Where) -> dict[str, Any]:
    """Check a site and return its texts."""
    cloud = choice(document, where, "cloud", KINDS)
    texts = dict.fromkeys(("cloud", "name", *(each.name for each in fields(KINDS[cloud]))), TEXT)
    found = values(document, where, texts, {"variables", "backend"})
    if ":" in str(found.get("project", "")):
        message = (
            f"the project {found['project']!r} belongs to a domain, and no bucket can have its id"
            " in the name: use a project without a domain"
        )
        raise document.error(where, "project", message)
    _check_variables(document, where)
    _check_backend(document, (*where, "backend"))
    return found


def _check_variables(document: Document, site: Where) -> None:
    where = (*site, "variables")
    for key, value in document.table(where).items():
        if key == "bundle":
            raise document.error(where, key, "mcloud builds the bundle and names it itself")
        if key in ("name", "region", "project"):
            message = f"{key} belongs to the site: move it up into [{'.'.join(site)}]"
            raise document.error(where, key, message)
        if not _is_json(value):
            message = f"{'.'.join((*where, key))} is not a text, number, boolean, list or table"
            raise document.error(where, key, message)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_is_json, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _check_backend(document: Document, where: Where) -> None:
    backend = document.table(where)
    if not backend:
        return
    kind = choice(document, where, "type", _BACKENDS)
    tables_of_kind = _BACKEND_TABLES[kind]
    # Terraform knows the other options, and checks them.
    values(document, where, {"type": TEXT, "bucket": TEXT}, backend.keys() - {"type", "bucket"})
    if not backend.get("bucket"):
        raise document.error(where, "bucket", f"[{'.'.join(where)}] needs the bucket of the state")
    for key, value in backend.items():
        if key in tables_of_kind:
            found = values(document, (*where, key), tables_of_kind[key])
            if "role_arn" in tables_of_kind[key]:
                _check_role(document, (*where, key), found.get("role_arn", ""))
        elif not isinstance(value, str | bool | int) and not _is_list_of_texts(value):
            message = (
                f"{'.'.join((*where, key))} must be a text, a number, a boolean or a list of texts,"
                f" not {value!r}"
            )
            raise document.error(where, key, message)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _check_role(document: Document, where: Where, role: str) -> None:
    if not _ROLE.fullmatch(role):
        message = (
            f"[{'.'.join(where)}] needs role_arn, such as"
            ' "arn:aws:iam::123456789012:role/terraform-state"'
        )
        raise document.error(where, "role_arn", message)
