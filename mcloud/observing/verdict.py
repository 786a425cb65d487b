"""The state of everything in one line: whether something is wrong, and which site leads."""

from dataclasses import dataclass

from mcloud.clouds.ports import SERVICES, ControlRecord
from mcloud.durations import clock, duration
from mcloud.observing.machine import Machine
from mcloud.observing.problems import Problem, causes
from mcloud.observing.snapshot import SiteSnapshot, Snapshot


@dataclass(frozen=True)
class SnapshotVerdict:
    is_fault: bool
    facts: tuple[str, ...]

    @property
    def word(self) -> str:
        return "FAULT" if self.is_fault else "OK"


def verdict(snapshot: Snapshot) -> SnapshotVerdict:
    """Return the verdict on a snapshot. It is a fault exactly if there are problems."""
    found = causes(snapshot)
    facts = [*_faults(snapshot, found)] if found else [*_sound(snapshot)]
    if snapshot.leading:
        facts.append(leads(snapshot.leading, snapshot.at))
    return SnapshotVerdict(bool(found), tuple(facts))


def down_for(site: str, snapshot: Snapshot) -> float | None:
    """Return the seconds for which a site accepts no trades, according to the guards that run on
    this machine. None if they do not say so.
    """
    machine = snapshot.machine.value or Machine()
    known = [
        snapshot.at - (guard.state.at - seconds)
        for guard in machine.guards
        if guard.runs and guard.state and (seen := guard.state.sites.get(site))
        if (seconds := max(seen.bad_s or 0.0, seen.down_s or 0.0))
    ]
    return max(known, default=None)


def leads(record: ControlRecord, now: float) -> str:
    """Return which site leads, since when, and who moved the traffic there."""
    who = "guard" if record.mode == "automatic" else record.by
    return f"{record.primary} leads since {clock(record.at, now)} ({who})"


def _faults(snapshot: Snapshot, found: list[Problem]) -> list[str]:
    away = [site for site in snapshot.sites.values() if site.down]
    facts = [_away(site, snapshot) for site in away]
    if len(away) > 1 and len(away) == len(snapshot.sites):
        facts = ["no site is up", *facts]
    others = len(found) - sum(len(site.down) for site in away)
    if others:
        more = "more " if away else ""
        facts.append(f"{others} {more}problem{'s' * (others > 1)}")
    return facts


def _away(site: SiteSnapshot, snapshot: Snapshot) -> str:
    names = [name for group in site.down.values() for name in group]
    of = "" if len(names) == len(SERVICES) else f" {', '.join(names)}"
    seconds = down_for(site.name, snapshot)
    return f"{site.name}{of} down" + (f" {duration(seconds)}" if seconds else "")


def _sound(snapshot: Snapshot) -> list[str]:
    up = [site.name for site in snapshot.sites.values() if site.up]
    facts = [f"{' and '.join(up) if len(up) < 3 else f'{len(up)} sites'} up"] if up else []
    machine = snapshot.machine.value or Machine()
    rates = [each.state.rate for each in machine.producers if each.runs and each.state]
    return [*facts, f"{sum(rates):,.0f} trades/s"] if rates else facts
