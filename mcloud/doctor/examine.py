"""Runs all checks at once. Their results are not stored."""

from collections.abc import Callable, Sequence
from functools import partial

from mcloud import config as configuration
from mcloud.clouds.access import FAULT
from mcloud.config import LOCAL, Config
from mcloud.deadline import gather
from mcloud.doctor import machine, site
from mcloud.doctor.check import DoctorCheck, from_error
from mcloud.errors import LocalError
from mcloud.producer.reported_state import ProducerState
from mcloud.runs import Running
from mcloud.sites.resources import site_resources

DEADLINE = 3 * site.STAGE  # seconds; the third is for loading the SDKs


def examine(
    config: Config,
    wanted: str | None,
    role: str | None,
    producers: Sequence[Running[ProducerState]],
    *,
    wait: bool = False,
) -> list[DoctorCheck]:
    """Check this machine and the sites of a comma-separated list, or all, at the same time.

    With ``wait``, slow services have as long as the other checks.

    Raises:
        UsageError: there is no such site.
    """
    patience = site.STAGE if wait else site.PATIENCE
    calls: dict[str, Callable[[], list[DoctorCheck]]] = {
        "": partial(machine.look_at, config, producers)
    }
    if config.profile == LOCAL:
        chosen = configuration.select(configuration.REGIONS, wanted)
        try:
            resources = site_resources(config)
        except LocalError:
            resources = {}  # the check of the embedded clouds reports this
        for name in chosen:
            if name in resources:
                calls[name] = partial(site.look_at_embedded, name, resources[name], patience)
    else:
        for name in configuration.select(config.sites, wanted):
            calls[name] = partial(site.look_at, config, config.sites[name], role, patience)
    checks: list[DoctorCheck] = []
    for name, answer in gather(calls, DEADLINE).items():
        if isinstance(answer, Exception):
            finding = from_error(answer)
            answer = [DoctorCheck("site", name, FAULT, finding.text, finding.remedy)]
        checks += answer
    if config.profile != LOCAL and not config.sites:
        remedy = f"add one to mcloud.toml: [profiles.{config.profile}.sites.aws]"
        checks.append(DoctorCheck("sites", "", FAULT, "the profile has no sites", remedy))
    return checks
