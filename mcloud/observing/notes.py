"""Deviations of a snapshot from normal operation that are not wrong by themselves."""

from collections.abc import Iterator

from mcloud.clouds.figures import FIGURES
from mcloud.clouds.ports import RECORD
from mcloud.durations import utc
from mcloud.observing.problems import Problem, past_alerts
from mcloud.observing.snapshot import SiteSnapshot, Snapshot


def notes(snapshot: Snapshot) -> list[Problem]:
    """Return the sites with an older control record, a pause of the guards, the active silences,
    the failed calls of functions, and the alerts that are over and not reported as such yet.
    """
    views = (_apart, _paused, _silences, _failed, _past_alerts)
    return [each for view in views for each in view(snapshot)]


def record_of(site: SiteSnapshot) -> str:
    """Return which control record a site has."""
    if site.record.value is not None:
        return f"epoch {site.record.value.epoch}"
    is_damaged = any(each.where == RECORD for each in site.damaged)
    return "a damaged record" if is_damaged else "no record"


def apart(snapshot: Snapshot) -> list[SiteSnapshot]:
    """Return the sites whose control record is known, and is not the valid one."""
    valid = snapshot.leading
    sites = snapshot.sites.values()
    return [each for each in sites if valid and each.record.known and each.record.value != valid]


def _apart(snapshot: Snapshot) -> Iterator[Problem]:
    valid = snapshot.leading
    for site in apart(snapshot):
        if valid and not site.down:
            yield Problem(
                f"{site.name} has {record_of(site)}, and the valid record has epoch {valid.epoch}"
            )


def _paused(snapshot: Snapshot) -> Iterator[Problem]:
    found = [(site.guards.value or {}).get("pause") for site in snapshot.sites.values()]
    pause = max((each for each in found if each), key=lambda each: each.at, default=None)
    if pause and pause.paused:
        why = f": {pause.why}" if pause.why else ""
        remedy = "`mcloud guard resume` lets them act again"
        yield Problem(f"the guards are paused by {pause.by} since {utc(pause.at)}{why}", remedy)


def _silences(snapshot: Snapshot) -> Iterator[Problem]:
    active = snapshot.silenced
    if active:
        count = f"{len(active)} silence{'s' * (len(active) > 1)}"
        yield Problem(f"{count} until {utc(active[-1].end)}", "see `mcloud alerts silences`")


def _failed(snapshot: Snapshot) -> Iterator[Problem]:
    for site in snapshot.sites.values():
        figures = site.figures.value
        if figures is None or site.figures.problem:
            continue
        for each in FIGURES:
            count = figures[each.name].value
            if each.is_fault and count:
                minutes = f"in {figures.window / 60:.0f} min"
                yield Problem(f"{site.name}: {count:,.0f} {each.note or each.row} {minutes}")


def _past_alerts(snapshot: Snapshot) -> Iterator[Problem]:
    for each in past_alerts(snapshot):
        yield Problem(f"the alert {each.key} has fired since {utc(each.since)}, and is over now")
