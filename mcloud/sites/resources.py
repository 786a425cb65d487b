"""The resources of each site of a profile: configured, from its deployment, or embedded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path

from mcloud.clouds.access import AccessFinding, Target
from mcloud.clouds.bounded import BoundedSite
from mcloud.clouds.factory import open_access, open_bounded, open_site
from mcloud.clouds.ports import Site
from mcloud.clouds.resources import AwsResources, GcpResources, Resources
from mcloud.config import FILE, LOCAL, REGIONS, Config, Setting, SiteConfig, select
from mcloud.config.schema import KINDS
from mcloud.durations import duration
from mcloud.errors import ConfigError, McloudError
from mcloud.local.state import Home
from mcloud.outputs import RemoteOutputs

# Seconds for which a copy of another machine's outputs is used without reading the state again
FRESH = 3600.0

ADDRESSES = ("_endpoint", "_url", "_log")
"""Ends of the names of resources that only embedded clouds have, if they have a default."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_warned: set[Path] = set()  # outputs of which the log says that they are old, once per process


def open_sites(config: Config, wanted: str | None = None) -> dict[str, Site]:
    """Open the sites of a comma-separated list, or all sites of the profile.

    Raises:
        UsageError: a site in the list is unknown.
        LocalError, ConfigError: see ``site_resources``.
    """
    resources = site_resources(config)
    return {name: open_site(name, resources[name]) for name in select(resources, wanted)}


def open_bounded_sites(
    config: Config, wanted: str | None = None, known: Mapping[str, str] | None = None
) -> dict[str, BoundedSite]:
    """Open the sites as ``open_sites`` does, for a command that only reads.

    ``known`` has the reasons why this machine believes that sites are down.
    """
    resources = site_resources(config)
    known = known or {}
    return {
        name: open_bounded(name, resources[name], known.get(name, ""))
        for name in select(resources, wanted)
    }


def site_resources(config: Config) -> dict[str, Resources]:
    """Return the resources of every site of the profile, by name.

    Raises:
        LocalError: the embedded clouds are not up.
        ConfigError: another profile has no sites, or one that is neither deployed nor described.
    """
    if config.profile == LOCAL:
        return _embedded(config)
    if not config.sites:
        raise ConfigError(f"the profile {config.profile!r} has no sites")
    found: dict[str, Resources] = {}
    for name, site in config.sites.items():
        values, missing = _values(config, site)
        if site.backend and not config.outputs.path(name).exists():
            copy = config.outputs.read_remote(name)
            if (missing and copy is None) or (copy and copy.age > FRESH):
                _read_again(config, site, copy, missing)
                values, missing = _values(config, site)
        kind = KINDS[site.cloud]
        if missing:
            raise ConfigError(
                f"site {name!r} of profile {config.profile!r} is not deployed",
                remedy=f"run `mcloud deploy {name}`, or give {', '.join(missing)} in {FILE}",
            )
        found[name] = kind.from_outputs(values)
    return found


def resources_of(config: Config, site: SiteConfig) -> Resources:
    """Return the resources of one deployed site, even if the others are not deployed."""
    if config.profile == LOCAL:
        return site_resources(config)[site.name]
    values = {key: setting.value for key, setting in known_settings(config, site).items()}
    kind = AwsResources if site.cloud == "aws" else GcpResources
    return kind.from_outputs(values)


def known_settings(config: Config, site: SiteConfig) -> dict[str, Setting]:
    """Return the known settings of a site's resources: configured, from its deployment, or
    default.
    """
    found = {"region": Setting(REGIONS[site.cloud], "default")}
    stored = config.outputs.read(site.name)
    remote = config.outputs.read_remote(site.name)
    if stored or remote is None:
        values, origin = stored, "Terraform outputs"
    else:
        values, origin = dict(remote.values), origin_of(remote)
    for key, value in values.items():
        found[key] = Setting(value, origin)
    for key, value in site.settings.items():
        found[key] = Setting(value, config.origins.get(f"sites.{site.name}.{key}", ""))
    names = [field.name for field in fields(KINDS[site.cloud])]
    return {name: found[name] for name in names if name in found}


def quota_checks(config: Config, name: str) -> Mapping[str, Callable[[], AccessFinding]]:
    """Return the checks of the quotas of a site's account, by name; none for embedded clouds."""
    if name not in config.sites:
        return {}
    site = config.sites[name]
    known = {key: each.value for key, each in known_settings(config, site).items()}
    if known.get("endpoint_url") or known.get("pubsub_endpoint"):
        return {}
    resources = site_resources(config)[name]
    target = Target(
        site.stack, known["region"], known.get("project", ""), resources, site.variables
    )
    return open_access(site.cloud, target).quotas()


def origin_of(remote: RemoteOutputs) -> str:
    """Return where outputs of another machine's deployment came from, and how old they are."""
    return f"state in {remote.place}, read {duration(remote.age)} ago"


def _values(config: Config, site: SiteConfig) -> tuple[dict[str, str], list[str]]:
    """Return the known settings of a site, and the names of those that it lacks."""
    values = {key: setting.value for key, setting in known_settings(config, site).items()}
    needed = [field.name for field in fields(KINDS[site.cloud]) if field.default is MISSING]
    return values, [key for key in needed if not values.get(key)]


def _read_again(
    config: Config, site: SiteConfig, copy: RemoteOutputs | None, missing: list[str]
) -> None:
    """Replace the copy of a site's remote outputs. If that fails, warn that the copy is still used.

    Raises:
        McloudError: the state cannot be read, and the settings in ``missing`` are not known.
    """
    from mcloud.infra.remote_outputs import fetch  # loads Terraform's package

    try:
        if fetch(config, site) or not copy:
            return
        why = f"the state in {copy.place} is empty now"
    except McloudError as error:
        if missing or not copy:
            raise
        why = error.message
    if config.outputs.path(site.name) not in _warned:
        _warned.add(config.outputs.path(site.name))
        _log.warning("%s: uses the outputs read %s ago: %s", site.name, duration(copy.age), why)


def _embedded(config: Config) -> dict[str, Resources]:
    found = Home(config.local).require_ready().resources()
    for name, each in found.items():
        stored = config.outputs.read(name)
        if stored:
            # The addresses must be those of the supervisor: without one, a client would connect to
            # the real cloud.
            addresses = {
                field.name: getattr(each, field.name)
                for field in fields(each)
                if field.default is not MISSING and field.name.endswith(ADDRESSES)
            }
            found[name] = type(each).from_outputs({**stored, **addresses})
    return found
