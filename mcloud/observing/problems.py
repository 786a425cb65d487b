"""The problems of a snapshot. With any of them, ``mcloud status`` exits with 3."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mcloud.alerts.watch import FiringAlert, WatcherState
from mcloud.clouds.observation import DOWN
from mcloud.clouds.ports import SERVICES
from mcloud.durations import brief, duration, utc
from mcloud.failover.statement import GuardState
from mcloud.observing.machine import Machine
from mcloud.observing.replicated import unreplicated
from mcloud.observing.snapshot import SiteSnapshot, Snapshot
from mcloud.producer.breaker import OPEN
from mcloud.producer.reported_state import ProducerState
from mcloud.replication.progress import ReplicatorState
from mcloud.runs import Running, RunState, silence


@dataclass(frozen=True)
class Problem:
    """Something that is wrong, and the next step."""

    message: str
    remedy: str = ""
    """The next step, with its command in backquotes. Empty if none is known."""
    sites: tuple[str, ...] = ()
    """Sites whose outage, if they are down, explains the problem."""

    def __str__(self) -> str:
        return f"{self.message.rstrip('.')}; {self.remedy}" if self.remedy else self.message


def problems(snapshot: Snapshot) -> list[Problem]:
    """Return each service that is down, part without news, damaged document, function with other
    code, dead letter, hole, unpaid debt, and process on this machine in trouble.

    Failed calls of a function and a growing queue are not included: they recover on their own, or
    an alert with a duration reports them. See ``mcloud.observing.notes``.
    """
    sites = snapshot.sites.values()
    views = (_silent, _broken, _outdated, _lacking, _uncompacted)
    found = [each for site in sites for each in _down(site, snapshot)]
    found += [each for view in views for site in sites for each in view(site)]
    found += _unreplicated(snapshot)
    found += _owed(snapshot)
    found += _damaged(snapshot)
    machine = snapshot.machine.value or Machine()
    found += _unwritten(machine)
    found += _broken_here(machine)
    for producer in machine.producers:
        found += _producer(producer, snapshot.at)
    for replicator in machine.replicators:
        found += _replicator(replicator, snapshot.at)
    for guard in machine.guards:
        found += _guard(guard, snapshot.at)
    for watcher in machine.alerts:
        found += _hanging(watcher, snapshot.at)
        found += [
            Problem(f"alert: {each}", "see `mcloud alerts list`")
            for each in firing(watcher, snapshot)
        ]
    return found


def causes(snapshot: Snapshot) -> list[Problem]:
    """Return the problems that the outage of another site or service does not explain."""
    down = [site.name for site in snapshot.sites.values() if site.down]
    return [each for each in problems(snapshot) if not set(each.sites) & set(down)]


def past_alerts(snapshot: Snapshot) -> list[FiringAlert]:
    """Return the alerts that fired at the last check of a watcher, and are over since."""
    machine = snapshot.machine.value or Machine()
    return [
        each
        for watcher in machine.alerts
        for each in _reported(watcher)
        if _is_past(each, watcher, snapshot)
    ]


def _is_past(alert: FiringAlert, watcher: Running[WatcherState], snapshot: Snapshot) -> bool:
    """Return whether newer answers than those of the watcher show that an alert is over."""
    looked = watcher.state.looked if watcher.state else 0.0
    part, _, rest = alert.figure.partition(".")
    name, _, figure = rest.rpartition(".")
    if (part, figure) == ("sites", "up") and name in snapshot.sites:
        site = snapshot.sites[name]
        return site.up is True and all((seen.at or 0.0) > looked for seen in site.health.values())
    if (part, figure) == ("symbols", "silent_s"):
        beats = [
            beat.at
            for site in snapshot.sites.values()
            for beat in site.heartbeats.value or ()
            if beat.symbol == name
        ]
        newest = max(beats, default=0.0)
        machine = snapshot.machine.value or Machine()
        return newest > looked or machine.has_ended(name, newest)
    return False


def firing(watcher: Running[WatcherState], snapshot: Snapshot) -> list[str]:
    """Return the alerts that fire, as worded by a watcher; none if the watcher does not run.

    Alerts that newer answers show to be over are left out.
    """
    return [_words(each) for each in _firing(watcher, snapshot)]


def silenced(watcher: Running[WatcherState], snapshot: Snapshot) -> list[str]:
    """Return the firing alerts for which nobody is notified."""
    return [_words(each) for each in _firing(watcher, snapshot) if each.silenced]


def _firing(watcher: Running[WatcherState], snapshot: Snapshot) -> list[FiringAlert]:
    return [each for each in _reported(watcher) if not _is_past(each, watcher, snapshot)]


def _reported(watcher: Running[WatcherState]) -> tuple[FiringAlert, ...]:
    return watcher.state.firing if watcher.runs and watcher.state else ()


def _words(alert: FiringAlert) -> str:
    silence = alert.silenced
    return f"{alert.title}, silenced until {utc(silence.until)}" if silence else alert.title


def _down(site: SiteSnapshot, snapshot: Snapshot) -> Iterator[Problem]:
    for reason, names in site.down.items():
        remedy = _way_out(site, snapshot)
        yield Problem(f"{site.name}: {_all(names)} down: {reason}", remedy)


def _way_out(site: SiteSnapshot, snapshot: Snapshot) -> str:
    """Return the next step for a site that is down."""
    machine, record = snapshot.machine.value or Machine(), snapshot.leading
    is_guarded = any(each.runs and each.state and not each.state.paused for each in machine.guards)
    others = [each.name for each in snapshot.sites.values() if each.up]
    if record and record.primary == site.name and others and not is_guarded:
        return f"move the traffic with `mcloud failover {others[0]}`"
    return f"see `mcloud doctor {site.name}`"


def _silent(site: SiteSnapshot) -> Iterator[Problem]:
    if not site.down:
        for reason, names in site.silent.items():
            message = f"{site.name}: no news of {', '.join(names)}: {reason}"
            yield Problem(message, f"see `mcloud doctor {site.name}`")


def _broken(site: SiteSnapshot) -> Iterator[Problem]:
    for each in site.damaged:
        yield Problem(f"{site.name}: {each}")


def _outdated(site: SiteSnapshot) -> Iterator[Problem]:
    functions = site.code.value or []
    for each in functions:
        if each.failure:
            yield Problem(
                f"{site.name}: the last update of {each.function} failed: {each.failure}",
                f"run `mcloud deploy {site.name}`",
            )
    other = [each.function for each in functions if each.is_current is False and not each.failure]
    if other:
        verb = "runs" if len(other) == 1 else "run"
        yield Problem(
            f"{site.name}: {', '.join(other)} {verb} other code than this mcloud deploys",
            f"see `mcloud plan {site.name}`, then run `mcloud deploy {site.name}`",
        )


def _broken_here(machine: Machine) -> Iterator[Problem]:
    for kind in machine.by_kind.values():
        for each in kind:
            if each.damaged:
                yield Problem(f"{each.name}: {each.damaged}")
    yield from map(Problem, machine.damaged)


def _lacking(site: SiteSnapshot) -> Iterator[Problem]:
    dead = site.dead_letters.value
    if dead is not None and dead.ready:
        letters = f"{dead.ready:,} dead letter{'s' * (dead.ready != 1)}"
        yield Problem(f"{site.name}: {letters}", f"see `mcloud dlq list {site.name}`")
    for recent in site.recent.value or ():
        if recent.missing:
            first, last = recent.holes[0][0], recent.holes[-1][1]
            yield Problem(
                f"{site.name}: {recent.symbol} lacks {recent.missing:,} trades between {first} and "
                f"{last}",
                "see `mcloud verify`",
            )


def _uncompacted(site: SiteSnapshot) -> Iterator[Problem]:
    last = site.compaction.value
    if last is not None and last.problems:
        yield Problem(
            f"{site.name}: the compaction function could not compact {last.problems:,} objects:"
            f" {last.named[0] if last.named else 'see its log'}"
        )


def _unreplicated(snapshot: Snapshot) -> Iterator[Problem]:
    for each in unreplicated(snapshot):
        last = ""
        if each.reported is not None:
            ago = brief(snapshot.at - each.reported)
            last = f"; the last report of a replicator is {ago} old"
        yield Problem(
            f"{each.target} gets no trades of its own, and nothing replicates {each.source} to"
            f" it{last}",
            "run `mcloud replicate --detach`",
            sites=(each.source, each.target),
        )


def _owed(snapshot: Snapshot) -> Iterator[Problem]:
    leads = snapshot.leading.primary if snapshot.leading else "SITE"
    for debt in snapshot.owed:
        since = datetime.fromtimestamp(debt.since, UTC)
        gone = f"; if {debt.site} no longer exists, run `mcloud failover --forget {debt.site}`"
        yield Problem(
            f"{debt.site} was replaced as primary in epoch {debt.epoch}, and has not been proven"
            f" equal since {since:%Y-%m-%d %H:%M} UTC",
            f"`mcloud failover {leads} --wait` or a guard catches it up"
            + ("" if debt.site in snapshot.sites else gone),
            sites=(debt.site,),
        )


def _unwritten(machine: Machine) -> Iterator[Problem]:
    """Yield the notes that the disk refuses; the work continues without them."""
    if machine.disk:
        yield Problem(
            machine.disk,
            "free some space, or set MCLOUD_STATE to another folder: until then audit entries,"
            " journals, states and logs may not be written",
        )
        return
    for kind in machine.by_kind.values():
        for each in kind:
            if each.runs and each.state:
                for path, why in each.state.unwritten.items():
                    yield Problem(f"{each.name}: {path} is not written: {why}")


def _damaged(snapshot: Snapshot) -> Iterator[Problem]:
    for id_, why in snapshot.silences.unreadable.items():
        if not why.is_newer:
            yield Problem(
                f"the silence {id_} is damaged and has no effect",
                f"`mcloud alerts unsilence {id_}` removes it",
            )


def _producer(producer: Running[ProducerState], now: float) -> Iterator[Problem]:
    yield from _hanging(producer, now)
    state, name = producer.state, f"producer {producer.name}"
    if state is None:
        return
    if state.missing:
        yield Problem(f"{name}: {state.missing:,} trades are missing", "see `mcloud ps`")
    if not producer.runs:
        return
    log = f"see `mcloud logs {producer.name}`"
    if state.stalled:
        yield Problem(
            f"{name}: the exchange has trades of {', '.join(state.stalled)} that its stream does"
            " not deliver",
            "see `mcloud ps`",
        )
    for site, delivery in state.sites.items():
        if delivery.refused or delivery.breaker == OPEN:
            how = "refuses" if delivery.refused else "does not accept"
            message = f"{name}: {site} {how} messages: {delivery.error}"
            yield Problem(message, log, sites=(site,))
    if state.spool_full:
        yield Problem(f"{name}: its spool is full, so it has stopped reading", log)
    if state.problem:
        yield Problem(f"{name}: {state.problem}", log)


def _replicator(replicator: Running[ReplicatorState], now: float) -> Iterator[Problem]:
    yield from _hanging(replicator, now)
    if replicator.runs and replicator.state:
        for pair in replicator.state.pairs:
            if pair.error:
                yield Problem(
                    f"{pair.source} to {pair.target} is not replicated: {pair.error}",
                    f"see `mcloud logs {replicator.name}`",
                    sites=(pair.source, pair.target),
                )


def _guard(guard: Running[GuardState], now: float) -> Iterator[Problem]:
    yield from _hanging(guard, now)
    state = guard.state
    if state is None:
        return
    called = "guard" if guard.name == "guard" else f"guard {guard.name}"
    if not guard.runs and (silent := silence(guard.runs, state, now)):
        yield Problem(
            f"{called}: its process has died, and last reported {duration(silent)} ago",
            f"start it again, or run `mcloud stop {guard.name}`",
        )
    if blind := state.blindness(guard.runs, now):
        yield Problem(
            f"{called} is running, but has not seen the sites for {duration(blind)}",
            "see `mcloud doctor`",
        )
    if guard.runs:
        for name, site in state.sites.items():
            if site.verdict == DOWN:
                explain = f"see `mcloud guard explain --name {guard.name}`"
                yield Problem(f"{called}: {name} is down", explain, sites=(name,))
        if state.problem:
            yield Problem(f"{called}: {state.problem}", f"see `mcloud logs {guard.name}`")


def _all(services: Sequence[str]) -> str:
    if len(services) == len(SERVICES):
        return "everything is"
    return f"{', '.join(services)} {'is' if len(services) == 1 else 'are'}"


def _hanging(each: Running[RunState], now: float) -> Iterator[Problem]:
    """Yield the problem of a process that runs but has stopped writing its state."""
    silent = silence(each.runs, each.state, now)
    if each.runs and silent:
        yield Problem(
            f"{each.name} is running, but has reported nothing for {silent:.0f} s",
            f"see `mcloud logs {each.name}`",
        )
