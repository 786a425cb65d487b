"""The allowed content of ``mcloud.toml``."""

import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NamedTuple

from mcloud.clouds.resources import AwsResources, GcpResources
from mcloud.config.document import Document, Where
from mcloud.config.model import LOCAL, LocalPorts, TerraformConfig
from mcloud.config.words import did_you_mean

KINDS: dict[str, type[AwsResources] | type[GcpResources]] = {
    "aws": AwsResources,
    "gcp": GcpResources,
}

TABLES = ("alerts", "anomalies", "channels", "cost", "guard", "monitor", "trace")
"""Tables that belong to one part of mcloud each. That part validates them: see ``settings``."""

_EXCHANGE = {"name", "ws_url", "rest_url"}
_BACKENDS = ("s3", "gcs")


class _Form(NamedTuple):
    words: str
    fits: Callable[[Any], bool]


_TEXT = _Form("a text", lambda value: isinstance(value, str))
_TEXTS = _Form(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
)
_TABLE = _Form(
    "a table of texts",
    lambda value: isinstance(value, dict) and all(isinstance(v, str) for v in value.values()),
)
_ASSUME_ROLE: dict[str, _Form] = {
    "role_arn": _TEXT,
    "duration": _TEXT,
    "policy": _TEXT,
    "policy_arns": _TEXTS,
    "session_name": _TEXT,
}
# Options of a backend that are tables: https://developer.hashicorp.com/terraform/language/backend/s3
_BACKEND_TABLES: dict[str, dict[str, dict[str, _Form]]] = {
    "s3": {
        "assume_role": {
            **_ASSUME_ROLE,
            "external_id": _TEXT,
            "source_identity": _TEXT,
            "tags": _TABLE,
            "transitive_tag_keys": _TEXTS,
        },
        "assume_role_with_web_identity": {
            **_ASSUME_ROLE,
            "web_identity_token": _TEXT,
            "web_identity_token_file": _TEXT,
        },
        "endpoints": dict.fromkeys(("dynamodb", "iam", "s3", "sso", "sts"), _TEXT),
    },
    "gcs": {},
}
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/.+")
# Names of profiles and sites, which are also names of folders and parts of lists.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# As in the variables of both modules.
STACK = re.compile(r"[a-z][a-z0-9-]{2,16}[a-z0-9]")


def check(document: Document) -> None:
    """Raise ConfigError for the first error, with its line."""
    top = document.values
    known_tables = {"profile", "local", "exchange", "terraform", "profiles", *TABLES}
    document.check_keys(top, (), known_tables)
    for name in TABLES:
        document.check_type(top, (), name, dict)
    document.check_type(top, (), "profile", str)
    local = document.table(top, (), "local")
    document.check_keys(local, ("local",), {field.name for field in fields(LocalPorts)})
    for key in local:
        document.check_type(local, ("local",), key, int)
        if not 1 <= local[key] <= 65535:
            raise document.error(("local",), key, f"local.{key} must be a port, 1 to 65535")
    known = {field.name for field in fields(TerraformConfig)}
    for name, keys in (("exchange", _EXCHANGE), ("terraform", known)):
        table = document.table(top, (), name)
        document.check_keys(table, (name,), keys)
        for key in table:
            document.check_type(table, (name,), key, str)
    profiles = document.table(top, (), "profiles")
    if LOCAL in profiles:
        message = f"the profile {LOCAL!r} is built in; use another name"
        raise document.error(("profiles",), LOCAL, message)
    for profile in profiles:
        where: Where = ("profiles", profile)
        _check_name(document, ("profiles",), profile)
        table = document.table(profiles, ("profiles",), profile)
        document.check_keys(table, where, {"sites"})
        _check_sites(document, document.table(table, where, "sites"), (*where, "sites"))


def stack_of(site: str, settings: dict[str, Any]) -> str:
    """Return the configured name of the stack, or one made from the site's, which is unique."""
    default = "mcloud" if site == settings["cloud"] else f"mcloud-{site}"
    return str(settings.get("name", default))


def _check_sites(document: Document, sites: dict[str, Any], where: Where) -> None:
    taken: dict[tuple[str, ...], str] = {}
    for site in sites:
        _check_name(document, where, site)
        settings = document.table(sites, where, site)
        _check_site(document, settings, (*where, site))
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


def _check_site(document: Document, settings: dict[str, Any], where: Where) -> None:
    document.check_type(settings, where, "cloud", str)
    cloud = settings.get("cloud", "")
    if cloud not in KINDS:
        message = f'[{".".join(where)}] needs cloud = "aws" or "gcp"'
        raise document.error(where, "cloud", message + did_you_mean(cloud, KINDS))
    tables = {"variables", "backend"}
    resources = {field.name for field in fields(KINDS[cloud])}
    document.check_keys(settings, where, {"cloud", "name", *tables, *resources})
    for key in settings:
        if key not in tables:
            document.check_type(settings, where, key, str)
    _check_variables(document, document.table(settings, where, "variables"), where)
    _check_backend(document, document.table(settings, where, "backend"), where)


def _check_variables(document: Document, variables: dict[str, Any], site: Where) -> None:
    where = (*site, "variables")
    for key, value in variables.items():
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


def _check_backend(document: Document, backend: dict[str, Any], site: Where) -> None:
    if not backend:
        return
    where = (*site, "backend")
    for key in ("type", "bucket"):
        document.check_type(backend, where, key, str)
    if backend.get("type") not in _BACKENDS:
        message = f'[{".".join(where)}] needs type = "s3" or "gcs"'
        raise document.error(where, "type", message)
    if not backend.get("bucket"):
        raise document.error(where, "bucket", f"[{'.'.join(where)}] needs the bucket of the state")
    tables = _BACKEND_TABLES[backend["type"]]
    for key, value in backend.items():
        if key in tables:
            _check_backend_table(document, document.table(backend, where, key), (*where, key))
        elif not isinstance(value, str | bool | int) and not _TEXTS.fits(value):
            message = (
                f"{'.'.join((*where, key))} must be a text, a number, a boolean or a list of texts,"
                f" not {value!r}"
            )
            raise document.error(where, key, message)


def _check_backend_table(document: Document, table: dict[str, Any], where: Where) -> None:
    known = _BACKEND_TABLES["s3"][where[-1]]
    document.check_keys(table, where, set(known))
    for key, value in table.items():
        if not known[key].fits(value):
            message = f"{'.'.join((*where, key))} must be {known[key].words}, not {value!r}"
            raise document.error(where, key, message)
    if "role_arn" in known and not _ROLE.fullmatch(table.get("role_arn", "")):
        message = (
            f"[{'.'.join(where)}] needs role_arn, such as"
            ' "arn:aws:iam::123456789012:role/terraform-state"'
        )
        raise document.error(where, "role_arn", message)


def _check_name(document: Document, where: Where, name: str) -> None:
    if not NAME.fullmatch(name):
        message = f"invalid name {name!r}; use letters, digits, - and _"
        raise document.error(where, name, message)
