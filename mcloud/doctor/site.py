"""Checks of one site: identity, permissions, quotas, and services."""

import time
from dataclasses import replace
from functools import partial

from mcloud.clouds.access import (
    COMPONENTS,
    FAULT,
    OK,
    UNKNOWN,
    WARNING,
    Access,
    AccessFinding,
    Target,
)
from mcloud.clouds.factory import open_access, open_site
from mcloud.clouds.ports import SERVICES, Probe, Site, SiteService
from mcloud.clouds.resources import Resources
from mcloud.config import Config, SiteConfig
from mcloud.doctor.check import CREDENTIALS, DoctorCheck, Look, from_error, take, take_if_up
from mcloud.errors import ConfigError, McloudError
from mcloud.infra.deployed_code import deployed_code
from mcloud.sites.resources import known_settings, site_resources

STAGE = 12.0  # seconds for the credentials, and again for the checks that use them
PATIENCE = 2.0  # seconds for a service, unless the command waits for slow sites

# Signatures are refused if the clock is off by 5 minutes, and tokens at about the same.
CLOCK_FAULT, CLOCK_WARNING = 240.0, 5.0  # seconds
_NTP = "set the clock by NTP, for example with `timedatectl set-ntp true`"


def look_at(
    config: Config, site: SiteConfig, role: str | None, patience: float = PATIENCE
) -> list[DoctorCheck]:
    """Return every check of a site of a profile on real clouds, within twice STAGE seconds, or
    about ``patience`` seconds if the site does not answer.

    ``role`` is the one of COMPONENTS whose permissions the credentials need. The default is the
    operator, or the deployer before a deployment.
    """
    deployment, resources = _deployment(config, site)
    checks = [
        DoctorCheck("deployment", site.name, deployment.state, deployment.text, deployment.remedy)
    ]
    known = {key: each.value for key, each in known_settings(config, site).items()}
    if resources and (known.get("endpoint_url") or known.get("pubsub_endpoint")):
        return checks + look_at_embedded(site.name, resources, patience)
    if site.cloud == "gcp" and not known.get("project"):
        remedy = f'set project = "…" in [profiles.{config.profile}.sites.{site.name}]'
        return [*checks, DoctorCheck("project", site.name, FAULT, "the project is missing", remedy)]
    access = open_access(
        site.cloud,
        Target(site.stack, known["region"], known.get("project", ""), resources, site.variables),
    )
    access.prepare()
    identity: dict[str, Look] = {CREDENTIALS: lambda: AccessFinding(OK, access.identity())}
    signs: dict[str, Look] = {"clock": partial(_clock, access)}
    if resources is None:
        signs |= {service: partial(_reach, access, service) for service in SERVICES}
    checks += take_if_up(site.name, signs, patience, identity, STAGE)
    needed = role or ("operator" if resources else "deployer")
    # Without a stack, there are no resources that the other roles could need permissions for.
    components = COMPONENTS if resources else ("deployer", "planner")
    second: dict[str, Look] = {
        f"may {each}": partial(_may, access, each, needed) for each in components
    }
    second |= access.quotas()
    if any(each.subject == CREDENTIALS and each.state != OK for each in checks):
        subjects = [*second, *(SERVICES if resources else ())]
        unasked = "not checked: it needs credentials"
        return checks + [DoctorCheck(subject, site.name, UNKNOWN, unasked) for subject in subjects]
    if resources is None:
        return checks + take(site.name, second, STAGE)
    opened = open_site(site.name, resources)
    second["functions' code"] = partial(code_finding, opened)
    return checks + take_if_up(site.name, _services(opened), patience, second, STAGE)


def look_at_embedded(
    name: str, resources: Resources, patience: float = PATIENCE
) -> list[DoctorCheck]:
    """Return the checks of an embedded site, which accepts any credentials and refuses nobody."""
    site = open_site(name, resources)
    access = open_access(site.cloud, Target("mcloud", resources.region, resources=resources))
    access.prepare()
    clock: dict[str, Look] = {"clock": partial(_clock, access)}
    return take(name, clock | _services(site), patience)


def clock_finding(ahead: float, error: float) -> AccessFinding:
    """Return the finding for a clock that is ``ahead`` of a cloud's, give or take ``error``
    seconds.
    """
    if abs(ahead) <= error:
        return AccessFinding(OK, f"equal to the cloud's, ± {error:.1f} s")
    off = (
        f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the cloud's (± {error:.1f} s)"
    )
    if abs(ahead) > CLOCK_FAULT:
        return AccessFinding(FAULT, f"{off}: it rejects signed requests", _NTP)
    if abs(ahead) > CLOCK_WARNING:
        return AccessFinding(WARNING, f"{off}: ages and lags are wrong by that", _NTP)
    return AccessFinding(OK, off)


def code_finding(site: Site) -> AccessFinding:
    """Compare the deployed code of the functions with the code that this mcloud would deploy."""
    functions = deployed_code(site, STAGE)
    deploy = f"`mcloud deploy {site.name}`"
    failed = [f"{each.function}: {each.failure}" for each in functions if each.failure]
    if failed:
        text = f"the last update failed, and earlier code runs: {'; '.join(failed)}"
        return AccessFinding(FAULT, text, f"run {deploy}")
    other = [each.function for each in functions if each.is_current is False]
    if other:
        text = f"not as this mcloud deploys it: {', '.join(other)}"
        return AccessFinding(WARNING, text, f"see `mcloud plan {site.name}`, then run {deploy}")
    silent = [each.function for each in functions if each.is_current is None]
    if silent:
        text = f"unknown, because the function does not say it: {', '.join(silent)}"
        return AccessFinding(UNKNOWN, text, f"{deploy} makes it say so")
    return AccessFinding(OK, "as this mcloud deploys it")


def _deployment(config: Config, site: SiteConfig) -> tuple[AccessFinding, Resources | None]:
    try:
        found = site_resources(replace(config, sites={site.name: site}))[site.name]
    except ConfigError as error:
        return AccessFinding(WARNING, "not deployed", error.remedy), None
    return AccessFinding(OK, f"stack {site.stack} in {found.region}"), found


def _clock(access: Access) -> AccessFinding:
    return clock_finding(*access.clock())


def _reach(access: Access, service: str) -> AccessFinding:
    return AccessFinding(OK, "its region's address answers", seconds=access.reach(service))


def _may(access: Access, component: str, needed: str) -> AccessFinding:
    try:
        finding = access.permissions(component)
    except McloudError as error:
        finding = from_error(error, vital=False)
    if finding.state == FAULT and component != needed:
        return replace(finding, state=WARNING)
    return finding


def _services(site: Site) -> dict[str, Look]:
    # Make the client first: loading an SDK takes longer than a probe, and is not the service's
    # time.
    probe = site.probe
    return {service: partial(_probe, probe, service) for service in SERVICES}


def _probe(probe: Probe, service: SiteService) -> AccessFinding:
    begun = time.monotonic()
    probe.check(service, STAGE)
    return AccessFinding(OK, "up", seconds=time.monotonic() - begun)
